/**
 * The eventfd that tells a front-end about a broken ring (VHOST_USER_SET_VRING_ERR). The ring belongs
 * to port `a` of a running switch; then `b` and `c`, and `a` itself, must work.
 *
 * @module
 */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import { ringAt, ringNumber } from "../../src/dataplane/state.ts";
import { FAULT_AVAIL_INDEX, RING_FAULT } from "../../src/dataplane/state_layout.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { GUEST_REGION, SEND_INDEX_AT, TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import { memorySlot, u64 } from "../support/vhost_messages.ts";

const RECEIVE = 0;
const TRANSMIT = 1;
/** Further ahead than any ring of the guest is long. */
const BAD_INDEX = 0x4000;

/** Breaks the transmit queue of a guest and waits until that is known; returns what is told. */
async function breakRing(lab: TestLab, guest: TestGuest): Promise<string> {
  const before = lab.events.length;
  guest.memory.setUint16(SEND_INDEX_AT, BAD_INDEX, true);
  guest.kick();
  const event = await eventually("a report of the ring", () => {
    return lab.events.slice(before).find(({ kind }) => kind === "ring-fault") ?? null;
  });
  if (event.kind !== "ring-fault") throw new Error("unreachable");
  strictEqual(event.index, TRANSMIT);
  return event.text;
}

testAttack(
  "Switch signals the error eventfd of a quarantined ring, and of no other (VHOST_USER_SET_VRING_ERR)",
  async (lab) => {
    using error = EventFd.create();
    using others = EventFd.create();
    await using guest = await TestGuest.attach(lab.path("a"));
    for (const [index, { fd }] of [[RECEIVE, others], [TRANSMIT, error]] as const) {
      strictEqual(await guest.client.ask(Request.SET_VRING_ERR, u64(index), [fd]), 0n);
    }
    match(await breakRing(lab, guest), /available index is further ahead/);
    strictEqual(error.drain(), 1n);
    strictEqual(others.drain(), 0n);
  },
);

testAttack(
  "Switch runs a quarantined ring again after a new start (R2)",
  async (lab) => {
    await using guest = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    await breakRing(lab, guest);
    guest.memory.setUint16(SEND_INDEX_AT, 0, true);
    await guest.restart();
    const frame = makeFrame(BROADCAST, stationAddress(1));
    guest.send(frame);
    deepStrictEqual(await other.receive(), frame);
  },
);

testAttack(
  "Switch signals only the newest error eventfd (VHOST_USER_SET_VRING_ERR)",
  async (lab) => {
    using first = EventFd.create();
    using second = EventFd.create();
    await using guest = await TestGuest.attach(lab.path("a"));
    for (const { fd } of [first, second]) {
      strictEqual(await guest.client.ask(Request.SET_VRING_ERR, u64(TRANSMIT), [fd]), 0n);
    }
    await breakRing(lab, guest);
    deepStrictEqual([first.drain(), second.drain()], [0n, 1n]);
  },
);

testAttack("Switch signals nothing when the error eventfd was taken away (F26)", async (lab) => {
  using error = EventFd.create();
  await using guest = await TestGuest.attach(lab.path("a"));
  strictEqual(await guest.client.ask(Request.SET_VRING_ERR, u64(TRANSMIT), [error.fd]), 0n);
  strictEqual(await guest.client.ask(Request.SET_VRING_ERR, u64(0x100 | TRANSMIT)), 0n);
  await breakRing(lab, guest);
  strictEqual(error.drain(), 0n);
});

testAttack(
  "Switch signals the error eventfd again when the ring breaks again in the same way (VHOST_USER_SET_VRING_ERR)",
  async (lab) => {
    using error = EventFd.create();
    await using guest = await TestGuest.attach(lab.path("a"));
    strictEqual(await guest.client.ask(Request.SET_VRING_ERR, u64(TRANSMIT), [error.fd]), 0n);
    for (let round = 0; round < 3; round++) {
      await breakRing(lab, guest);
      strictEqual(error.drain(), 1n);
      guest.memory.setUint16(SEND_INDEX_AT, 0, true);
      await guest.restart();
    }
  },
);

testAttack(
  "Switch keeps a broken ring quarantined when its memory goes and comes back (F60)",
  async (lab) => {
    await using guest = await TestGuest.attach(lab.path("a"));
    const client = await guest.client.negotiateAll();
    const slot = memorySlot(GUEST_REGION);
    await breakRing(lab, guest);
    for (let round = 0; round < 2; round++) {
      strictEqual(await client.ask(Request.REM_MEM_REG, slot), 0n);
      // The other ring loses its memory each time.
      strictEqual(lab.report("a").counters.ringFaults, 2 + round);
      strictEqual(await client.ask(Request.ADD_MEM_REG, slot, [guest.file]), 0n);
      strictEqual(lab.state.get32(ringAt(ringNumber(0, TRANSMIT)) + RING_FAULT), FAULT_AVAIL_INDEX);
    }
  },
);
