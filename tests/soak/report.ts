/**
 * A soak run in a table, so that a person sees what drifts.
 *
 * @module
 */
import { columns } from "../../src/cli/columns.ts";
import type { Quarter, Verdict } from "./verdict.ts";

const HEADING = [
  ...["QUARTER", "RSS MiB", "MAPPINGS", "FDS", "THREADS", "CPU %"],
  ...["P50 µs", "P99 µs", "WAKE-UP P99 µs", "FRAMES", "VISITS"],
];
const NUMBERS = HEADING.map((_, i) => i);
const MEBIBYTE = 2 ** 20;
const NS_PER_US = 1000;

/** The table of a run's quarters, and what was wrong. */
export function renderVerdict({ quarters, faults }: Verdict): string {
  const table = columns([HEADING, ...quarters.map((quarter, i) => rowOf(quarter, i + 1))], NUMBERS);
  const end = faults.length === 0
    ? ["nothing grows, nothing slows down, nothing is lost"]
    : faults.map((fault) => `fault: ${fault}`);
  return [...table, "", ...end].join("\n");
}

function rowOf(quarter: Quarter, number: number): string[] {
  const { residentBytes, mappings, descriptors, threads, processorShare } = quarter;
  return [
    `${number}`,
    (residentBytes / MEBIBYTE).toFixed(1),
    ...[mappings, descriptors, threads, processorShare * 100].map((value) => value.toFixed(0)),
    ...[quarter.p50Ns, quarter.p99Ns, quarter.wakeUpP99Ns].map((ns) => (ns / NS_PER_US).toFixed(0)),
    `${quarter.frames}`,
    `${quarter.visits}`,
  ];
}
