/**
 * The poll loop: moves bursts from the rings of its list to their destinations, for ever.
 *
 * One loop runs in each poll Worker. In a turn it polls every ring of its list once, except for those
 * that have long been quiet while others are busy (see polled_rings.ts):
 *
 *     receive (source)  → which ports the frames go to
 *     for each of them: reserve (destination) → copy (source, destination) → publish (destination)
 *     complete (source) → the guest gets its descriptors back
 *
 * Between turns it holds nothing: no address, no length, no flag. Control relies on that. It changes
 * state memory, then waits until the epoch moved on or the loop sleeps (see control/quiescence.ts).
 *
 * Idle (VIRTIO 1.2, 2.7.10): spin a little, ask for kicks, look once more, sleep until a kick or the
 * doorbell. While it polls, guests are told not to kick: a kick is a system call for them.
 *
 * Nothing here allocates once a pair of ports has exchanged a frame; nothing throws on what a guest
 * does.
 *
 * @module
 */
import type { Dataplane, Dispatcher } from "../dataplane/dataplane.ts";
import { type State, workerAt } from "../dataplane/state.ts";
import {
  RINGS_PER_PORT,
  W_BUSY_POLLS,
  W_COMMAND,
  W_COMMAND_STOP,
  W_EPOCH,
  W_FRAMES_TAKEN,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
  W_POLLS,
  W_SLEEPING,
  W_SLEEPS,
  W_TIMED_FRAMES,
  W_TIMED_NS,
} from "../dataplane/state_layout.ts";
import { Delivery, type DeliveryParts } from "./delivery.ts";
import { type PolledRing, PolledRings } from "./polled_rings.ts";

/** How a loop behaves when there is nothing to do. */
export type PollMode = "adaptive" | "busy" | "event";

/** The guests' kicks, and the doorbell that control rings. */
export interface Kicks {
  /** Waits for some of them, at most so many milliseconds; returns how many came. */
  wait(timeoutMs: number): number;
  /** The number of the ring that the i-th of the last wait was for; 0 stands for the doorbell. */
  token(i: number): number;
}

/** What a poll loop needs. */
export interface PollLoopOptions extends DeliveryParts {
  /** What it sleeps on. */
  readonly kicks: Kicks;
  /** What to do when idle. */
  readonly mode: PollMode;
}

/** How long an adaptive loop looks for work before it sleeps: about the cost of two wake-ups. */
const SPIN_MS = 0.05;
/** Empty turns between two looks at the clock. */
const TURNS_PER_CLOCK = 32;
/** Frames between two looks at the clock while there are quiet rings and others are busy. */
const FRAMES_PER_CLOCK = 256;
/** How long a kick waits at most while others are busy: a look takes half a microsecond. */
const KICKS_MS = 0.05;
/** The longest sleep: bounds how late a lost doorbell is noticed. */
const MAX_SLEEP_MS = 1000;
/** One busy poll in so many is timed. */
const POLLS_PER_TIMING = 16;
/** Turns between two writes of the statistics. */
const TURNS_PER_STATISTICS = 1024;

/** Polls the rings of one Worker. */
export class PollLoop {
  readonly #worker: number;
  readonly #at: number;
  readonly #state: State;
  readonly #dataplane: Dataplane;
  readonly #kicks: Kicks;
  readonly #mode: PollMode;
  readonly #dispatcher: Dispatcher;
  readonly #delivery: Delivery;
  #rings = new PolledRings([]);
  #hasTaken = false;
  /** When kicks were looked at while others were busy, and frames taken since the clock was. */
  #kicksAt = 0;
  #sinceClock = 0;
  #generation = -1;
  #turns = 0;
  #polls = 0;
  #busyPolls = 0;
  #taken = 0;
  #timedMs = 0;
  #timedFrames = 0;
  #sleeps = 0;

  /** @param options State, instances and the two ways to touch the outside world. */
  constructor(options: PollLoopOptions) {
    this.#worker = options.worker;
    this.#at = workerAt(options.worker);
    this.#state = options.state;
    this.#dataplane = options.dataplane;
    this.#dispatcher = options.dataplane.dispatcher;
    this.#delivery = new Delivery(options);
    this.#kicks = options.kicks;
    this.#mode = options.mode;
  }

  /** Runs until control says stop. Blocks this thread. */
  run(): void {
    let idleTurns = 0;
    let idleSince = 0;
    this.#state.store32(this.#at + W_SLEEPING, 0);
    while (this.#state.load32(this.#at + W_COMMAND) !== W_COMMAND_STOP) {
      const taken = this.turn();
      if (taken > 0 || this.#mode === "busy") {
        idleTurns = 0;
        continue;
      }
      if (idleTurns === 0) idleSince = performance.now();
      idleTurns++;
      if (this.#mode === "adaptive") {
        if (idleTurns % TURNS_PER_CLOCK !== 0) continue;
        if (performance.now() - idleSince < SPIN_MS) continue;
      }
      this.#rest();
      idleTurns = 0;
    }
    this.#writeStatistics();
    this.#state.store32(this.#at + W_SLEEPING, 1);
  }

  /**
   * Polls every ring once; quiet ones only if nothing was found in the turn before, or on a kick.
   *
   * @returns How many chains were taken.
   */
  turn(): number {
    const generation = this.#state.load32(this.#at + W_LIST_GENERATION);
    if (generation !== this.#generation) this.#readList(generation);
    let taken = 0;
    for (let i = 0; i < this.#rings.lively; i++) taken += this.#pollLively(this.#rings.at(i));
    if (this.#rings.lively < this.#rings.length) {
      if (!this.#hasTaken) taken += this.#pollAllQuiet();
      else if (this.#isTimeForKicks(taken)) taken += this.#pollKicked();
    }
    this.#state.add32(this.#at + W_EPOCH, 1);
    this.#hasTaken = taken > 0;
    this.#turns++;
    if (this.#turns % TURNS_PER_STATISTICS === 0) this.#writeStatistics();
    return taken;
  }

  #pollLively(polled: PolledRing): number {
    const taken = this.#poll(polled);
    if (taken > 0) polled.emptyLooks = 0;
    else if (this.#hasTaken) this.#rings.noteEmpty(polled);
    return taken;
  }

  #pollQuiet(polled: PolledRing): number {
    const taken = this.#poll(polled);
    if (taken > 0) this.#rings.enliven(polled);
    return taken;
  }

  #pollAllQuiet(): number {
    let taken = 0;
    for (let i = this.#rings.lively; i < this.#rings.length; i++) {
      taken += this.#pollQuiet(this.#rings.at(i));
    }
    return taken;
  }

  #isTimeForKicks(taken: number): boolean {
    this.#sinceClock += taken;
    if (this.#sinceClock < FRAMES_PER_CLOCK) return false;
    this.#sinceClock = 0;
    const now = performance.now();
    if (now - this.#kicksAt < KICKS_MS) return false;
    this.#kicksAt = now;
    return true;
  }

  #pollKicked(): number {
    let taken = 0;
    const count = this.#kicks.wait(0);
    for (let i = 0; i < count; i++) {
      const polled = this.#rings.quiet(this.#kicks.token(i));
      if (polled !== undefined) taken += this.#pollQuiet(polled);
    }
    // A guest that does not kick although it was asked to waits longer, but not for ever.
    if (this.#rings.lively === this.#rings.length) return taken;
    return taken + this.#pollQuiet(this.#rings.nextQuiet());
  }

  #poll(source: PolledRing): number {
    this.#polls++;
    const isTimed = this.#busyPolls % POLLS_PER_TIMING === 0;
    const start = isTimed ? performance.now() : 0;
    const taken = this.#dispatcher.receive(source.port, this.#worker, source.ring);
    if (taken === 0) return 0;
    this.#delivery.deliver(source.port, source.pair);
    const mustCall = this.#dispatcher.complete(source.port, this.#worker, source.ring);
    if (mustCall !== 0) this.#delivery.call(source.ring);
    this.#busyPolls++;
    this.#taken += taken;
    if (isTimed) {
      this.#timedMs += performance.now() - start;
      this.#timedFrames += taken;
    }
    return taken;
  }

  // Asks for kicks and sleeps, unless work came in between.
  #rest(): void {
    if (!this.#rings.arm() && this.#isUnchanged()) {
      this.#sleeps++;
      this.#writeStatistics();
      // From here to the store of 0 this thread touches neither rings nor guest memory. Control may
      // change everything; sequential consistency makes the turn after see it.
      this.#state.store32(this.#at + W_SLEEPING, 1);
      this.#kicks.wait(MAX_SLEEP_MS);
      this.#state.store32(this.#at + W_SLEEPING, 0);
    }
    if (this.#isUnchanged()) this.#rings.disarm();
  }

  #isUnchanged(): boolean {
    return this.#state.load32(this.#at + W_LIST_GENERATION) === this.#generation &&
      this.#state.load32(this.#at + W_COMMAND) !== W_COMMAND_STOP;
  }

  #readList(generation: number): void {
    const rings: PolledRing[] = [];
    const length = this.#state.get32(this.#at + W_LIST_COUNT);
    for (let i = 0; i < length; i++) {
      const ring = this.#state.get16(this.#at + W_LIST + i * 2);
      const port = Math.trunc(ring / RINGS_PER_PORT);
      const pair = (ring % RINGS_PER_PORT) >> 1;
      const code = this.#dataplane.ring(port);
      rings.push({ ring, port, pair, code, position: i, emptyLooks: 0 });
    }
    this.#rings = new PolledRings(rings);
    this.#rings.disarm();
    this.#generation = generation;
  }

  #writeStatistics(): void {
    this.#state.setFloat(this.#at + W_POLLS, this.#polls);
    this.#state.setFloat(this.#at + W_BUSY_POLLS, this.#busyPolls);
    this.#state.setFloat(this.#at + W_FRAMES_TAKEN, this.#taken);
    this.#state.setFloat(this.#at + W_TIMED_NS, this.#timedMs * 1e6);
    this.#state.setFloat(this.#at + W_TIMED_FRAMES, this.#timedFrames);
    this.#state.setFloat(this.#at + W_SLEEPS, this.#sleeps);
  }
}
