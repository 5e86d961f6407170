/**
 * Rings that cannot start, and eventfds that are none or that wait. Each attack hits port `a` of a
 * running switch; then `b` and `c`, and `a` itself, must work.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../ffi/memory.ts";
import { unixSocketPair } from "../../ffi/unix_socket.ts";
import { VRING_STATE } from "../../src/vhost_user/layouts.ts";
import { DriverVirtqueue } from "../../src/virtio/driver_virtqueue.ts";
import { LEGACY_HEADER_BYTES } from "../../src/virtio/features.ts";
import { placeRing } from "../../src/virtio/layouts.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { openFile } from "../support/descriptors.ts";
import { eventually } from "../support/eventually.ts";
import { countDescriptors } from "../support/leaks.ts";
import type { RawClient } from "../support/raw_client.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import {
  type AddressDraft,
  memoryTable,
  ringAddress,
  ringState,
  u64,
} from "../support/vhost_messages.ts";

const MEMORY_BYTES = 65536n;
const USER = 0x7f00_0000_0000n;
const RING_SIZE = 16;
/** A ring in the first page. */
const RING: AddressDraft = { desc: USER, avail: USER + 0x400n, used: USER + 0x800n };
/** 4 + 8 * 16 + 2 (VIRTIO 1.2, 2.7). */
const USED_RING_BYTES = 134n;
/** Guest-physical address of a frame with its header. */
const FRAME_AT = 0x2000;
/** The largest count of an eventfd: writing it once more would wait (man 2 eventfd). */
const MAX_COUNT = 0xfffffffffffffffen;
// bits/fcntl-linux.h
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** Connects to port `a`, negotiates and shares a file of 64 KiB. */
async function connect(lab: TestLab, file?: Fd): Promise<RawClient> {
  const client = await (await lab.connect("a")).negotiate();
  using own = createMemfd("labswitch-hostile", MEMORY_BYTES);
  const table = memoryTable([{ size: MEMORY_BYTES, user: USER }]);
  strictEqual(await client.ask(Request.SET_MEM_TABLE, table, [file ?? own]), 0n);
  return client;
}

/** Sends what a ring needs but its eventfds. */
async function prepare(client: RawClient, index: number, ring: AddressDraft = RING): Promise<void> {
  strictEqual(await client.ask(Request.SET_VRING_NUM, ringState(index, RING_SIZE)), 0n);
  strictEqual(await client.ask(Request.SET_VRING_BASE, ringState(index, 0)), 0n);
  strictEqual(await client.ask(Request.SET_VRING_ADDR, ringAddress(index, ring)), 0n);
}

async function start(client: RawClient, index: number, kick: Fd | null): Promise<bigint> {
  return kick === null
    ? await client.ask(Request.SET_VRING_KICK, u64(0x100 | index))
    : await client.ask(Request.SET_VRING_KICK, u64(index), [kick]);
}

async function stop(client: RawClient, index: number): Promise<number> {
  await client.say(Request.GET_VRING_BASE, ringState(index, 0));
  const { payload } = await client.reply();
  return VRING_STATE.read(new DataView(payload.buffer, payload.byteOffset)).num;
}

/** Descriptors of every kind that is no eventfd; the last is a pipe. */
async function impostors(folder: string): Promise<Fd[]> {
  const fifo = join(folder, "fifo");
  await new Deno.Command("mkfifo", { args: [fifo] }).output();
  const memory = createMemfd("anon_inode:[eventfd]", 8);
  const devices = [openFile("/dev/zero", "r+"), openFile("/dev/null", "r+")];
  return [memory, ...devices, openFile("/proc", "r"), ...unixSocketPair(), openFile(fifo, "r+")];
}

for (
  const [name, request] of [["kick", Request.SET_VRING_KICK], ["call", Request.SET_VRING_CALL], [
    "error",
    Request.SET_VRING_ERR,
  ]] as const
) {
  testAttack(
    `Switch refuses ${name} descriptors that are no eventfds, as soon as they come (F27, F35)`,
    async (lab) => {
      const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
      const fds = await impostors(folder);
      try {
        using client = await connect(lab);
        for (const index of [0, 1]) await prepare(client, index);
        const before = countDescriptors();
        for (const fd of fds) {
          for (const index of [0, 1]) strictEqual(await client.ask(request, u64(index), [fd]), 1n);
        }
        strictEqual(countDescriptors(), before);
      } finally {
        for (const fd of fds) fd.close();
        await Deno.remove(folder, { recursive: true });
      }
    },
  );
}

testAttack(
  "Switch starts no ring with a call descriptor that could hold a Worker (F35)",
  async (lab) => {
    const [left, right] = unixSocketPair();
    using client = await connect(lab);
    await prepare(client, 0);
    const answers = [
      await client.ask(Request.SET_VRING_CALL, u64(0), [left]),
      await start(client, 0, null),
    ];
    left.close();
    right.close();
    ok(answers.includes(1n));
  },
);

testAttack(
  "Switch refuses a bad call of a running ring and keeps the good one (F27)",
  async (lab) => {
    using client = await connect(lab);
    using call = EventFd.create();
    using bad = createMemfd("labswitch-hostile", 8);
    await prepare(client, 0);
    strictEqual(await client.ask(Request.SET_VRING_CALL, u64(0), [call.fd]), 0n);
    strictEqual(await start(client, 0, null), 0n);
    strictEqual(await client.ask(Request.SET_VRING_CALL, u64(0), [bad]), 1n);
    strictEqual(await client.ask(Request.SET_VRING_CALL, u64(0), [call.fd]), 0n);
    // The new descriptor is signalled once, so that no interrupt is lost.
    ok(call.drain() >= 1n);
  },
);

testAttack("Switch takes one eventfd as kick and call of both rings (F32)", async (lab) => {
  using client = await connect(lab);
  using event = EventFd.create();
  for (const index of [0, 1]) {
    await prepare(client, index);
    strictEqual(await client.ask(Request.SET_VRING_CALL, u64(index), [event.fd]), 0n);
    strictEqual(await start(client, index, event.fd), 0n);
    strictEqual(await client.ask(Request.SET_VRING_ENABLE, ringState(index, 1)), 0n);
  }
  await lab.exchange("b", "c");
});

testAttack("Switch does not wait for a call eventfd that is full (F33)", async (lab) => {
  using call = EventFd.create();
  await using attacker = await TestGuest.attach(lab.path("a"), call.fd);
  await using other = await TestGuest.attach(lab.path("b"));
  fillCount(call.fd);
  other.send(new Uint8Array(60).fill(0xff));
  strictEqual((await attacker.receive()).length, 60);
});

testAttack(
  "Switch does not wait for a call eventfd that was made blocking again (F34)",
  async (lab) => {
    using call = EventFd.create();
    await using attacker = await TestGuest.attach(lab.path("a"), call.fd);
    await using other = await TestGuest.attach(lab.path("b"));
    await using third = await TestGuest.attach(lab.path("c"));
    fillCount(call.fd);
    const flags = libc().fcntl(call.fd.number, F_GETFL, 0);
    libc().fcntl(call.fd.number, F_SETFL, flags & ~O_NONBLOCK);
    try {
      for (let i = 0; i < 3; i++) {
        other.send(new Uint8Array(60).fill(0xff));
        strictEqual((await third.receive()).length, 60);
      }
    } finally {
      // Frees whoever waits in a write to it.
      call.drain();
    }
    void attacker;
  },
);

for (
  const [what, ring] of [
    ["lies in no region", { ...RING, desc: 0x1000n }],
    ["begins before its region", { ...RING, desc: USER - 16n }],
    ["ends behind its region", { ...RING, used: USER + MEMORY_BYTES - USED_RING_BYTES + 2n }],
    ["wraps around", { ...RING, avail: 2n ** 64n - 2n }],
  ] as const
) {
  testAttack(`Switch refuses to start a ring that ${what} (F69, F70)`, async (lab) => {
    using client = await connect(lab);
    for (const index of [0, 1]) {
      await prepare(client, index, ring);
      strictEqual(await start(client, index, null), 1n);
    }
    ok(
      lab.events.some((event) =>
        event.kind === "request-refused" && /no memory region/.test(event.reason)
      ),
    );
    // The ring can be put right on the same connection.
    await prepare(client, 1);
    strictEqual(await start(client, 1, null), 0n);
  });
}

testAttack("Switch starts a ring that ends with its region's last byte (F70)", async (lab) => {
  using client = await connect(lab);
  const used = USER + MEMORY_BYTES - USED_RING_BYTES - 2n;
  await prepare(client, 1, { ...RING, used });
  strictEqual(await start(client, 1, null), 0n);
});

testAttack("Switch refuses to start a ring without guest memory (F68)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  await prepare(client, 1);
  strictEqual(await start(client, 1, null), 1n);
});

testAttack(
  "Switch starts a ring where its used index stands, whatever base it is told (F74)",
  async (lab) => {
    using file = createMemfd("labswitch-hostile", MEMORY_BYTES);
    const ring = new Uint16Array(mapped(file));
    // Both indexes are the second 16 bits of their ring.
    ring[Number(RING.used - USER) / 2 + 1] = ring[Number(RING.avail - USER) / 2 + 1] = 7;
    using client = await connect(lab, file);
    await prepare(client, 1);
    await client.ask(Request.SET_VRING_BASE, ringState(1, 3));
    strictEqual(await start(client, 1, null), 0n);
    strictEqual(await stop(client, 1), 7);
  },
);

testAttack(
  "Switch quarantines a running ring whose memory is taken away and goes on (F60)",
  async (lab) => {
    using client = await connect(lab);
    using file = createMemfd("labswitch-hostile", MEMORY_BYTES);
    await prepare(client, 1);
    strictEqual(await start(client, 1, null), 0n);
    const elsewhere = memoryTable([{ size: MEMORY_BYTES, user: 0n }]);
    strictEqual(await client.ask(Request.SET_MEM_TABLE, elsewhere, [file]), 0n);
    const fault = await eventually("a report of the ring", () => {
      return lab.events.find(({ kind }) => kind === "ring-fault") ?? null;
    });
    match(fault.kind === "ring-fault" ? fault.text : "", /no longer mapped/);
    deepStrictEqual(await stop(client, 1), 0);
  },
);

testAttack(
  "Switch takes ring messages about the last ring, and about none behind it (F63)",
  async (lab) => {
    using client = await connect(lab);
    strictEqual(await client.ask(Request.SET_VRING_NUM, ringState(3, 16)), 0n);
    for (const index of [4, 255, 256, 2 ** 31, 2 ** 32 - 1]) {
      strictEqual(await client.ask(Request.SET_VRING_NUM, ringState(index, 16)), 1n);
      strictEqual(await client.ask(Request.SET_VRING_ENABLE, ringState(index, 1)), 1n);
    }
  },
  { queues: 2 },
);

for (const isSecond of [false, true]) {
  const which = isSecond ? "the next front-end when it" : "a front-end that";
  testAttack(
    `Switch expects a header of 10 bytes from ${which} accepts no features`,
    async (lab) => {
      // VIRTIO 1.2, 5.1.6.1: num_buffers is there only with VERSION_1 or MRG_RXBUF.
      if (isSecond) await lab.exchange("a", "b");
      for (const port of ["a", "b"]) await lab.idle(port);
      await using receiver = await TestGuest.attach(lab.path("b"));
      using file = createMemfd("labswitch-hostile", MEMORY_BYTES);
      const memory = mapped(file);
      const places = placeRing(0, RING_SIZE);
      const queue = new DriverVirtqueue({ memory, size: RING_SIZE, places, hasEventIndex: false });
      queue.add([{ address: FRAME_AT, length: LEGACY_HEADER_BYTES + 60, isWritable: false }], 0);
      new Uint8Array(memory).fill(0xff, FRAME_AT + LEGACY_HEADER_BYTES, FRAME_AT + 1000);
      queue.publish();
      using client = await connect(lab, file);
      await prepare(client, 1, {
        desc: USER + BigInt(places.desc),
        avail: USER + BigInt(places.avail),
        used: USER + BigInt(places.used),
      });
      strictEqual(await client.ask(Request.SET_VRING_ENABLE, ringState(1, 1)), 0n);
      strictEqual(await start(client, 1, null), 0n);
      deepStrictEqual(await receiver.receive(), new Uint8Array(60).fill(0xff));
    },
  );
}

function mapped(file: Fd): ArrayBufferLike {
  const memory = createGuestMemory(1, 1);
  // SAFETY: the range is exactly the memory that was made in the line above.
  mapShared(memoryAddress(memory), MEMORY_BYTES, file, 0n);
  return memory.buffer;
}

function fillCount(fd: Fd): void {
  // One read before: what is there already would make the count too large and the write wait.
  libc().read(fd.number, new Uint8Array(8), 8n);
  libc().write(fd.number, new Uint8Array(new BigUint64Array([MAX_COUNT]).buffer), 8n);
}
