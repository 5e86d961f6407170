/**
 * A driver that resets its device a thousand times while others talk (G97): the others lose nothing,
 * and descriptors and mappings are as before.
 *
 * @module
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { BARE_GUEST_MEMFD, BareGuest } from "../support/bare_guest.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";

const RESETS = 1000;
/** Resets before the first measurement. */
const WARM_UP_RESETS = 10;
/** Resets on the way: fewer replies than a front-end may leave unread. */
const AT_A_TIME = 10;

/** Descriptors, and mappings of the guest's memory. */
type Baseline = readonly [number, number];

testAttack(
  "Switch is as it was after a driver was reset 1000 times under traffic (G97)",
  async (lab) => {
    using guest = await BareGuest.attach(lab.path("a"));
    await using one = await TestGuest.attach(lab.path("b"));
    await using other = await TestGuest.attach(lab.path("c"));
    let isOver = false;
    const beside = exchange(one, other, () => isOver);
    try {
      await reset(guest, WARM_UP_RESETS);
      lab.events.length = 0;
      const before = measure();
      await reset(guest, RESETS);
      deepStrictEqual(measure(), before);
    } finally {
      isOver = true;
      ok(await beside > 0);
    }
    checkEvents(lab);
  },
);

/** Resets the device again and again, and reads the answers to several resets at once. */
async function reset(guest: BareGuest, times: number): Promise<void> {
  for (let done = 0; done < times; done += AT_A_TIME) {
    for (let i = 0; i < AT_A_TIME; i++) await guest.sayReset();
    for (let i = 0; i < AT_A_TIME; i++) deepStrictEqual(await guest.ringBases(), [0, 0]);
  }
  // What was said last was done as well.
  await guest.client.probe();
}

function measure(): Baseline {
  return [countDescriptors(), countMappings(Deno.pid, BARE_GUEST_MEMFD)];
}

/** Each reset takes the port down and up again, once, and nothing is refused. */
function checkEvents({ events }: TestLab): void {
  const count = (wanted: string) => events.filter(({ kind }) => kind === wanted).length;
  deepStrictEqual([count("down"), count("up"), events.length], [RESETS, RESETS, 2 * RESETS]);
}

/** Passes frames to and fro, each when the last one has arrived; returns how many. */
async function exchange(
  one: TestGuest,
  other: TestGuest,
  isOver: () => boolean,
): Promise<number> {
  let passed = 0;
  for (; !isOver(); passed++) {
    const frame = makeFrame(stationAddress(3), stationAddress(2), 200, passed);
    one.send(frame);
    deepStrictEqual(await other.receive(), frame);
  }
  return passed;
}
