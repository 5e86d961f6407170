/**
 * Starts the generator's thread and waits for its end.
 *
 * @module
 */
import type { BenchOrder, BenchReport } from "./order.ts";

/** The generator cannot do its runs; the message says why. */
export class BenchFailure extends Error {
  override readonly name = "BenchFailure";
}

/**
 * Does runs on a thread of their own.
 *
 * @param order What to do.
 * @param onReport Told about progress and results.
 * @throws {BenchFailure} When the back-end cannot be reached, or does not keep the rules.
 */
export async function runBench(
  order: BenchOrder,
  onReport: (report: BenchReport) => void,
): Promise<void> {
  const end = Promise.withResolvers<void>();
  const thread = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  thread.onmessage = ({ data }: MessageEvent<BenchReport>) => {
    if (data.kind === "ended") end.resolve();
    else if (data.kind === "failed") end.reject(new BenchFailure(data.reason));
    else onReport(data);
  };
  thread.onerror = (event) => {
    event.preventDefault();
    end.reject(new BenchFailure(event.message));
  };
  try {
    thread.postMessage(order);
    await end.promise;
  } finally {
    thread.terminate();
  }
}
