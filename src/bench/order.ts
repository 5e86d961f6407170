/**
 * What the generator's thread is told and what it reports.
 *
 * @module
 */
import type { RingChoice } from "./generator.ts";
import type { RunPlan, RunResult } from "./run.ts";

/** What it is told, once. */
export interface BenchOrder {
  /** Where the back-end listens for port 0 and for port 1. */
  readonly sockets: readonly [string, string];
  /** What the rings are like. */
  readonly ring: RingChoice;
  /** What to do, in this order. */
  readonly runs: readonly RunPlan[];
  /** One 32-bit word, shared: not 0 when it shall end early. */
  readonly stop: SharedArrayBuffer;
}

/** What it reports: progress and a result for each run, then how it ended. */
export type BenchReport =
  | { readonly kind: "progress"; readonly run: number; readonly mpps: number }
  | { readonly kind: "result"; readonly run: number; readonly result: RunResult }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly reason: string };
