/**
 * The generator's thread: attaches to both ports, does its runs and ends.
 *
 * @module
 */
import { ForeignDescriptors } from "../../ffi/foreign.ts";
import { Generator } from "./generator.ts";
import { Link } from "./link.ts";
import type { BenchOrder, BenchReport } from "./order.ts";
import { runOnce } from "./run.ts";

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<BenchOrder>) => void) | null;
  postMessage(report: BenchReport): void;
}

/** How long it may take to hang up, which a back-end can hold up. */
const CLOSE_MS = 1000;

const scope = globalThis as unknown as Scope;

scope.onmessage = async ({ data }) => {
  const foreign = new ForeignDescriptors();
  const end = await endOf(data, foreign);
  await closed(foreign);
  scope.postMessage(end);
};

async function endOf(order: BenchOrder, foreign: ForeignDescriptors): Promise<BenchReport> {
  try {
    runAll(await Generator.load(), order, foreign);
    return { kind: "ended" };
  } catch (error) {
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
}

// The thread is ended as soon as it has reported its end, and the ports shall be free by then.
async function closed(foreign: ForeignDescriptors): Promise<void> {
  const patience = Promise.withResolvers<void>();
  const timer = setTimeout(patience.resolve, CLOSE_MS);
  await Promise.race([foreign.closed(), patience.promise]);
  clearTimeout(timer);
}

function runAll(
  generator: Generator,
  { sockets, ring, runs, stop }: BenchOrder,
  foreign: ForeignDescriptors,
): void {
  using link = new Link(generator, sockets, ring, foreign);
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
