/**
 * The latency pair: one frame at a time goes to and fro between two guests, at a steady pace.
 *
 * The pace comes from a clock that wakes the thread. How much too late it does so says how noisy the
 * machine is, whatever the switch does.
 *
 * @module
 */
import { MIN_FRAME_BYTES } from "../../src/ethernet/frame.ts";
import { Nic } from "../../src/host/nic.ts";
import { makeFrame } from "../support/frames.ts";
import { LATENCY } from "./addresses.ts";
import type { Board } from "./board.ts";
import { serveLoad } from "./load_scope.ts";

/** From one round trip to the next. */
const PACE_MS = 2;
/** So long the thread looks for the frame; later it sleeps, and leaves the processor to the switch. */
const IMPATIENT_MS = 0.2;
/** When a frame counts as lost. */
const LOST_MS = 1000;
/** Looks at the ring between two looks at the clock. */
const LOOKS_PER_CLOCK = 20;
/** Where a frame holds the number of its round trip. */
const NUMBER_AT = 14;
const NS_PER_MS = 1e6;

/** A frame with a number. */
class Ball {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  constructor(from: string, to: string) {
    this.frame = makeFrame(to, from, MIN_FRAME_BYTES);
    this.#view = new DataView(this.frame.buffer);
  }

  set number(number: number) {
    this.#view.setUint32(NUMBER_AT, number);
  }

  equals(other: Uint8Array): boolean {
    if (other.length !== this.frame.length) return false;
    return this.frame.every((byte, i) => other[i] === byte);
  }
}

serveLoad(({ board, sockets, ready }) => {
  using first = Nic.connect(sockets[0]!);
  using second = Nic.connect(sockets[1]!);
  ready();
  play(board, first, second);
  return {};
});

function play(board: Board, first: Nic, second: Nic): void {
  const there = new Ball(LATENCY[0], LATENCY[1]);
  const back = new Ball(LATENCY[1], LATENCY[0]);
  const recordTrip = board.recorder("roundTrip");
  const recordWakeUp = board.recorder("wakeUp");
  for (let number = 0; !board.isStopped; number++) {
    there.number = back.number = number;
    const start = performance.now();
    const hasReturned = pass(there, first, second) && pass(back, second, first);
    const tripMs = performance.now() - start;
    board.add("roundTrips");
    if (hasReturned) recordTrip(tripMs * NS_PER_MS);
    else board.add("roundTripsLost");
    // Broadcasts come to whoever is not looking, too.
    drain(first);
    drain(second);
    const sleepStart = performance.now();
    board.pause(PACE_MS);
    if (!board.isStopped) recordWakeUp((performance.now() - sleepStart - PACE_MS) * NS_PER_MS);
  }
}

// Returns whether the frame arrived.
function pass(ball: Ball, from: Nic, to: Nic): boolean {
  from.send(ball.frame);
  from.flush();
  const start = performance.now();
  for (let looks = 1;; looks++) {
    let isThere = false;
    const frames = to.poll((frame) => isThere ||= ball.equals(frame));
    if (frames > 0) to.flush();
    if (isThere) return true;
    if (looks % LOOKS_PER_CLOCK !== 0) continue;
    const waitedMs = performance.now() - start;
    if (waitedMs > LOST_MS) return false;
    if (waitedMs > IMPATIENT_MS) to.wait(LOST_MS);
  }
}

function drain(nic: Nic): void {
  if (nic.poll(() => {}) > 0) nic.flush();
}
