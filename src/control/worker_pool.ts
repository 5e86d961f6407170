/**
 * The poll Workers as control sees them: threads, their ring lists, their epoll sets and doorbells.
 *
 * A kick eventfd is put into the epoll set of the Worker that polls its ring. All sets are edge
 * triggered: every write to an eventfd wakes its Worker once and nobody ever has to read it back.
 *
 * Runs on the main thread.
 *
 * @module
 */
import { Epoll, EPOLLET, EPOLLIN } from "../../ffi/epoll.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import { type DataplaneModules, loadDataplane } from "../dataplane/dataplane.ts";
import { type State, workerAt } from "../dataplane/state.ts";
import {
  W_BUSY_POLLS,
  W_COMMAND,
  W_COMMAND_STOP,
  W_EPOCH,
  W_FRAMES_TAKEN,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
  W_POLLS,
  W_SLEEPING,
  W_SLEEPS,
  W_TIMED_FRAMES,
  W_TIMED_NS,
} from "../dataplane/state_layout.ts";
import type { PollMode } from "../poll/poll_loop.ts";
import type { WorkerReport, WorkerSetup } from "../poll/worker.ts";
import { quiesce } from "./quiescence.ts";

/** What one Worker did since its start. */
export interface WorkerStatistics {
  /** Looks at a ring. */
  readonly polls: number;
  /** Looks that found chains. */
  readonly busyPolls: number;
  /** Chains taken. */
  readonly frames: number;
  /** Times it slept. */
  readonly sleeps: number;
  /** Nanoseconds of the busy polls that were timed (one in sixteen). */
  readonly timedNs: number;
  /** Chains taken in those. */
  readonly timedFrames: number;
}

/** One poll Worker. */
class PollWorker {
  readonly epoll = Epoll.create();
  readonly doorbell = EventFd.create();
  readonly rings = new Set<number>();
  readonly thread: Worker;
  /** Its epoch at the last look. */
  lastEpoch = -1;

  constructor(readonly number: number) {
    this.epoll.add(this.doorbell.fd.number, EPOLLIN | EPOLLET, 0);
    this.thread = new Worker(new URL("../poll/worker.ts", import.meta.url), { type: "module" });
  }

  /** Resolves with the Worker's next report; rejects when its thread dies first. */
  report(): Promise<WorkerReport> {
    return new Promise((resolve, reject) => {
      this.thread.onmessage = (event: MessageEvent<WorkerReport>) => resolve(event.data);
      this.thread.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`Poll Worker ${this.number} failed: ${event.message}`));
      };
    });
  }

  close(): void {
    this.thread.terminate();
    this.epoll[Symbol.dispose]();
    this.doorbell.close();
  }
}

/** Starts, feeds and stops the poll Workers. */
export class WorkerPool {
  readonly #state: State;
  readonly #workers: PollWorker[] = [];
  readonly #onStuck: () => void;
  #stopped: Promise<WorkerReport>[] = [];

  /**
   * @param state The state memory.
   * @param onStuck Called when a Worker does not finish its turn: a call eventfd may hold it up.
   */
  constructor(state: State, onStuck: () => void) {
    this.#state = state;
    this.#onStuck = onStuck;
  }

  /** How many Workers there are. */
  get count(): number {
    return this.#workers.length;
  }

  /**
   * Starts the Workers.
   *
   * @param count How many.
   * @param ports The ports' memories, by port number.
   * @param mode What the Workers do when idle.
   * @param onFailure Called when a Worker's thread dies, which no peer may cause.
   * @throws When a thread cannot start.
   */
  async start(
    count: number,
    ports: readonly WebAssembly.Memory[],
    mode: PollMode,
    onFailure: (error: Error) => void,
  ): Promise<void> {
    const modules: DataplaneModules = await loadDataplane();
    for (let number = 0; number < count; number++) {
      // A Worker counts as asleep until its loop runs.
      this.#state.store32(workerAt(number) + W_SLEEPING, 1);
      const worker = new PollWorker(number);
      this.#workers.push(worker);
      const setup: WorkerSetup = {
        worker: number,
        state: this.#state.memory,
        ports,
        modules,
        epollFd: worker.epoll.fd.number,
        mode,
      };
      worker.thread.postMessage(setup);
    }
    await Promise.all(this.#workers.map((worker) => worker.report()));
    this.#stopped = this.#workers.map((worker) => worker.report());
    for (const stopped of this.#stopped) stopped.catch(onFailure);
  }

  /**
   * Gives a ring to the Worker with the fewest rings.
   *
   * @param ring The ring's number; its record is complete.
   * @param kickFd The eventfd that the guest kicks, or null when it does not; stays the caller's.
   * @returns The Worker's number.
   */
  add(ring: number, kickFd: number | null): number {
    const worker = this.#workers.reduce((a, b) => (b.rings.size < a.rings.size ? b : a));
    if (kickFd !== null) worker.epoll.add(kickFd, EPOLLIN | EPOLLET, ring);
    worker.rings.add(ring);
    this.#publishList(worker);
    return worker.number;
  }

  /**
   * Takes a ring away; when this returns no Worker uses it.
   *
   * @param ring The ring's number; its record says already that it is stopped.
   * @param workerNumber The Worker that polls it.
   * @param kickFd As given to {@linkcode add}.
   */
  remove(ring: number, workerNumber: number, kickFd: number | null): void {
    const worker = this.#workers[workerNumber]!;
    if (kickFd !== null) worker.epoll.remove(kickFd);
    worker.rings.delete(ring);
    this.#publishList(worker);
    this.quiesce();
  }

  /** Waits until no Worker uses what was changed in state memory before. */
  quiesce(): void {
    quiesce(this.#state, this.#workers.length, this.#onStuck);
  }

  /** Looks for Workers that have not finished a turn since the last look, and does not sleep. */
  check(): void {
    for (const worker of this.#workers) {
      const at = workerAt(worker.number);
      const epoch = this.#state.load32(at + W_EPOCH);
      if (epoch === worker.lastEpoch && this.#state.load32(at + W_SLEEPING) === 0) this.#onStuck();
      worker.lastEpoch = epoch;
    }
  }

  /** What each Worker did. */
  statistics(): WorkerStatistics[] {
    return this.#workers.map(({ number }) => {
      const at = workerAt(number);
      return {
        polls: this.#state.getFloat(at + W_POLLS),
        busyPolls: this.#state.getFloat(at + W_BUSY_POLLS),
        frames: this.#state.getFloat(at + W_FRAMES_TAKEN),
        sleeps: this.#state.getFloat(at + W_SLEEPS),
        timedNs: this.#state.getFloat(at + W_TIMED_NS),
        timedFrames: this.#state.getFloat(at + W_TIMED_FRAMES),
      };
    });
  }

  /** Ends every loop and thread and closes their descriptors. */
  async stop(): Promise<void> {
    for (const worker of this.#workers) {
      this.#state.store32(workerAt(worker.number) + W_COMMAND, W_COMMAND_STOP);
      worker.doorbell.signal();
    }
    await Promise.allSettled(this.#stopped);
    for (const worker of this.#workers) worker.close();
    this.#workers.length = 0;
  }

  // The list is rewritten in place: a Worker reads it only after it saw the generation move, and
  // copes with reading it half-way, because a ring that is not started is skipped and the next
  // generation makes it read again.
  #publishList(worker: PollWorker): void {
    const at = workerAt(worker.number);
    let length = 0;
    for (const ring of worker.rings) this.#state.set16(at + W_LIST + 2 * length++, ring);
    this.#state.set32(at + W_LIST_COUNT, length);
    this.#state.add32(at + W_LIST_GENERATION, 1);
    worker.doorbell.signal();
  }
}
