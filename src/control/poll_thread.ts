/**
 * The thread of a poll Worker as control sees it: how it starts, and how it ends.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { WorkerReport, WorkerSetup } from "../poll/worker.ts";

/** A Worker cannot start; the message is for the user. */
export class WorkerRefused extends Error {
  override readonly name = "WorkerRefused";
}

/** How a thread ended: as it was told (null), or of an error. */
export type ThreadEnd = Error | null;

/** A thread that runs a poll loop. */
export class PollThread {
  /** Resolves when the thread enters its loop; rejects when it cannot. */
  readonly started: Promise<void>;
  /** Resolves when the thread has left its loop; never rejects. */
  readonly ended: Promise<ThreadEnd>;
  readonly #worker: Worker;

  /** @param setup What the thread works with. */
  constructor(setup: WorkerSetup) {
    const start = Promise.withResolvers<void>();
    const end = Promise.withResolvers<ThreadEnd>();
    this.started = start.promise;
    this.ended = end.promise;
    const fail = (error: Error) => {
      start.reject(error);
      end.resolve(error);
    };
    this.#worker = new Worker(new URL("../poll/worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerReport>) => {
      if (data.kind === "running") start.resolve();
      else if (data.kind === "stopped") end.resolve(null);
      else fail(new WorkerRefused(`Cannot start poll Worker ${setup.worker}: ${data.reason}`));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      fail(new Error(`Poll Worker ${setup.worker} failed: ${event.message}`));
    };
    this.#worker.postMessage(setup);
  }

  /** Releases the thread; to be called once it has ended. */
  close(): void {
    this.#worker.terminate();
  }
}
