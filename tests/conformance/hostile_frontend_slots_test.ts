/**
 * Memory regions that are added and removed one by one, where there is no room, twice, or under a
 * running ring. Each attack hits port `a` of a running switch; then `b` and `c`, and `a` itself, must
 * work.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { createMemfd } from "../../ffi/memory.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import type { RawClient } from "../support/raw_client.ts";
import { GUEST_REGION, TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import {
  memorySlot,
  memoryTable,
  NOTHING,
  type RegionDraft,
  u64,
} from "../support/vhost_messages.ts";

const PAGE = 4096n;
/** A memory file's name, by which its mappings are found. */
const MEMFD = "labswitch-slots";

/** A region of one page, at its own place in both kinds of address. */
function slot(number: number): RegionDraft {
  return {
    guest: BigInt(number) * PAGE,
    size: PAGE,
    user: 0x7f00_0000_0000n + BigInt(number) * PAGE,
  };
}

async function connect(lab: TestLab): Promise<RawClient> {
  return await (await lab.connect("a")).negotiateAll();
}

async function add(client: RawClient, region: RegionDraft, fd: Fd): Promise<bigint> {
  return await client.ask(Request.ADD_MEM_REG, memorySlot(region), [fd]);
}

async function remove(client: RawClient, region: RegionDraft, fds: Fd[] = []): Promise<bigint> {
  return await client.ask(Request.REM_MEM_REG, memorySlot(region), fds);
}

async function slotsOf(client: RawClient): Promise<number> {
  await client.say(Request.GET_MAX_MEM_SLOTS, NOTHING);
  return Number(await client.number(Request.GET_MAX_MEM_SLOTS));
}

testAttack("Switch takes as many regions as it says, and not one more (F58)", async (lab) => {
  using client = await connect(lab);
  using fd = createMemfd(MEMFD, PAGE);
  const slots = await slotsOf(client);
  for (let i = 0; i < slots; i++) strictEqual(await add(client, slot(i), fd), 0n, `slot ${i}`);
  const before = countDescriptors();
  strictEqual(await add(client, slot(slots), fd), 1n);
  match(lab.refusal(), /slots are taken/);
  strictEqual(countDescriptors(), before);
  strictEqual(countMappings(Deno.pid, MEMFD), slots);
  strictEqual(await remove(client, slot(5)), 0n);
  strictEqual(await add(client, slot(slots), fd), 0n);
});

testAttack("Switch counts the regions of a table among the slots (F58)", async (lab) => {
  using client = await connect(lab);
  using fd = createMemfd(MEMFD, PAGE);
  const slots = await slotsOf(client);
  for (let i = 0; i < slots; i++) await add(client, slot(i), fd);
  // A table takes the place of all of them.
  const table = [0, 1, 2, 3, 4, 5, 6, 7].map(slot);
  const fds = table.map(() => fd);
  strictEqual(await client.ask(Request.SET_MEM_TABLE, memoryTable(table), fds), 0n);
  strictEqual(countMappings(Deno.pid, MEMFD), table.length);
  for (let i = table.length; i < slots; i++) strictEqual(await add(client, slot(i), fd), 0n);
  strictEqual(await add(client, slot(slots), fd), 1n);
});

testAttack("Switch refuses a region that is there already, whole or in part (F58)", async (lab) => {
  using client = await connect(lab);
  using fd = createMemfd(MEMFD, 4n * PAGE);
  const first = { ...slot(2), size: 2n * PAGE };
  strictEqual(await add(client, first, fd), 0n);
  const before = countDescriptors();
  for (
    const wrong of [first, slot(3), { ...slot(1), size: 2n * PAGE }, {
      ...slot(9),
      user: first.user!,
    }]
  ) {
    strictEqual(await add(client, wrong, fd), 1n);
    match(lab.refusal(), /overlap/);
  }
  strictEqual(countDescriptors(), before);
  strictEqual(countMappings(Deno.pid, MEMFD), 1);
});

testAttack("Switch refuses to remove a region that it does not have (F59)", async (lab) => {
  using client = await connect(lab);
  using fd = createMemfd(MEMFD, 2n * PAGE);
  strictEqual(await remove(client, slot(0)), 1n);
  strictEqual(await add(client, slot(1), fd), 0n);
  for (
    const wrong of [
      slot(0),
      { ...slot(1), size: 2n * PAGE },
      { ...slot(1), guest: 0n },
      { ...slot(1), user: 0n },
    ]
  ) {
    strictEqual(await remove(client, wrong), 1n);
    match(lab.refusal(), /no such memory region/);
  }
  strictEqual(countMappings(Deno.pid, MEMFD), 1);
  strictEqual(await remove(client, slot(1)), 0n);
  strictEqual(await remove(client, slot(1)), 1n);
  strictEqual(countMappings(Deno.pid, MEMFD), 0);
});

testAttack("Switch closes a descriptor that comes with a region to remove (F59)", async (lab) => {
  using client = await connect(lab);
  using fd = createMemfd(MEMFD, PAGE);
  strictEqual(await add(client, slot(0), fd), 0n);
  const before = countDescriptors();
  strictEqual(await remove(client, slot(0), [fd]), 0n);
  strictEqual(await remove(client, slot(0), [fd]), 1n);
  strictEqual(countDescriptors(), before);
});

testAttack("Switch leaks nothing in 300 regions that come and go (F61)", async (lab) => {
  using client = await connect(lab);
  using fd = createMemfd(MEMFD, 8n * PAGE);
  await client.probe();
  const before = countDescriptors();
  for (let i = 0; i < 300; i++) {
    const region = { ...slot(8 * i), size: BigInt(1 + i % 8) * PAGE };
    strictEqual(await add(client, region, fd), 0n);
    strictEqual(await remove(client, region), 0n);
  }
  strictEqual(countDescriptors(), before);
  strictEqual(countMappings(Deno.pid, MEMFD), 0);
});

testAttack(
  "Switch quarantines rings whose region is removed, and goes on with them when it is back (F60)",
  async (lab) => {
    using error = EventFd.create();
    await using guest = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    const client = await guest.client.negotiateAll();
    for (const index of [0, 1]) {
      strictEqual(await client.ask(Request.SET_VRING_ERR, u64(index), [error.fd]), 0n);
    }
    await exchange(guest, other, 1);
    strictEqual(await remove(client, GUEST_REGION), 0n);
    const isReported = () => {
      const faults = lab.events.filter(({ kind }) => kind === "ring-fault");
      return faults.length === 2 || null;
    };
    await eventually("a report of both rings", isReported);
    ok(error.drain() > 0n);
    // What the guest sends now waits in its ring; what comes for it is lost.
    const waiting = makeFrame(BROADCAST, stationAddress(1), 60, 99);
    guest.send(waiting);
    other.send(makeFrame(stationAddress(1), stationAddress(2)));
    const isLost = () => lab.report("a").counters.drops["not ready"] === 1 || null;
    await eventually("a lost frame", isLost);
    strictEqual(await add(client, GUEST_REGION, guest.file), 0n);
    deepStrictEqual(await other.receive(), waiting);
    await exchange(guest, other, 2);
  },
);

testAttack(
  "Switch starts no ring in a region that was removed (F60, F69)",
  async (lab) => {
    await using guest = await TestGuest.attach(lab.path("a"));
    const client = await guest.client.negotiateAll();
    strictEqual(await remove(client, GUEST_REGION), 0n);
    // Starts with a stop, which works without memory, too.
    let error: unknown = null;
    await guest.restart().catch((thrown) => error = thrown);
    match(String(error), /was refused/);
    ok(lab.events.some(({ kind }) => kind === "no-memory"));
    strictEqual(await add(client, GUEST_REGION, guest.file), 0n);
    await guest.restart();
    strictEqual(lab.report("a").state, "up");
  },
);

/** Sends a frame in either direction. */
async function exchange(one: TestGuest, two: TestGuest, mark: number): Promise<void> {
  const [first, second] = [stationAddress(1), stationAddress(2)];
  const there = makeFrame(BROADCAST, first, 60, mark);
  one.send(there);
  deepStrictEqual(await two.receive(), there);
  const back = makeFrame(first, second, 60, mark);
  two.send(back);
  deepStrictEqual(await one.receive(), back);
}
