/**
 * Guests that have nothing to do with the attack, and must not notice it.
 *
 * Two of them, alone on a bridge, pass one frame to and fro for as long as the attack lasts: none may
 * be lost, changed, doubled or late. A third one shares the attackers' bridge: it gets whatever they
 * flood, takes it like any driver, and now and then sends a frame to all of them.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import { UsedRingError } from "../../../src/virtio/driver_virtqueue.ts";
import { BROADCAST, makeFrame, stationAddress } from "../../support/frames.ts";
import { TestGuest } from "../../support/test_guest.ts";
import { Finding } from "./finding.ts";

/** Numbers of stations; the attackers' stations have smaller ones. */
const STATIONS = [1001, 1002, 1003] as const;
const SHORTEST_FRAME = 60;
const LONGEST_FRAME = 1514;
/** A bound, not a measurement, as for an answer: frames of other guests may not be lost, but wait. */
const FRAME_LIMIT_MS = 30_000;
/** Between a frame's arrival and the next one: each wakes a Worker, which costs more than the frame. */
const PAUSE_MS = 10;
/** Frames that the witness takes in one turn, at most. */
const MAX_TAKEN = 64;

/** Where they attach. */
export interface BystanderPaths {
  /** The two ports of the quiet bridge. */
  readonly quiet: readonly [string, string];
  /** A port of the attacked bridge. */
  readonly witness: string;
}

/** The three guests. */
export class Bystanders implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #pair: readonly [TestGuest, TestGuest];
  readonly #witness: TestGuest;
  readonly #broadcast = makeFrame(BROADCAST, stationAddress(STATIONS[2]), SHORTEST_FRAME);
  #passes = 0;
  #sentAt = 0;
  #pauseUntil = 0;
  #frame: Uint8Array = new Uint8Array(0);
  /** Frames that the witness got. */
  #witnessed = 0;
  #longestMs = 0;

  private constructor(stack: AsyncDisposableStack, guests: readonly TestGuest[]) {
    this.#stack = stack;
    this.#pair = [guests[0]!, guests[1]!];
    this.#witness = guests[2]!;
  }

  /** Attaches them to their ports. */
  static async attach({ quiet, witness }: BystanderPaths): Promise<Bystanders> {
    await using stack = new AsyncDisposableStack();
    const guests: TestGuest[] = [];
    for (const path of [...quiet, witness]) guests.push(stack.use(await TestGuest.attach(path)));
    return new Bystanders(stack.move(), guests);
  }

  /** Frames that went from one quiet guest to the other. */
  get passes(): number {
    return this.#passes;
  }

  /** Frames that the witness got. */
  get witnessed(): number {
    return this.#witnessed;
  }

  /** The longest that a frame was under way, in milliseconds. */
  get longestMs(): number {
    return this.#longestMs;
  }

  /** Whether no frame is under way. */
  get isResting(): boolean {
    return this.#frame.length === 0;
  }

  /**
   * Takes what has come.
   *
   * @param isLast Whether the frame is not to be passed on any more.
   * @throws {Finding} When a frame is late, or not the one that was sent.
   */
  advance(isLast = false): void {
    this.#passOn(isLast);
    this.#drainWitness();
  }

  /** Detaches them. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#stack.disposeAsync();
    } catch {
      // A switch that did not survive does not answer them; what they hold is released all the same.
    }
  }

  #passOn(isLast: boolean): void {
    const [from, to] = this.#passes % 2 === 0 ? this.#pair : this.#pair.toReversed();
    if (take(from!) !== null) throw new Finding("a frame came back to the bystander that sent it");
    const frame = take(to!);
    if (this.isResting) {
      if (frame !== null) throw new Finding("a frame came to a bystander that nobody sent");
      if (isLast || performance.now() < this.#pauseUntil) return;
      this.#send(from!);
      this.#witness.send(this.#broadcast);
      return;
    }
    if (frame === null) return this.#checkTime();
    this.#compare(frame);
    const now = performance.now();
    this.#longestMs = Math.max(this.#longestMs, now - this.#sentAt);
    this.#pauseUntil = now + PAUSE_MS;
    this.#passes++;
    this.#frame = new Uint8Array(0);
  }

  #send(guest: TestGuest): void {
    const [source, destination] = this.#passes % 2 === 0
      ? STATIONS
      : STATIONS.slice(0, 2).reverse();
    const length = SHORTEST_FRAME + this.#passes % (LONGEST_FRAME - SHORTEST_FRAME + 1);
    const [to, from] = [stationAddress(destination!), stationAddress(source!)];
    this.#frame = makeFrame(to, from, length, this.#passes & 0xff);
    this.#sentAt = performance.now();
    guest.send(this.#frame);
  }

  #checkTime(): void {
    if (performance.now() - this.#sentAt < FRAME_LIMIT_MS) return;
    throw new Finding(`a bystander's frame was lost, or takes more than ${FRAME_LIMIT_MS} ms`);
  }

  #compare(frame: Uint8Array): void {
    try {
      deepStrictEqual(frame, this.#frame);
    } catch {
      throw new Finding("a bystander got another frame than was sent");
    }
  }

  #drainWitness(): void {
    for (let i = 0; i < MAX_TAKEN && take(this.#witness) !== null; i++) this.#witnessed++;
  }
}

function take(guest: TestGuest): Uint8Array | null {
  try {
    return guest.tryReceive();
  } catch (error) {
    if (error instanceof UsedRingError) throw new Finding(`a bystander's ring: ${error.message}`);
    throw error;
  }
}
