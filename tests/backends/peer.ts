/**
 * Somebody on another port of a switch who sends a broadcast frame again and again, so that the probe has
 * something to receive.
 *
 * @module
 */
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { TestGuest } from "../support/test_guest.ts";

const INTERVAL_MS = 5;
const FRAME_BYTES = 60;
/** The last byte of its address. */
const NUMBER = 0xbb;

/** A sender. Disposing detaches it. */
export class Peer implements AsyncDisposable {
  readonly #guest: TestGuest;
  readonly #timer: ReturnType<typeof setInterval>;

  private constructor(guest: TestGuest) {
    this.#guest = guest;
    const frame = makeFrame(BROADCAST, stationAddress(NUMBER), FRAME_BYTES, 0);
    this.#timer = setInterval(() => {
      while (guest.tryReceive() !== null);
      guest.send(frame);
    }, INTERVAL_MS);
  }

  /** Attaches to a port and sends from now on. */
  static async attach(socket: string): Promise<Peer> {
    return new Peer(await TestGuest.attach(socket));
  }

  /** Stops sending and detaches. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#guest[Symbol.asyncDispose]();
  }
}
