/**
 * A load of a soak run in a thread of its own, as the main thread sees it.
 *
 * @module
 */
import type { LoadReport, LoadSetup } from "./load_scope.ts";

/** A thread that plays guests. */
export class LoadThread {
  /** Resolves when its guests are attached; rejects when that fails. */
  readonly ready: Promise<void>;
  /** Resolves with its own counts when it has ended; never rejects. */
  readonly ended: Promise<Readonly<Record<string, number>>>;
  readonly #worker: Worker;

  /**
   * @param name Its module in this folder, without the ending.
   * @param setup What it works with.
   * @param onFault Told what must not happen.
   */
  constructor(name: string, setup: LoadSetup, onFault: (text: string) => void) {
    const ready = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<Readonly<Record<string, number>>>();
    this.ready = ready.promise;
    this.ended = ended.promise;
    // Who does not wait for it hears of it as a fault.
    this.ready.catch(() => {});
    const end = (counts: Readonly<Record<string, number>>) => {
      ready.reject(new Error(`Cannot start the load ${name}: it ended`));
      ended.resolve(counts);
    };
    this.#worker = new Worker(new URL(`${name}.ts`, import.meta.url), { type: "module", name });
    this.#worker.onmessage = ({ data }: MessageEvent<LoadReport>) => {
      if (data.kind === "ready") ready.resolve();
      else if (data.kind === "fault") onFault(`${name}: ${data.text}`);
      else end(data.counts);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      onFault(`${name}: ${event.message}`);
      end({});
    };
    this.#worker.postMessage(setup);
  }

  /** Releases the thread; to be called once it has ended. */
  close(): void {
    this.#worker.terminate();
  }
}
