/**
 * What the threads of a soak run share: the words that end them, their counters, and histograms of
 * durations. The main thread reads at any time; each counter and histogram has one writer.
 *
 * @module
 */
import { bucketOf, BUCKETS, type Counts } from "./histogram.ts";

/** What is counted. */
export const COUNTERS = [
  /** Frames that went to and fro between the latency pair. */
  "roundTrips",
  /** Of those, how many did not arrive in time. */
  "roundTripsLost",
  /** Chains that the first and the second of the bulk pair gave to the switch. */
  "bulkSentFirst",
  "bulkSentSecond",
  /** Frames that are due for them: a super-packet counts as many as it is to be cut into. */
  "bulkDueFirst",
  "bulkDueSecond",
  /** Those of them that the other one got. */
  "bulkReceivedFirst",
  "bulkReceivedSecond",
  /** Broadcast frames. */
  "floods",
  /** Frames that the hub sent back. */
  "echoes",
  /** Conversations of those who come and go. */
  "visits",
] as const;
/** A counter's name. */
export type Counter = typeof COUNTERS[number];

/** What is measured, in nanoseconds. */
export const DURATIONS = [
  /** From sending a frame until it is back. */
  "roundTrip",
  /** How much later than asked for the machine wakes a thread: its noise, without the switch. */
  "wakeUp",
] as const;
/** A histogram's name. */
export type Duration = typeof DURATIONS[number];

/** Threads that end together: first those who come and go, then the others. */
export const GROUPS = ["churn", "steady"] as const;
/** A group of threads. */
export type Group = typeof GROUPS[number];

const STOP_BYTES = GROUPS.length * Int32Array.BYTES_PER_ELEMENT;
const COUNTERS_AT = STOP_BYTES;
const HISTOGRAMS_AT = COUNTERS_AT + COUNTERS.length * Float64Array.BYTES_PER_ELEMENT;
const HISTOGRAM_BYTES = BUCKETS * Uint32Array.BYTES_PER_ELEMENT;
const BOARD_BYTES = HISTOGRAMS_AT + DURATIONS.length * HISTOGRAM_BYTES;

/** Memory that all threads of a run see. */
export class Board {
  /** The memory, to be given to another thread. */
  readonly buffer: SharedArrayBuffer;
  readonly #stop: Int32Array;
  readonly #counters: Float64Array;

  /**
   * @param group The threads whose end it tells.
   * @param buffer Another board's memory; new unless given.
   */
  constructor(group: Group, buffer: SharedArrayBuffer = new SharedArrayBuffer(BOARD_BYTES)) {
    this.buffer = buffer;
    const at = GROUPS.indexOf(group) * Int32Array.BYTES_PER_ELEMENT;
    this.#stop = new Int32Array(buffer, at, 1);
    this.#counters = new Float64Array(buffer, COUNTERS_AT, COUNTERS.length);
  }

  /** Tells all threads of the group to end. */
  stop(): void {
    Atomics.store(this.#stop, 0, 1);
    Atomics.notify(this.#stop, 0);
  }

  /** Whether the threads are to end. */
  get isStopped(): boolean {
    return Atomics.load(this.#stop, 0) === 1;
  }

  /** Sleeps in this thread, not longer than until the end; not for the main thread. */
  pause(ms: number): void {
    Atomics.wait(this.#stop, 0, 0, ms);
  }

  /** Adds to a counter of this thread. */
  add(counter: Counter, amount = 1): void {
    this.#counters[COUNTERS.indexOf(counter)]! += amount;
  }

  /** Reads a counter of any thread. */
  value(counter: Counter): number {
    return this.#counters[COUNTERS.indexOf(counter)]!;
  }

  /** A function that counts a duration in nanoseconds. */
  recorder(duration: Duration): (ns: number) => void {
    const counts = this.#counts(duration);
    return (ns) => void counts[bucketOf(ns)]!++;
  }

  /** A copy of a histogram. */
  histogram(duration: Duration): Counts {
    return new Uint32Array(this.#counts(duration));
  }

  #counts(duration: Duration): Counts {
    const at = HISTOGRAMS_AT + DURATIONS.indexOf(duration) * HISTOGRAM_BYTES;
    return new Uint32Array(this.buffer, at, BUCKETS);
  }
}
