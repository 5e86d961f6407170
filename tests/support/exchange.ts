/**
 * Frames between two guests of a running switch, as a proof that both ports work.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import { makeFrame, stationAddress } from "./frames.ts";
import { TestGuest } from "./test_guest.ts";

const FRAME_BYTES = 200;

/**
 * Attaches a guest to each of two ports and sends a frame in either direction.
 *
 * @param first The socket of a port on which nobody is connected.
 * @param second The same.
 */
export async function exchange(first: string, second: string): Promise<void> {
  await using one = await TestGuest.attach(first);
  await using two = await TestGuest.attach(second);
  await exchangeFrames(one, two);
}

/**
 * Sends a frame in either direction between two guests.
 *
 * @param one A guest that nothing is on its way to.
 * @param two The same.
 */
export async function exchangeFrames(one: TestGuest, two: TestGuest): Promise<void> {
  for (const [from, to, number] of [[one, two, 1], [two, one, 2]] as const) {
    const frame = makeFrame(
      stationAddress(3 - number),
      stationAddress(number),
      FRAME_BYTES,
      number,
    );
    from.send(frame);
    deepStrictEqual(await to.receive(), frame);
  }
}
