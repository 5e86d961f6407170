/**
 * Messages about the whole device that come with nonsense, at the wrong time, or that are not offered.
 * Each attack hits port `a` of a running switch with real files; then `b` and `c`, and `a` itself,
 * must work.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { addSeals, createMemfd, F_SEAL_WRITE } from "../../ffi/memory.ts";
import { receive, unixSocketPair } from "../../ffi/unix_socket.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { FLAG_NEED_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { openFile } from "../support/descriptors.ts";
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import type { RawClient } from "../support/raw_client.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import { UNSUPPORTED } from "../support/unsupported_messages.ts";
import { dirtyLog, memoryTable, NOTHING, u64 } from "../support/vhost_messages.ts";

const PAGE = 4096n;
const MEMORY_BYTES = 16n * PAGE;
/** By this the mappings of logs are found. */
const LOG_NAME = "labswitch-log";
/** ACKNOWLEDGE, DRIVER, DRIVER_OK and FEATURES_OK (VIRTIO 1.2, 2.1). */
const RUNNING = 15n;
/** The number of GET_INFLIGHT_FD, which is not offered. */
const GET_INFLIGHT_FD = 31;
/** A station that no port has: frames to it are flooded. */
const NOBODY = 9;
const MANY = 2000;
/** Requests in one write: the socket holds as many, and their answers. */
const BATCH = 100;

/** A front-end that has negotiated everything and shared a little memory. */
async function connect(lab: TestLab): Promise<RawClient> {
  const client = await (await lab.connect("a")).negotiateAll();
  using fd = createMemfd("labswitch-hostile", MEMORY_BYTES);
  const table = memoryTable([{ size: MEMORY_BYTES }]);
  strictEqual(await client.ask(Request.SET_MEM_TABLE, table, [fd]), 0n);
  return client;
}

async function statusOf(client: RawClient): Promise<bigint> {
  await client.say(Request.GET_STATUS, NOTHING);
  return await client.number(Request.GET_STATUS);
}

testAttack("Switch takes an MTU that IPv4 can work with, and no other (F87)", async (lab) => {
  using client = await connect(lab);
  for (const mtu of [68n, 65535n]) strictEqual(await client.ask(Request.NET_SET_MTU, u64(mtu)), 0n);
  for (const mtu of [0n, 67n, 65536n, 2n ** 63n]) {
    strictEqual(await client.ask(Request.NET_SET_MTU, u64(mtu)), 1n);
    match(lab.refusal(), /not between 68 and 65535/);
  }
});

for (const { ids, what, messages } of UNSUPPORTED) {
  testAttack(`Switch refuses ${what} and closes what came along (${ids})`, async (lab) => {
    using client = await connect(lab);
    using event = EventFd.create();
    const before = countDescriptors();
    for (const { name, request, payload, fds = 0 } of messages) {
      strictEqual(await client.ask(request, payload, new Array(fds).fill(event.fd)), 1n, name);
    }
    strictEqual(countDescriptors(), before);
    ok(await client.probe() > 0n);
  });
}

testAttack(
  "Switch hangs up on a channel for its requests, which it would never use (F89)",
  async (lab) => {
    const [left, right] = unixSocketPair();
    using client = await connect(lab);
    strictEqual(await client.ask(21, NOTHING, [left]), 1n);
    left.close();
    const isOver = () => receive(right, new Uint8Array(1), []) === 0 || null;
    await eventually("the channel is closed", isOver);
    right.close();
  },
);

testAttack(
  `Switch does not grow by ${MANY} requests for in-flight descriptors (F90)`,
  async (lab) => {
    using client = await connect(lab);
    const { payload } = UNSUPPORTED.flatMap(({ messages }) => messages)
      .find(({ request }) => request === GET_INFLIGHT_FD)!;
    const message = encode(GET_INFLIGHT_FD, FLAG_NEED_REPLY, payload);
    const batch = Uint8Array.from(new Array(BATCH).fill([...message]).flat());
    const before = countDescriptors();
    for (let i = 0; i < MANY; i += BATCH) {
      await client.send(batch);
      for (let k = 0; k < BATCH; k++) strictEqual(await client.number(GET_INFLIGHT_FD), 1n);
    }
    strictEqual(countDescriptors(), before);
    const reported = lab.events.filter(({ kind }) => kind === "request-refused").length;
    ok(reported <= 10, `${reported} refusals were reported`);
  },
);

testAttack(
  "Switch disconnects a front-end whose log of dirty pages cannot be (F92)",
  async (lab) => {
    using log = createMemfd(LOG_NAME, 4n * PAGE);
    using sealed = createMemfd(LOG_NAME, PAGE);
    addSeals(sealed, F_SEAL_WRITE);
    using readOnly = openFile(`/proc/self/fd/${log.number}`, "r");
    using event = EventFd.create();
    using device = openFile("/dev/zero", "r+");
    using folder = openFile("/dev/shm", "r");
    const cases: readonly (readonly [what: string, size: bigint, offset: bigint, fd: Fd])[] = [
      ["wraps around", 2n ** 64n - PAGE, 2n * PAGE, log],
      ["begins behind its file", PAGE, 2n ** 63n, log],
      ["ends behind its file", 4n * PAGE, PAGE, log],
      ["has no bytes", 0n, 0n, log],
      ["is too small", 1n, 0n, log],
      ["is misaligned", PAGE, 1n, log],
      ["is sealed", PAGE, 0n, sealed],
      ["can only be read", PAGE, 0n, readOnly],
      ["is an eventfd", PAGE, 0n, event.fd],
      ["is a device", PAGE, 0n, device],
      ["is a folder", PAGE, 0n, folder],
    ];
    for (const [what, size, offset, fd] of cases) {
      await lab.idle("a");
      lab.events.length = 0;
      using client = await connect(lab);
      await client.say(Request.SET_LOG_BASE, dirtyLog(size, offset), { fds: [fd] });
      await client.end();
      match((await lab.endReason("a"))!, /^SET_LOG_BASE: /, what);
    }
    strictEqual(countMappings(Deno.pid, LOG_NAME), 0);
  },
);

testAttack(
  "Switch maps one log, the newest, and forgets it with its front-end (F92)",
  async (lab) => {
    using log = createMemfd(LOG_NAME, 4n * PAGE);
    {
      using client = await connect(lab);
      const before = countDescriptors();
      for (let i = 0; i < 50; i++) {
        const message = dirtyLog(PAGE, BigInt(i % 4) * PAGE);
        await client.say(Request.SET_LOG_BASE, message, { fds: [log] });
        strictEqual(await client.number(Request.SET_LOG_BASE), 0n);
      }
      strictEqual(countMappings(Deno.pid, LOG_NAME), 1);
      strictEqual(countDescriptors(), before);
    }
    await lab.idle("a");
    strictEqual(countMappings(Deno.pid, LOG_NAME), 0);
  },
);

testAttack(
  "Switch remembers the status that it is told, and nothing else changes (F94)",
  async (lab) => {
    await using guest = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    const client = await guest.client.negotiateAll();
    for (const status of [1n, RUNNING, 0x80n | RUNNING]) {
      strictEqual(await client.ask(Request.SET_STATUS, u64(status)), 0n);
      strictEqual(await statusOf(client), status);
    }
    strictEqual(await client.ask(Request.SET_STATUS, u64(0x100)), 1n);
    strictEqual(await client.ask(Request.RESET_OWNER, NOTHING), 0n);
    strictEqual(await statusOf(client), 0x80n | RUNNING);
    await exchange(guest, other, 1);
  },
);

for (
  const [what, request, payload] of [
    ["RESET_DEVICE", Request.RESET_DEVICE, NOTHING],
    ["status 0", Request.SET_STATUS, u64(0)],
  ] as const
) {
  testAttack(`Switch stops running rings on ${what}, and starts them again (F94)`, async (lab) => {
    await using guest = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    const client = await guest.client.negotiateAll();
    strictEqual(await client.ask(Request.SET_STATUS, u64(RUNNING)), 0n);
    await exchange(guest, other, 1);
    for (let round = 2; round < 5; round++) {
      const before = countDescriptors();
      // A frame may be on its way into the ring that stops.
      other.send(makeFrame(stationAddress(NOBODY), stationAddress(2)));
      for (const _ of [1, 2]) strictEqual(await client.ask(request, payload), 0n);
      await eventually("the frame is sent", () => other.hasSentAll() || null);
      strictEqual(lab.report("a").state, "connected");
      strictEqual(await statusOf(client), 0n);
      // Both rings' kick eventfds were closed.
      strictEqual(countDescriptors(), before - 2);
      strictEqual(await client.ask(Request.SET_STATUS, u64(RUNNING)), 0n);
      await guest.restart();
      strictEqual(lab.report("a").state, "up");
      await exchange(guest, other, round);
    }
  });
}

testAttack(
  "Switch takes a reset in the middle of a handshake, and a new one after it (F94)",
  async (lab) => {
    using client = await connect(lab);
    for (const _ of [1, 2, 3]) {
      strictEqual(await client.ask(Request.SET_FEATURES, u64(2n ** 32n | 2n ** 30n)), 0n);
      strictEqual(await client.ask(Request.RESET_DEVICE, NOTHING), 0n);
      strictEqual(await client.ask(Request.SET_STATUS, u64(0)), 0n);
    }
    ok(await client.probe() > 0n);
  },
);

/** Sends a frame in either direction; one for nobody may have come before the second. */
async function exchange(one: TestGuest, two: TestGuest, mark: number): Promise<void> {
  const there = makeFrame(BROADCAST, stationAddress(1), 60, mark);
  one.send(there);
  deepStrictEqual(await two.receive(), there);
  const back = makeFrame(stationAddress(1), stationAddress(2), 60, mark);
  two.send(back);
  let frame = await one.receive();
  if (frame[5] === NOBODY) frame = await one.receive();
  deepStrictEqual(frame, back);
}
