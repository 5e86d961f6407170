/**
 * The poll loop: moves bursts from the rings of its list to their destinations, for ever.
 *
 * One loop runs in each poll Worker. In a turn it polls every ring of its list once, except for rings
 * that have been quiet for long while others are busy:
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
import type { Dataplane, Dispatcher, RingInstance } from "../dataplane/dataplane.ts";
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

/** How a loop behaves when there is nothing to do. */
export type PollMode = "adaptive" | "busy" | "event";

/** What a poll loop needs. */
export interface PollLoopOptions extends DeliveryParts {
  /** Sleeps until a kick or the doorbell, at most so many milliseconds. */
  readonly sleep: (timeoutMs: number) => void;
  /** What to do when idle. */
  readonly mode: PollMode;
}

/** A ring of the list, with its port's instance at hand. */
interface PolledRing {
  readonly ring: number;
  readonly port: number;
  readonly pair: number;
  readonly code: RingInstance;
  /** Looks in a row that found nothing. */
  emptyPolls: number;
}

/** Looks in a row that find nothing, after which a ring counts as quiet. */
const QUIET_AFTER_POLLS = 256;
/** While others are busy, a quiet ring is looked at in one turn of so many. */
const QUIET_STRIDE = 16;

/** How long an adaptive loop looks for work before it sleeps: about the cost of two wake-ups. */
const SPIN_MS = 0.05;
/** Empty turns between two looks at the clock. */
const TURNS_PER_CLOCK = 32;
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
  readonly #sleep: (timeoutMs: number) => void;
  readonly #mode: PollMode;
  readonly #dispatcher: Dispatcher;
  readonly #delivery: Delivery;
  /** Rings of the list; the first `#lively` of them are not quiet. */
  #rings: PolledRing[] = [];
  #lively = 0;
  /** Which of the quiet rings is looked at next. */
  #nextQuiet = 0;
  #hasTaken = false;
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
    this.#sleep = options.sleep;
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
   * Polls every ring once, quiet ones less often while others are busy.
   *
   * @returns How many chains were taken.
   */
  turn(): number {
    const generation = this.#state.load32(this.#at + W_LIST_GENERATION);
    if (generation !== this.#generation) this.#readList(generation);
    let taken = 0;
    for (let i = 0; i < this.#lively; i++) taken += this.#pollLively(i);
    taken += this.#pollQuiet();
    this.#state.add32(this.#at + W_EPOCH, 1);
    this.#hasTaken = taken > 0;
    this.#turns++;
    if (this.#turns % TURNS_PER_STATISTICS === 0) this.#writeStatistics();
    return taken;
  }

  #pollLively(i: number): number {
    const source = this.#rings[i]!;
    const taken = this.#poll(source);
    if (taken > 0) source.emptyPolls = 0;
    else if (++source.emptyPolls > QUIET_AFTER_POLLS) this.#swap(i, --this.#lively);
    return taken;
  }

  // Many quiet ports must not slow a few busy ones down: while there is work, only some of the quiet
  // rings get a look in each turn. Without work all of them do, so waking up takes no longer.
  #pollQuiet(): number {
    const quiet = this.#rings.length - this.#lively;
    const looks = this.#hasTaken ? Math.ceil(quiet / QUIET_STRIDE) : quiet;
    let taken = 0;
    for (let look = 0; look < looks; look++) {
      const i = this.#lively + this.#nextQuiet++ % (this.#rings.length - this.#lively);
      const found = this.#poll(this.#rings[i]!);
      if (found === 0) continue;
      this.#rings[i]!.emptyPolls = 0;
      this.#swap(i, this.#lively++);
      taken += found;
      if (this.#lively === this.#rings.length) break;
    }
    return taken;
  }

  #swap(i: number, j: number): void {
    const ring = this.#rings[i]!;
    this.#rings[i] = this.#rings[j]!;
    this.#rings[j] = ring;
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
    let hasWork = false;
    const rings = this.#rings;
    for (let i = 0; i < rings.length; i++) {
      if (rings[i]!.code.arm(rings[i]!.ring) !== 0) hasWork = true;
    }
    if (!hasWork && this.#isUnchanged()) {
      this.#sleeps++;
      this.#writeStatistics();
      // From here to the store of 0 this thread touches neither rings nor guest memory. Control may
      // change everything; sequential consistency makes the turn after see it.
      this.#state.store32(this.#at + W_SLEEPING, 1);
      this.#sleep(MAX_SLEEP_MS);
      this.#state.store32(this.#at + W_SLEEPING, 0);
    }
    if (!this.#isUnchanged()) return;
    for (let i = 0; i < rings.length; i++) rings[i]!.code.disarm(rings[i]!.ring);
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
      rings.push({ ring, port, pair, code: this.#dataplane.ring(port), emptyPolls: 0 });
    }
    this.#rings = rings;
    this.#lively = rings.length;
    this.#nextQuiet = 0;
    this.#generation = generation;
    for (const { ring, code } of rings) code.disarm(ring);
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
