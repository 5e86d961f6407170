/**
 * What `labswitch bench` says at its end: a table for people, or an object for programs.
 *
 * @module
 */
import type { Latency, RunResult } from "../bench/run.ts";
import { columns } from "./columns.ts";

/** All rounds of one frame size. */
export interface SizeResult {
  /** Bytes of a frame. */
  readonly frameBytes: number;
  /** What came of each round. */
  readonly rounds: readonly RunResult[];
}

/** Medians of the rounds. */
export interface Medians extends Pick<RunResult, "mpps" | "gbps"> {
  /** Medians of the quantiles, and the longest latency of all rounds; null without any. */
  readonly latency: Latency | null;
}

const COUNTS = ["sent", "lost", "reordered", "duplicated", "corrupted", "unsent"] as const;
const NS_PER_MICROSECOND = 1000;

/** Whether nothing was lost, reordered, duplicated or corrupted. */
export function isClean({ rounds }: SizeResult): boolean {
  return rounds.every((round) =>
    round.lost + round.reordered + round.duplicated + round.corrupted === 0
  );
}

/**
 * Summarises rounds.
 *
 * @param rounds At least one.
 */
export function mediansOf(rounds: readonly RunResult[]): Medians {
  const latencies = rounds.flatMap(({ latency }) => latency ?? []);
  const of = (name: keyof Latency) => median(latencies.map((latency) => latency[name]));
  return {
    mpps: median(rounds.map(({ mpps }) => mpps)),
    gbps: median(rounds.map(({ gbps }) => gbps)),
    latency: latencies.length === 0 ? null : {
      p50Ns: of("p50Ns"),
      p99Ns: of("p99Ns"),
      p999Ns: of("p999Ns"),
      maxNs: Math.max(...latencies.map(({ maxNs }) => maxNs)),
    },
  };
}

/** The table of the closed loop: medians of the rates, sums of the counts. */
export function closedLoopTable(sizes: readonly SizeResult[]): string {
  const rows = sizes.map((size) => {
    const { mpps, gbps } = mediansOf(size.rounds);
    const rates = size.rounds.map((round) => round.mpps);
    return [
      ...[`${size.frameBytes} B`, mpps.toFixed(2), least(rates).toFixed(2), most(rates).toFixed(2)],
      ...[gbps.toFixed(2), ...counts(size, 5)],
    ];
  });
  const heading = ["FRAME", "MPPS", "MIN", "MAX", "GBIT/S"];
  return table([...heading, ...headings(5)], rows);
}

/** The table of the open loop: medians of rates and latencies, sums of the counts. */
export function openLoopTable(sizes: readonly SizeResult[]): string {
  const rows = sizes.map((size) => {
    const { mpps, latency } = mediansOf(size.rounds);
    const { p50Ns, p99Ns, p999Ns, maxNs } = latency ?? NO_LATENCY;
    return [
      ...[`${size.frameBytes} B`, mpps.toFixed(3)],
      ...[p50Ns, p99Ns, p999Ns, maxNs].map(microseconds),
      ...counts(size, 6),
    ];
  });
  return table(["FRAME", "MPPS", "P50 µs", "P99 µs", "P99.9 µs", "MAX µs", ...headings(6)], rows);
}

const NO_LATENCY: Latency = { p50Ns: NaN, p99Ns: NaN, p999Ns: NaN, maxNs: NaN };

function microseconds(ns: number): string {
  return Number.isNaN(ns) ? "–" : (ns / NS_PER_MICROSECOND).toFixed(1);
}

function counts({ rounds }: SizeResult, amount: number): string[] {
  const sum = (name: typeof COUNTS[number]) => rounds.reduce((total, run) => total + run[name], 0);
  return COUNTS.slice(0, amount).map((name) => `${sum(name)}`);
}

function headings(amount: number): string[] {
  return COUNTS.slice(0, amount).map((name) => name.toUpperCase());
}

function table(heading: string[], rows: string[][]): string {
  return `${columns([heading, ...rows], heading.map((_, i) => i)).join("\n")}\n`;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

function least(values: readonly number[]): number {
  return Math.min(...values);
}

function most(values: readonly number[]): number {
  return Math.max(...values);
}
