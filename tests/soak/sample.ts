/**
 * One look at a soak run: what the switch's process holds, and how far the loads have come.
 *
 * @module
 */
import type { Labswitch } from "../support/labswitch.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import { type Board, type Counter, COUNTERS } from "./board.ts";
import type { Counts } from "./histogram.ts";

/** What a process holds. */
export interface Holdings {
  /** Bytes that it occupies. */
  readonly residentBytes: number;
  /** Of those, its own: neither files nor memory of guests. */
  readonly anonymousBytes: number;
  /** Open descriptors. */
  readonly descriptors: number;
  /** Lines of its memory map. */
  readonly mappings: number;
  /** Threads. */
  readonly threads: number;
}

/** One look. */
export interface Sample extends Holdings {
  /** Milliseconds since the run began. */
  readonly atMs: number;
  /** Seconds of processor time that it has used so far. */
  readonly processorSeconds: number;
  /** Characters that it has printed so far. */
  readonly logCharacters: number;
  /** The loads' counters. */
  readonly counters: Readonly<Record<Counter, number>>;
  /** Round trips so far. */
  readonly roundTrips: Counts;
  /** Late wake-ups so far. */
  readonly wakeUps: Counts;
}

const KIB = 1024;

/** Asks the kernel what a process holds. */
export function holdingsOf(pid: number): Holdings {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)![1]);
  return {
    residentBytes: field("VmRSS") * KIB,
    anonymousBytes: field("RssAnon") * KIB,
    descriptors: countDescriptors(pid),
    mappings: countMappings(pid),
    threads: field("Threads"),
  };
}

/** Looks at everything. */
export async function takeSample(lab: Labswitch, board: Board, atMs: number): Promise<Sample> {
  return {
    atMs,
    ...holdingsOf(lab.pid),
    processorSeconds: await lab.processorSeconds(),
    logCharacters: lab.output.length,
    counters: countersOf(board),
    roundTrips: board.histogram("roundTrip"),
    wakeUps: board.histogram("wakeUp"),
  };
}

/** All counters of a board. */
export function countersOf(board: Board): Record<Counter, number> {
  const entries = COUNTERS.map((counter) => [counter, board.value(counter)] as const);
  return Object.fromEntries(entries) as Record<Counter, number>;
}
