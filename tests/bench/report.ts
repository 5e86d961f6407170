/**
 * Medians, ratios and the table of the closed-loop benchmark.
 *
 * The machine may be shared and noisy, so ratios are computed within a round, where the systems ran
 * right after each other, and only then summarised.
 *
 * @module
 */

import { JOINED_SYSTEMS } from "./joined.ts";
import type { LoopResult } from "./loop.ts";
import type { WorkerStatistics } from "../../src/control/worker_pool.ts";
import { type System, SYSTEMS } from "./systems.ts";

/** Name of a system as in {@linkcode System.name}. */
export type SystemName = System["name"];

/** One measurement and where it belongs. */
export interface Run {
  /** From 1. */
  readonly round: number;
  /** Bytes without FCS. */
  readonly frameSizeBytes: number;
  /** The system under test. */
  readonly system: SystemName;
  /** What was measured; absent if the run failed. */
  readonly result?: LoopResult;
  /** Why the run failed. */
  readonly error?: string;
}

/** Median and extremes of some numbers. */
export interface Spread {
  /** The middle one; the mean of the two middle ones of an even count. */
  readonly median: number;
  /** The least. */
  readonly min: number;
  /** The greatest. */
  readonly max: number;
}

/** What the poll Workers of labswitch say about their work. */
export interface PollSummary {
  /** Share of polls that found a frame, 0 to 1. */
  readonly busyShare: number;
  /** Time for each frame within those polls, in nanoseconds. */
  readonly frameNs: number;
}

/** Results of one frame size. */
export interface SizeSummary {
  /** Bytes without FCS. */
  readonly frameSizeBytes: number;
  /** Mpps of each system over the rounds. */
  readonly mpps: Readonly<Partial<Record<SystemName, Spread>>>;
  /** Rate of labswitch divided by that of the other system, over the rounds that have both. */
  readonly labswitchRatio: Readonly<Partial<Record<SystemName, Spread>>>;
  /** Over all rounds; absent if labswitch told nothing. */
  readonly polls?: PollSummary;
  /** Runs in which a ring got stuck, or which failed, as `system round: reason`. */
  readonly faults: readonly string[];
}

/**
 * Summarises numbers.
 *
 * @param values At least one.
 * @returns Median, least and greatest.
 * @throws {RangeError} If there is no value.
 */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const lower = sorted[(sorted.length - 1) >> 1];
  const upper = sorted[sorted.length >> 1];
  if (lower === undefined || upper === undefined) {
    throw new RangeError("Cannot summarise numbers: none given, want one or more");
  }
  return { median: (lower + upper) / 2, min: sorted[0]!, max: sorted.at(-1)! };
}

/**
 * Summarises runs by frame size.
 *
 * @param runs Any number, in any order.
 * @returns One element per frame size, in the order of first appearance.
 */
export function summarise(runs: readonly Run[]): SizeSummary[] {
  const sizes = [...new Set(runs.map((run) => run.frameSizeBytes))];
  return sizes.map((size) =>
    summariseSize(size, runs.filter((run) => run.frameSizeBytes === size))
  );
}

/**
 * Renders summaries as a Markdown table, with faults below it.
 *
 * @param summaries One element per frame size.
 * @returns Lines joined by line ends.
 */
export function renderTable(summaries: readonly SizeSummary[]): string {
  const measured = (name: SystemName) => summaries.some(({ mpps }) => mpps[name] !== undefined);
  const compared = (name: SystemName) =>
    summaries.some(({ labswitchRatio }) => labswitchRatio[name] !== undefined);
  const columns = [...SYSTEMS, ...JOINED_SYSTEMS].filter(({ name }) => measured(name));
  const others = columns.filter(({ name }) => compared(name));
  const polled = summaries.some(({ polls }) => polls !== undefined);
  const header = [
    "Frame",
    ...columns.map(({ title }) => `${title} Mpps`),
    ...others.map(({ title }) => `labswitch / ${title}`),
    ...(polled ? ["busy polls", "ns per frame"] : []),
  ];
  const rows = summaries.map((summary) => [
    `${summary.frameSizeBytes} B`,
    ...columns.map(({ name }) => renderSpread(summary.mpps[name])),
    ...others.map(({ name }) => renderSpread(summary.labswitchRatio[name])),
    ...(polled ? renderPolls(summary.polls) : []),
  ]);
  const lines = [header, header.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`);
  return [...lines, ...summaries.flatMap(({ faults }) => faults)].join("\n");
}

function summariseSize(frameSizeBytes: number, runs: readonly Run[]): SizeSummary {
  const names = [...new Set(runs.map((run) => run.system))];
  const spreads = (valuesOf: (name: SystemName) => number[]) =>
    Object.fromEntries(
      names.map((name) => [name, valuesOf(name)] as const)
        .filter(([, values]) => values.length > 0)
        .map(([name, values]) => [name, spreadOf(values)]),
    );
  const polls = pollSummaryOf(runs.flatMap((run) => run.result?.workers ?? []));
  return {
    frameSizeBytes,
    mpps: spreads((name) => runs.filter((run) => run.system === name).flatMap(mppsOf)),
    labswitchRatio: spreads((name) => name === "labswitch" ? [] : ratios(runs, name)),
    ...(polls && { polls }),
    faults: runs.flatMap(faultsOf),
  };
}

/** Ratios of the rounds in which both were measured. */
function ratios(runs: readonly Run[], other: SystemName): number[] {
  return runs.filter((run) => run.system === other).flatMap((run) => {
    const ours = runs.find(({ round, system }) => round === run.round && system === "labswitch");
    const [dividend] = ours === undefined ? [] : mppsOf(ours);
    const [divisor] = mppsOf(run);
    return dividend === undefined || !divisor ? [] : [dividend / divisor];
  });
}

function mppsOf(run: Run): number[] {
  return run.result === undefined ? [] : [run.result.mpps];
}

function faultsOf({ system, round, frameSizeBytes, result, error }: Run): string[] {
  const reason = error ?? (result?.stuck ? "stuck" : undefined);
  return reason === undefined ? [] : [`${system} ${frameSizeBytes} B round ${round}: ${reason}`];
}

function pollSummaryOf(workers: readonly WorkerStatistics[]): PollSummary | undefined {
  const total = (name: keyof WorkerStatistics) =>
    workers.reduce((sum, worker) => sum + worker[name], 0);
  if (total("polls") === 0 || total("timedFrames") === 0) return undefined;
  return {
    busyShare: total("busyPolls") / total("polls"),
    frameNs: total("timedNs") / total("timedFrames"),
  };
}

function renderSpread(spread: Spread | undefined): string {
  if (spread === undefined) return "–";
  const { median, min, max } = spread;
  return `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
}

function renderPolls(polls: PollSummary | undefined): string[] {
  if (polls === undefined) return ["–", "–"];
  return [`${(polls.busyShare * 100).toFixed(1)} %`, polls.frameNs.toFixed(0)];
}
