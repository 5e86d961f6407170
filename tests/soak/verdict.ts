/**
 * Whether a soak run was a good one: nothing grows, nothing slows down, nothing is lost that no
 * counter explains.
 *
 * The run behind its warm-up is cut into quarters, and quarters are compared by medians of many
 * looks: single looks say little on a machine that others use, too. What is allowed to differ was
 * measured on such machines; the constants say how.
 *
 * @module
 */
import { median, upperQuartile } from "./average.ts";
import type { Counter } from "./board.ts";
import { difference, quantile } from "./histogram.ts";
import type { PortTotals } from "./port_totals.ts";
import type { Sample } from "./sample.ts";
import { BULK_PORTS, LATENCY_PORTS, type SoakResult } from "./soak.ts";
import { PIECES } from "./stream.ts";

/** A quarter of a run. */
export interface Quarter {
  /** Upper quartile of the bytes that the switch occupied: where the saw teeth of its garbage end. */
  readonly residentBytes: number;
  /** The same of its mappings. */
  readonly mappings: number;
  /** Median of its descriptors. */
  readonly descriptors: number;
  /** Median of its threads. */
  readonly threads: number;
  /** Share of a processor that it used. */
  readonly processorShare: number;
  /** Median over the looks of the median round trip, in nanoseconds. */
  readonly p50Ns: number;
  /** Median over the looks of the round trip that 99 % do not exceed. */
  readonly p99Ns: number;
  /** The same of the machine's late wake-ups: its noise. */
  readonly wakeUpP99Ns: number;
  /** Frames that went to and fro, arrived at the bulk pair, or were floods. */
  readonly frames: number;
  /** Visits. */
  readonly visits: number;
}

/** What is to be said of a run. */
export interface Verdict {
  /** Its quarters, oldest first. */
  readonly quarters: readonly Quarter[];
  /** What was wrong; empty when it was a good run. */
  readonly faults: readonly string[];
}

const QUARTERS = 4;
/** Looks in a quarter, below which nothing can be said. */
const LEAST_LOOKS = 3;

/**
 * What the switch may occupy more in the last quarter than in the larger of the first two. With a
 * collector that does not let garbage pile up, quarters were up to 1 MiB apart, and 3 MiB when V8 gave
 * something back. What is kept for ever of each visit is found from 1 KiB on in five minutes, from
 * 100 bytes on in an hour.
 */
export const RESIDENT_TOLERANCE_BYTES: number = 3 * 2 ** 20;
/** The same for mappings: V8 maps a few for each thread of its own and for each MiB. */
export const MAPPINGS_TOLERANCE = 40;
/** Threads that Deno starts for waiting, and ends when they have nothing to do for a while. */
export const THREADS_TOLERANCE = 8;
/**
 * How many times slower than before the last quarter may be. On a machine whose processors others
 * wanted too, quarters were up to 1.5 times apart.
 */
export const SLOWER_TOLERANCE = 2.5;
/** Lines for each visit: who came, what was up, what was refused, why it went. */
export const LINES_PER_VISIT = 10;
/** Lines that have nothing to do with visits. */
const OTHER_LINES = 100;

/** Judges a run. */
export function judge(result: SoakResult): Verdict {
  const quarters = quartersOf(result);
  if (quarters === null) {
    return { quarters: [], faults: [...result.faults, "the run was too short to say anything"] };
  }
  const faults = [
    ...result.faults,
    ...quarters.flatMap(standstills),
    ...growth(quarters),
    ...slowdown(quarters),
    ...leftovers(result),
    ...losses(result),
    ...noise(result),
  ];
  return { quarters, faults };
}

/** Cuts what comes behind the warm-up into quarters; null when there are too few looks. */
function quartersOf({ samples, warmUpMs }: SoakResult): Quarter[] | null {
  const first = samples.findIndex(({ atMs }) => atMs >= warmUpMs);
  const looks = samples.length - 1 - first;
  if (first < 0 || looks < QUARTERS * LEAST_LOOKS) return null;
  return Array.from({ length: QUARTERS }, (_, i) => {
    const bounds = [i, i + 1].map((end) => first + Math.round(looks * end / QUARTERS));
    // The last look of a quarter is where the next one begins.
    return quarterOf(samples.slice(bounds[0], bounds[1]! + 1));
  });
}

function quarterOf(samples: readonly Sample[]): Quarter {
  const [begin, end] = [samples[0]!, samples.at(-1)!];
  const counted = (counter: Counter) => end.counters[counter] - begin.counters[counter];
  const seconds = (end.atMs - begin.atMs) / 1000;
  const level = (of: (sample: Sample) => number) => upperQuartile(samples.map(of));
  return {
    residentBytes: level(({ residentBytes }) => residentBytes),
    mappings: level(({ mappings }) => mappings),
    descriptors: median(samples.map(({ descriptors }) => descriptors)),
    threads: median(samples.map(({ threads }) => threads)),
    processorShare: (end.processorSeconds - begin.processorSeconds) / seconds,
    p50Ns: quantileOfLooks(samples, "roundTrips", 0.5),
    p99Ns: quantileOfLooks(samples, "roundTrips", 0.99),
    wakeUpP99Ns: quantileOfLooks(samples, "wakeUps", 0.99),
    frames: counted("roundTrips") + counted("floods") + counted("bulkReceivedFirst") +
      counted("bulkReceivedSecond"),
    visits: counted("visits"),
  };
}

// One bad moment of the machine spoils one look, not the quarter.
function quantileOfLooks(
  samples: readonly Sample[],
  histogram: "roundTrips" | "wakeUps",
  share: number,
): number {
  const found = samples.slice(1).map((sample, i) =>
    quantile(difference(sample[histogram], samples[i]![histogram]), share)
  ).filter((value) => value !== null);
  return found.length === 0 ? Infinity : median(found);
}

function standstills({ p50Ns, frames, visits }: Quarter, index: number): string[] {
  const isAlive = Number.isFinite(p50Ns) && frames > 0 && visits > 0;
  return isAlive ? [] : [`nothing moves in quarter ${index + 1}`];
}

function growth(quarters: readonly Quarter[]): string[] {
  const [first, second, , last] = quarters as [Quarter, Quarter, Quarter, Quarter];
  const grown = (of: (quarter: Quarter) => number) => of(last) - Math.max(of(first), of(second));
  const bytes = grown(({ residentBytes }) => residentBytes);
  const mappings = grown(({ mappings }) => mappings);
  const threads = grown(({ threads }) => threads);
  return [
    ...bytes > RESIDENT_TOLERANCE_BYTES
      ? [`memory grows: by ${(bytes / 2 ** 20).toFixed(1)} MiB in the second half`]
      : [],
    ...mappings > MAPPINGS_TOLERANCE ? [`mappings grow: by ${mappings.toFixed(0)}`] : [],
    ...threads > THREADS_TOLERANCE ? [`threads grow: by ${threads.toFixed(0)}`] : [],
  ];
}

// When the machine itself wakes threads later than before, that much is not the switch's doing.
function slowdown(quarters: readonly Quarter[]): string[] {
  const factor = (of: (quarter: Quarter) => number) =>
    of(quarters.at(-1)!) / median(quarters.slice(0, -1).map(of));
  const machine = Math.max(1, factor(({ wakeUpP99Ns }) => wakeUpP99Ns));
  const slower = { p50: factor(({ p50Ns }) => p50Ns), p99: factor(({ p99Ns }) => p99Ns) };
  return Object.entries(slower)
    .filter(([, times]) => times > SLOWER_TOLERANCE * machine)
    .map(([name, times]) =>
      `${name} drifts: ${times.toFixed(1)} times the quarters before, ` +
      `the machine's own wake-ups ${machine.toFixed(1)} times`
    );
}

function leftovers({ before, after, mappingsLeft }: SoakResult): string[] {
  const descriptors = after.descriptors - before.descriptors;
  return [
    ...descriptors !== 0 ? [`${descriptors} descriptors are left`] : [],
    ...mappingsLeft !== 0 ? [`${mappingsLeft} mappings of visitors' memory are left`] : [],
  ];
}

function losses({ counters, ports }: SoakResult): string[] {
  const drops = (port: string) =>
    Object.values(ports[port]?.drops ?? {}).reduce((sum, frames) => sum + frames, 0);
  const faults: string[] = [];
  const explain = (what: string, lost: number, most: number) => {
    if (lost > most) faults.push(`${what}: ${lost} lost, of which counters explain ${most}`);
  };
  const [first, second] = BULK_PORTS;
  const { bulkDueFirst, bulkReceivedFirst, bulkDueSecond, bulkReceivedSecond } = counters;
  // A super-packet that is dropped counts as one, and is missed as many.
  explain(`frames to ${second}`, bulkDueFirst - bulkReceivedFirst, drops(second) * PIECES);
  explain(`frames to ${first}`, bulkDueSecond - bulkReceivedSecond, drops(first));
  const lostTrips = LATENCY_PORTS.reduce((sum, port) => sum + drops(port), 0);
  explain("round trips", counters.roundTripsLost, lostTrips);
  const sent = [[first, counters.bulkSentFirst], [second, counters.bulkSentSecond]] as const;
  for (const [port, frames] of sent) {
    const counted = receivedOf(ports[port]);
    if (counted !== frames) faults.push(`${port} sent ${frames} frames, the switch saw ${counted}`);
  }
  return faults;
}

function receivedOf(totals: PortTotals | undefined): number {
  return totals?.received ?? 0;
}

function noise({ logLines, counters }: SoakResult): string[] {
  const most = OTHER_LINES + LINES_PER_VISIT * counters.visits;
  return logLines > most ? [`the log has ${logLines} lines, at most ${most} were expected`] : [];
}
