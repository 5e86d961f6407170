/**
 * One run of the generator: how long, how fast, and what came of it.
 *
 * Runs on the generator's thread and returns when the run is over.
 *
 * @module
 */
import type { Generator, RunChoice } from "./generator.ts";
import { quantile } from "./histogram.ts";

/** What a run does. */
export interface RunPlan extends RunChoice {
  /** How long it is measured. */
  readonly seconds: number;
  /** Closed loop: frames of each direction on the way at a time. */
  readonly window: number;
  /** Open loop: frames per second, both directions together; null for the closed loop. */
  readonly ratePps: number | null;
}

/** How long frames took, from the instant at which they should have left. */
export interface Latency {
  /** Half of the frames took no longer, in nanoseconds. */
  readonly p50Ns: number;
  /** 99 of 100. */
  readonly p99Ns: number;
  /** 999 of 1000. */
  readonly p999Ns: number;
  /** None took longer. */
  readonly maxNs: number;
}

/** What came of it, both directions together. */
export interface RunResult {
  /** How long was measured. */
  readonly seconds: number;
  /** Million frames that arrived per second. */
  readonly mpps: number;
  /** The same in bits of frames without check sequence, preamble and gap, in units of 10^9. */
  readonly gbps: number;
  /** Frames sent, before and after what was measured as well. */
  readonly sent: number;
  /** Frames that never arrived. */
  readonly lost: number;
  /** Frames that arrived after one that was sent later. */
  readonly reordered: number;
  /** Frames that arrived once more. */
  readonly duplicated: number;
  /**
   * Frames that arrived with other bytes, and are lost as well, or with a number that had not left.
   */
  readonly corrupted: number;
  /** Frames of others. */
  readonly foreign: number;
  /** Open loop: frames that were due and found no place in the ring until the end. */
  readonly unsent: number;
  /** Closed loop: how often nothing arrived for so long that frames were given up. */
  readonly stalls: number;
  /** Open loop; null when nothing arrived, and in the closed loop. */
  readonly latency: Latency | null;
}

/** What a run needs of its thread. */
export interface RunThread {
  /** Kicks rings. */
  readonly kick: (kicks: number) => void;
  /** Told now and then how many million frames per second arrive. */
  readonly onProgress: (mpps: number) => void;
  /** Whether the run shall end early. */
  readonly isStopped: () => boolean;
  /** Milliseconds of a clock that never goes back, at nanosecond resolution. */
  readonly now: () => number;
}

/** Turns between two looks at the clock: some microseconds of work. */
const TURNS = 64;
/** How long the loop runs before it is measured: caches, compilers and the switch's tables are warm. */
const WARM_UP_MS = 300;
const PROGRESS_MS = 200;
/** Without any frame for so long, those on the way are lost. A busy machine takes its time. */
const SILENCE_MS = 1000;
/** How long frames may come home at the end of a run: a back-end could let them trickle for ever. */
const SETTLE_MS = 10_000;
const NS_PER_MS = 1e6;

/**
 * Does a run.
 *
 * @param generator Attached, nothing on the way.
 * @param plan What to do.
 * @param thread What it needs of its thread.
 * @returns What came of it, or null when it was stopped.
 * @throws {BackendBroken} When a back-end broke the rules.
 * @throws {TransmitStuck} When it did not give back what it had to send.
 */
export function runOnce(
  generator: Generator,
  plan: RunPlan,
  thread: RunThread,
): RunResult | null {
  return plan.ratePps === null
    ? closedLoop(generator, plan, thread)
    : openLoop(generator, plan, plan.ratePps, thread);
}

/** The back-end stopped to read a transmit queue. */
export class TransmitStuck extends Error {
  override readonly name = "TransmitStuck";

  /** Says so. */
  constructor() {
    super("the back-end does not take the frames that wait in a transmit queue");
  }
}

function closedLoop(generator: Generator, plan: RunPlan, thread: RunThread): RunResult | null {
  const pacer = new Pacer(generator, thread);
  const turn = () => thread.kick(generator.closedLoop(TURNS));
  generator.begin(plan);
  generator.setWindow(plan.window);
  const isWarm = pacer.spin(WARM_UP_MS, turn);
  const before = generator.received;
  const start = thread.now();
  const isDone = isWarm && pacer.spin(plan.seconds * 1000, turn);
  const received = generator.received - before;
  const seconds = (thread.now() - start) / 1000;
  const { stalls } = pacer;
  generator.setWindow(0);
  const isHome = isDone && settle(generator, turn, thread);
  return isHome ? { ...figures(generator, plan, received, seconds), stalls } : null;
}

function openLoop(
  generator: Generator,
  plan: RunPlan,
  ratePps: number,
  thread: RunThread,
): RunResult | null {
  const paced = (ms: number) => pacedRun(generator, plan, ratePps, ms, thread);
  if (paced(WARM_UP_MS) === null) return null;
  const unsent = paced(plan.seconds * 1000);
  if (unsent === null) return null;
  const result = figures(generator, plan, generator.received, plan.seconds);
  return { ...result, unsent, latency: latencyOf(generator) };
}

// Returns how many frames were due and not sent, or null when the run was stopped.
function pacedRun(
  generator: Generator,
  plan: RunPlan,
  ratePps: number,
  ms: number,
  thread: RunThread,
): number | null {
  const pacer = new Pacer(generator, thread);
  // The generator's clock starts here, and not at 0, which stands for no clock.
  const origin = thread.now() - 1;
  const turn = () => {
    generator.look();
    thread.kick(generator.openLoop((thread.now() - origin) * NS_PER_MS));
  };
  const intervalNs = 2e9 / ratePps;
  const start = (thread.now() - origin) * NS_PER_MS;
  generator.begin(plan);
  generator.setSchedule(intervalNs, start, start + ms * NS_PER_MS);
  const isDone = pacer.spin(ms, turn);
  // What has found no place until now stays at home.
  generator.setSchedule(intervalNs, start, 0);
  const isHome = isDone && settle(generator, turn, thread);
  return isHome ? Math.max(0, dueFrames(intervalNs, ms * NS_PER_MS) - generator.sent) : null;
}

/** Frames of both directions that are due within a time; those of direction 1 half an interval later. */
export function dueFrames(intervalNs: number, ns: number): number {
  return Math.floor(ns / intervalNs) + 1 + Math.floor(ns / intervalNs - 0.5) + 1;
}

/** Repeats turns for a time and reports meanwhile. */
class Pacer {
  stalls = 0;
  readonly #generator: Generator;
  readonly #thread: RunThread;

  constructor(generator: Generator, thread: RunThread) {
    this.#generator = generator;
    this.#thread = thread;
  }

  /** Returns whether the time has passed, and the run was not stopped. */
  spin(ms: number, turn: () => void): boolean {
    const { now, isStopped, onProgress } = this.#thread;
    const end = now() + ms;
    let before = this.#generator.received;
    let since = now();
    let quietSince = since;
    for (let time = since; time < end; time = now()) {
      turn();
      if (time - since < PROGRESS_MS) continue;
      if (isStopped()) return false;
      const received = this.#generator.received;
      onProgress((received - before) / (time - since) / 1e3);
      if (received !== before) quietSince = time;
      before = received;
      since = time;
      if (time - quietSince < SILENCE_MS) continue;
      this.#generator.writeOff();
      this.stalls++;
      quietSince = time;
    }
    return true;
  }
}

// Lets what is on the way come home. Returns whether it was not stopped meanwhile.
function settle(generator: Generator, turn: () => void, { now, isStopped }: RunThread): boolean {
  let arrived = generator.received;
  let since = now();
  const end = since + SETTLE_MS;
  for (let time = since; time < end && time - since < SILENCE_MS; time = now()) {
    if (isStopped()) return false;
    turn();
    if (generator.isIdle && generator.onTheWay === 0) return true;
    if (generator.received !== arrived) since = time;
    arrived = generator.received;
  }
  if (!generator.isIdle) throw new TransmitStuck();
  return true;
}

function figures(
  generator: Generator,
  { frameBytes }: RunPlan,
  received: number,
  seconds: number,
): RunResult {
  const [there, back] = [generator.tally(0), generator.tally(1)];
  const mpps = received / seconds / 1e6;
  return {
    seconds,
    mpps,
    gbps: mpps * frameBytes * 8 / 1e3,
    sent: there.sent + back.sent,
    lost: there.sent + back.sent - there.received - back.received,
    reordered: there.reordered + back.reordered,
    duplicated: there.duplicated + back.duplicated,
    corrupted: there.corrupted + back.corrupted,
    foreign: there.foreign + back.foreign,
    unsent: 0,
    stalls: 0,
    latency: null,
  };
}

function latencyOf(generator: Generator): Latency | null {
  const counts = generator.latencies;
  const maxNs = generator.maxLatencyNs;
  // The bound of a bucket may lie above the longest latency in it.
  const at = (share: number) => Math.min(maxNs, quantile(counts, share) ?? maxNs);
  if (quantile(counts, 1) === null) return null;
  return { p50Ns: at(0.5), p99Ns: at(0.99), p999Ns: at(0.999), maxNs };
}
