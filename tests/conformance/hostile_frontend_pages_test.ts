/**
 * Guest memory without pages: holes, a file system that is full, huge pages that nobody has. Each
 * attack hits port `a` of a running switch; then `b` and `c`, and `a` itself, must work.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import { createMemfd } from "../../ffi/memory.ts";
import {
  featureSet,
  HEADER_BYTES,
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { BareFrontend } from "../support/bare_frontend.ts";
import { noHandler } from "../support/bus_fault.ts";
import { openFile } from "../support/descriptors.ts";
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import { noPrivateTmpfs, PrivateTmpfs } from "../support/private_tmpfs.ts";
import type { RawClient } from "../support/raw_client.ts";
import { createScarce, noEmptyPool } from "../support/scarce_pages.ts";
import { GUEST_REGION, SEND_BUFFER_AT, TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import {
  dirtyLog,
  memorySlot,
  memoryTable,
  type RegionDraft,
  u64,
} from "../support/vhost_messages.ts";

const PAGE = 4096n;
const KIB = 1024;
const MIB = 2 ** 20;
/** FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE (linux/falloc.h). */
const PUNCH_HOLE = 1 | 2;
const FRAME_BYTES = 60;
/** Bytes of a file that is cut off. */
const CUT_OFF_BYTES = 64 * KIB;
const GONE = "pages of the guest's memory are gone";

/** Files whose owner can always cut them off. */
const UNSEALABLE: readonly (readonly [string, () => Fd])[] = [
  ["a tmpfs file", temporary],
  [
    "a memory file that allows no seal",
    () => createMemfd("labswitch-hostile", CUT_OFF_BYTES, { sealable: false }),
  ],
];

/** Both ways to hand memory over. */
const WAYS = [
  ["table", Request.SET_MEM_TABLE, (region: RegionDraft) => memoryTable([region])],
  ["slot", Request.ADD_MEM_REG, memorySlot],
] as const;

async function punch(file: Fd, offset: bigint, length: bigint): Promise<void> {
  strictEqual(await libc().fallocate(file.number, PUNCH_HOLE, offset, length), 0);
}

/** A file on a tmpfs, which has no name any more. */
function temporary(): Fd {
  const path = Deno.makeTempFileSync({ dir: "/dev/shm", prefix: "labswitch-test-" });
  try {
    Deno.truncateSync(path, CUT_OFF_BYTES);
    return openFile(path, "r+");
  } finally {
    Deno.removeSync(path);
  }
}

async function connect(lab: TestLab): Promise<RawClient> {
  const client = await (await lab.connect("a")).negotiateAll();
  await client.probe();
  return client;
}

testAttack("Switch sends zeros where a guest's frame has become a hole (F46)", async (lab) => {
  await using guest = await TestGuest.attach(lab.path("a"));
  await using other = await TestGuest.attach(lab.path("b"));
  guest.write(makeFrame(BROADCAST, stationAddress(1), FRAME_BYTES));
  await punch(guest.file, BigInt(SEND_BUFFER_AT), PAGE);
  guest.publish(HEADER_BYTES + FRAME_BYTES);
  deepStrictEqual(await other.receive(), new Uint8Array(FRAME_BYTES));
  // The page is there again, and so is the guest.
  const frame = makeFrame(BROADCAST, stationAddress(1), FRAME_BYTES, 1);
  guest.send(frame);
  deepStrictEqual(await other.receive(), frame);
});

testAttack("Switch survives that all of a guest's memory becomes a hole (F46)", async (lab) => {
  await using guest = await TestGuest.attach(lab.path("a"));
  await using other = await TestGuest.attach(lab.path("b"));
  const frame = makeFrame(BROADCAST, stationAddress(1), FRAME_BYTES);
  guest.send(frame);
  deepStrictEqual(await other.receive(), frame);
  other.send(frame);
  deepStrictEqual(await guest.receive(), frame);
  await punch(guest.file, 0n, GUEST_REGION.size);
  // Both rings' indexes have gone back to zero, which no driver does.
  guest.kick();
  other.send(frame);
  const areBroken = () => lab.report("a").counters.ringFaults === 2 || null;
  await eventually("two quarantined rings", areBroken);
});

testAttack(
  "Switch disconnects a front-end whose holes find no page on a full tmpfs (F46)",
  async (lab) => {
    await using tmpfs = await PrivateTmpfs.mount(64);
    using file = tmpfs.createSparse("guest", CUT_OFF_BYTES);
    using attacker = await BareFrontend.attach(lab.path("a"), file);
    // A Worker that has not gone to sleep yet may take a page of the hole: then once more.
    do await punch(file, 0n, BigInt(CUT_OFF_BYTES)); while (!await tmpfs.fill("other"));
    attacker.kick();
    strictEqual(await lab.endReason("a"), GONE);
  },
  { missing: () => noHandler() ?? noPrivateTmpfs() },
);

for (const [what, open] of UNSEALABLE) {
  testAttack(
    `Switch disconnects a front-end that cuts off ${what} in use (F45)`,
    async (lab) => {
      using file = open();
      using attacker = await BareFrontend.attach(lab.path("a"), file);
      strictEqual(libc().ftruncate(file.number, 0n), 0);
      attacker.kick();
      strictEqual(await lab.endReason("a"), GONE);
    },
    { missing: noHandler },
  );
}

testAttack(
  "Switch takes a frame for a port whose memory is cut off and disconnects that port (F45)",
  async (lab) => {
    using file = temporary();
    using _attacker = await BareFrontend.attach(lab.path("a"), file);
    strictEqual(libc().ftruncate(file.number, 0n), 0);
    await using other = await TestGuest.attach(lab.path("b"));
    other.send(makeFrame(BROADCAST, stationAddress(1), FRAME_BYTES));
    strictEqual(await lab.endReason("a"), GONE);
  },
  { missing: noHandler },
);

for (const [way, request, payloadOf] of WAYS) {
  testAttack(
    `Switch refuses a ${way} of huge pages that nobody has (F47)`,
    async (lab) => {
      using client = await connect(lab);
      const { fd, sizeBytes } = createScarce();
      try {
        const before = countDescriptors();
        strictEqual(await client.ask(request, payloadOf({ size: sizeBytes }), [fd]), 1n);
        match(lab.refusal(), /too little memory for \d+ bytes/);
        strictEqual(countDescriptors(), before);
        ok(await client.probe() > 0n);
      } finally {
        fd.close();
      }
    },
    { missing: noEmptyPool },
  );

  testAttack(
    `Switch refuses a ${way} on a tmpfs that is full, and takes it when there is room (F48)`,
    async (lab) => {
      await using tmpfs = await PrivateTmpfs.mount(64);
      await tmpfs.occupy("other", 32 * KIB);
      using fd = tmpfs.createSparse("guest", tmpfs.sizeBytes);
      using client = await connect(lab);
      const before = countDescriptors();
      const payload = payloadOf({ size: BigInt(tmpfs.sizeBytes) });
      strictEqual(await client.ask(request, payload, [fd]), 1n);
      match(lab.refusal(), /too little memory for 65536 bytes/);
      deepStrictEqual([countDescriptors(), await tmpfs.occupiedBytes("guest")], [before, 0]);
      await tmpfs.remove("other");
      strictEqual(await client.ask(request, payload, [fd]), 0n);
      strictEqual(countDescriptors(), before);
      // Nothing is left to chance: every page is there.
      strictEqual(await tmpfs.occupiedBytes("guest"), tmpfs.sizeBytes);
    },
    { missing: noPrivateTmpfs },
  );
}

testAttack(
  "Switch keeps the memory that it has when there is none for more (F48)",
  async (lab) => {
    await using tmpfs = await PrivateTmpfs.mount(64);
    using fd = tmpfs.createSparse("guest", 2 * tmpfs.sizeBytes);
    await using guest = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    const client = await guest.client.negotiateAll();
    const more = { guest: 2n ** 40n, user: 2n ** 40n, size: BigInt(2 * tmpfs.sizeBytes) };
    strictEqual(await client.ask(Request.ADD_MEM_REG, memorySlot(more), [fd]), 1n);
    const table = memoryTable([GUEST_REGION, more]);
    strictEqual(await client.ask(Request.SET_MEM_TABLE, table, [guest.file, fd]), 1n);
    const frame = makeFrame(BROADCAST, stationAddress(1), FRAME_BYTES);
    guest.send(frame);
    deepStrictEqual(await other.receive(), frame);
  },
  { missing: noPrivateTmpfs },
);

testAttack(
  "Switch serves others while it allocates, and forgets a front-end that leaves meanwhile (F48)",
  async (lab) => {
    await using tmpfs = await PrivateTmpfs.mount(64 * KIB);
    using fd = tmpfs.createSparse("guest", 32 * MIB);
    const payload = memoryTable([{ size: BigInt(32 * MIB) }]);
    const before = countDescriptors();
    for (let round = 0; round < 3; round++) {
      using client = await connect(lab);
      await client.say(Request.SET_MEM_TABLE, payload, { fds: [fd] });
      if (round === 0) await lab.exchange("b", "c");
    }
    await lab.idle("a");
    await eventually("every descriptor is closed", () => countDescriptors() === before || null);
    strictEqual(countMappings(Deno.pid, "/guest"), 0);
    using client = await connect(lab);
    const answer = client.ask(Request.SET_MEM_TABLE, payload, [fd]);
    await lab.exchange("b", "c");
    strictEqual(await answer, 0n);
  },
  { missing: noPrivateTmpfs },
);

testAttack(
  "Switch takes no log of dirty pages on a tmpfs that is full (F48)",
  async (lab) => {
    await using tmpfs = await PrivateTmpfs.mount(64);
    await tmpfs.occupy("other", tmpfs.sizeBytes);
    using fd = tmpfs.createSparse("log", PAGE);
    using end = new DisposableStack();
    const guest = end.adopt(await TestGuest.attach(lab.path("a")), (one) => one.vanish());
    const client = await guest.client.negotiateAll();
    const features = featureSet(
      VIRTIO_F_VERSION_1,
      VHOST_USER_F_PROTOCOL_FEATURES,
      VHOST_F_LOG_ALL,
    );
    strictEqual(await client.ask(Request.SET_FEATURES, u64(features)), 0n);
    await client.say(Request.SET_LOG_BASE, dirtyLog(PAGE), { fds: [fd] });
    await client.end();
    match((await lab.endReason("a"))!, /SET_LOG_BASE: there is too little memory/);
  },
  { missing: noPrivateTmpfs },
);
