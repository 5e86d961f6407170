/**
 * Somebody on another port of a switch who sends a broadcast frame again and again, so that the probe has
 * something to receive.
 *
 * @module
 */
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { TestGuest } from "../support/test_guest.ts";

const INTERVAL_MS = 5;
const FRAME_BYTES = 60;
/** A switch may have to find memory for its first guest. */
const START_MS = 30_000;
/** The last byte of its address. */
const NUMBER = 0xbb;

/** A sender. Disposing detaches it. */
export class Peer implements AsyncDisposable {
  readonly #guest: TestGuest;
  readonly #timer: ReturnType<typeof setInterval>;
  #hasSent = false;
  #isHeard = false;

  private constructor(guest: TestGuest) {
    this.#guest = guest;
    const frame = makeFrame(BROADCAST, stationAddress(NUMBER), FRAME_BYTES, 0);
    this.#timer = setInterval(() => {
      while (guest.tryReceive() !== null);
      this.#isHeard ||= this.#hasSent && guest.hasSentAll();
      this.#hasSent = guest.send(frame);
    }, INTERVAL_MS);
  }

  /** Attaches to a port, sends from now on, and waits until the switch takes it. */
  static async attach(socket: string): Promise<Peer> {
    const peer = new Peer(await TestGuest.attach(socket));
    try {
      await eventually("frames to be taken", () => peer.#isHeard || null, START_MS);
      return peer;
    } catch (error) {
      await peer[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Stops sending and detaches. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#guest[Symbol.asyncDispose]();
  }
}
