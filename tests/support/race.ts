/**
 * A vCPU that races with the switch, as a thread of its own.
 *
 * @module
 */
import { keepThreadOn, threadProcessors } from "../../ffi/affinity.ts";
import { CONTROL_BYTES, type RacingWordsRole, ROUNDS, STOP } from "./racing_words.ts";

/**
 * A race that goes on in another thread. On a busy machine two threads of a process like to share a
 * processor, where nothing ever races: for as long as it lasts they are kept apart.
 */
export class Race {
  readonly #worker: Worker;
  readonly #control: Int32Array;
  readonly #processors: readonly number[];

  private constructor(worker: Worker, control: Int32Array, processors: readonly number[]) {
    this.#worker = worker;
    this.#control = control;
    this.#processors = processors;
  }

  /** Starts it. */
  static async start(role: Omit<RacingWordsRole, "control" | "processor">): Promise<Race> {
    const control = new SharedArrayBuffer(CONTROL_BYTES);
    const url = new URL("./racing_words.ts", import.meta.url);
    const worker = new Worker(url, { type: "module" });
    const isRunning = nextMessage(worker);
    const processors = threadProcessors();
    const processor = processors.length > 1 ? processors.at(-1)! : null;
    worker.postMessage({ ...role, processor, control } satisfies RacingWordsRole);
    await isRunning;
    if (processor !== null) keepThreadOn(processors.slice(0, -1));
    return new Race(worker, new Int32Array(control), processors);
  }

  /** How many times everything was written. */
  get rounds(): number {
    return Atomics.load(this.#control, ROUNDS) >>> 0;
  }

  /** Ends it; when this returns nothing is written any more. */
  async stop(): Promise<void> {
    keepThreadOn(this.#processors);
    const isStopped = nextMessage(this.#worker);
    Atomics.store(this.#control, STOP, 1);
    await isStopped;
    this.#worker.terminate();
  }
}

async function nextMessage(worker: Worker): Promise<void> {
  await new Promise((resolve, reject) => {
    worker.onmessage = resolve;
    worker.onerror = reject;
  });
}
