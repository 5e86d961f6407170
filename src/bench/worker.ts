/**
 * The generator's thread: attaches to both ports, does its runs and ends.
 *
 * @module
 */
import { Generator } from "./generator.ts";
import { Link } from "./link.ts";
import type { BenchOrder, BenchReport } from "./order.ts";
import { runOnce } from "./run.ts";

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<BenchOrder>) => void) | null;
  postMessage(report: BenchReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = async ({ data }) => {
  try {
    runAll(await Generator.load(), data);
    scope.postMessage({ kind: "ended" });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    scope.postMessage({ kind: "failed", reason });
  }
};

function runAll(generator: Generator, { sockets, ring, runs, stop }: BenchOrder): void {
  using link = new Link(generator, sockets, ring);
  const flag = new Int32Array(stop);
  for (const [run, plan] of runs.entries()) {
    const result = runOnce(generator, plan, {
      kick: (kicks) => kicks !== 0 && link.kick(kicks),
      onProgress: (mpps) => scope.postMessage({ kind: "progress", run, mpps }),
      isStopped: () => Atomics.load(flag, 0) !== 0,
      now: () => performance.now(),
    });
    if (result === null) return;
    scope.postMessage({ kind: "result", run, result });
  }
}
