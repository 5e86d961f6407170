/**
 * Numbered frames from one guest to another for as long as a test does something else: each must
 * arrive, once, in order and unharmed.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import { eventually } from "./eventually.ts";
import { makeFrame, stationAddress } from "./frames.ts";
import type { TestGuest } from "./test_guest.ts";

const FRAME_BYTES = 200;
/** Where a frame holds its number: behind its Ethernet header. */
const NUMBER = 14;
/** In the place of a frame that is not waited for. */
const NONE = new Uint8Array();

/** The destination of frames that tell where their sender is; no guest has it. */
const NOBODY = 99;

/**
 * Lets the switch learn where the guests are, so that frames between them reach nobody else.
 *
 * @param guests All guests that are attached; the first one gets station 1, the next one 2, …
 */
export async function introduce(guests: readonly TestGuest[]): Promise<void> {
  for (const [i, guest] of guests.entries()) {
    const frame = numbered(NOBODY, i + 1, 0);
    guest.send(frame);
    for (const other of guests) if (other !== guest) deepStrictEqual(await other.receive(), frame);
  }
}

/** A flow between two guests on which nothing else arrives. */
export class SteadyFlow {
  /** Frames sent, each of which arrived. */
  frames = 0;
  /** The longest time that a frame took. */
  longestMs = 0;
  readonly #from: TestGuest;
  readonly #to: TestGuest;
  readonly #stations: readonly [from: number, to: number];
  #isOver = false;
  #isAborted = false;
  #running: Promise<void> | null = null;

  /**
   * @param from The guest that sends.
   * @param to The guest that receives.
   * @param stations Numbers of their addresses, see {@linkcode introduce}.
   */
  constructor(from: TestGuest, to: TestGuest, stations: readonly [from: number, to: number]) {
    [this.#from, this.#to, this.#stations] = [from, to, stations];
  }

  /** Sends the next frame and waits until it is there. */
  async pass(): Promise<void> {
    const [from, to] = this.#stations;
    const frame = numbered(to, from, this.frames);
    const sent = performance.now();
    this.#from.send(frame);
    const received = await eventually(
      "a frame of a flow",
      () => this.#isAborted ? NONE : this.#to.tryReceive(),
    );
    if (received === NONE) return;
    deepStrictEqual(received, frame);
    this.longestMs = Math.max(this.longestMs, performance.now() - sent);
    this.frames++;
  }

  /** Sends frame after frame until {@linkcode end}. */
  begin(): void {
    this.#isOver = false;
    this.#running = this.#run();
    // It is looked at in the end.
    this.#running.catch(() => {});
  }

  /**
   * Ends the flow.
   *
   * @throws {Error} When a frame was lost or harmed.
   */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  /** Ends the flow although its last frame may never arrive. */
  async abort(): Promise<void> {
    this.#isAborted = true;
    await this.end();
  }

  async #run(): Promise<void> {
    while (!this.#isOver) await this.pass();
  }
}

/** Makes a frame with a number in it. */
export function numbered(destination: number, source: number, number: number): Uint8Array {
  const [to, from] = [stationAddress(destination), stationAddress(source)];
  const frame = makeFrame(to, from, FRAME_BYTES, number);
  new DataView(frame.buffer).setUint32(NUMBER, number);
  return frame;
}
