import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_WRITE } from "../../src/virtio/layouts.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import type { GuestRegion } from "../support/guest_memory.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { linked, type RawDescriptor } from "../support/raw_ring.ts";

const FRAME = makeFrame(stationAddress(2), stationAddress(1), 200);
const BYTES = new Uint8Array(12 + FRAME.length);
BYTES.set(FRAME, 12);
const FEATURES = featureSet(
  ...[VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_NET_F_MRG_RXBUF],
);
const MAIN = 0x1_0000_0000n;
const TOP = 1n << 64n;
const SIZE = 8192;

/** Two regions that follow each other in guest addresses and lie apart in the port's memory. */
const ADJACENT: readonly GuestRegion[] = [
  { guestAddress: 0x4000_0000n, sizeBytes: SIZE },
  { guestAddress: 0x4000_0000n + BigInt(SIZE), sizeBytes: SIZE },
];
const BORDER = 0x4000_0000n + BigInt(SIZE);
const END = BORDER + BigInt(SIZE);

async function guestsWith(moreRegions: readonly GuestRegion[]): Promise<SwitchSim> {
  const options = { features: FEATURES, buffers: 0, moreRegions };
  const sim = await SwitchSim.create([options, { features: FEATURES }, options]);
  sim.turn();
  return sim;
}

/** What one chain does: the frames that arrive and the heads that come back. */
function outcome(sim: SwitchSim, chain: readonly RawDescriptor[]): "delivered" | "refused" {
  const ring = sim.guests[0]!.raw(1);
  const bad = sim.counters(0).drops["bad chain"];
  ring.describe(linked(chain));
  ring.offer(0);
  sim.turn();
  deepStrictEqual(ring.takeUsed(), [{ id: 0, len: 0 }]);
  const received = sim.guests[1]!.receive();
  const isRefused = sim.counters(0).drops["bad chain"] === bad + 1;
  strictEqual(received.length, isRefused ? 0 : 1);
  if (!isRefused) deepStrictEqual(received[0]?.frame, FRAME);
  ok(sim.guests.every(({ isCanaryAlive }) => isCanaryAlive));
  return isRefused ? "refused" : "delivered";
}

Deno.test("SwitchSim takes a frame that straddles two regions (G63)", async () => {
  const sim = await guestsWith(ADJACENT);
  for (const before of [1, 6, 11, 12, 13, 40, 76, 77, BYTES.length - 1]) {
    const addr = BORDER - BigInt(before);
    sim.guests[0]!.memory.write(addr, BYTES);
    strictEqual(outcome(sim, [{ addr, len: BYTES.length }]), "delivered");
  }
});

Deno.test("SwitchSim takes a frame that starts and ends exactly at borders of a region (G58)", async () => {
  const sim = await guestsWith(ADJACENT);
  for (const addr of [0x4000_0000n, BORDER - BigInt(BYTES.length), BORDER]) {
    sim.guests[0]!.memory.write(addr, BYTES);
    strictEqual(outcome(sim, [{ addr, len: BYTES.length }]), "delivered");
  }
  const last = END - BigInt(BYTES.length);
  sim.guests[0]!.memory.write(last, BYTES);
  strictEqual(outcome(sim, [{ addr: last, len: BYTES.length }]), "delivered");
  strictEqual(outcome(sim, [{ addr: last + 1n, len: BYTES.length }]), "refused");
});

Deno.test("SwitchSim takes a short frame at the very end of a guest's memory (G58)", async () => {
  const sim = await guestsWith([]);
  const [sender] = sim.guests;
  const { guestAddress, sizeBytes } = sender!.memory.regions[0]!;
  const frame = FRAME.subarray(0, 14);
  const addr = guestAddress + BigInt(sizeBytes - 26);
  sender!.memory.write(addr, new Uint8Array(12));
  sender!.memory.write(addr + 12n, frame);
  sender!.raw(1).describe([{ addr, len: 26 }]);
  sender!.raw(1).offer(0);
  sim.turn();
  deepStrictEqual(sim.guests[1]!.receive()[0]?.frame, frame);
});

/** Buffers that no guest memory holds, or not all of it. */
const OUTSIDE: Readonly<Record<string, readonly [addr: bigint, len: number]>> = {
  "at address 0 (G62)": [0n, 212],
  "in a hole between regions (G56)": [0x5000_0000n, 212],
  "that runs from a region into a hole (G56)": [END - 100n, 212],
  "that starts just behind the last byte (G57)": [END, 212],
  "on the last byte with length 2 (G57)": [END - 1n, 2],
  "that starts one byte before a region (G57)": [0x4000_0000n - 1n, 212],
  "that wraps at 2^64 (G59)": [TOP - 100n, 212],
  "at 2^53 (G60)": [1n << 53n, 212],
  "at 2^53 + 1 (G60)": [(1n << 53n) + 1n, 212],
  "at 2^63 (G60)": [1n << 63n, 212],
  "at 2^64 - 1 (G60)": [TOP - 1n, 212],
  "whose low 32 bits alone are valid (G61)": [0x7_4000_0000n, 212],
  "whose low 32 bits lie in the main region (G61)": [MAIN << 1n, 212],
  "that is an address in the port's own memory (G56)": [65536n, 212],
  "in a region of another guest (G64)": [0x6000_0000n, 212],
};

for (const [what, [addr, len]] of Object.entries(OUTSIDE)) {
  Deno.test(`SwitchSim refuses a buffer ${what}`, async () => {
    const sim = await guestsWith(ADJACENT);
    const first = sim.guests[0]!.allocate(12);
    sim.guests[0]!.memory.write(first, new Uint8Array(12));
    strictEqual(outcome(sim, [{ addr: first, len: 12 }, { addr, len }]), "refused");
    strictEqual(outcome(sim, [{ addr, len }]), "refused");
  });

  Deno.test(`SwitchSim refuses a receive buffer ${what}`, async () => {
    const sim = await guestsWith(ADJACENT);
    const receiver = sim.guests[2]!;
    const first = receiver.allocate(64);
    const chain = [
      { addr: first, len: 13, flags: VIRTQ_DESC_F_WRITE },
      { addr, len, flags: VIRTQ_DESC_F_WRITE },
    ];
    const ring = receiver.raw(0);
    ring.describe(linked(chain));
    ring.offer(0);
    const before = receiver.memory.bytes.slice();
    sim.guests[1]!.send(FRAME);
    sim.turn();
    deepStrictEqual(ring.takeUsed(), [{ id: 0, len: 0 }]);
    deepStrictEqual(changedOutsideUsedRing(receiver, before), []);
    strictEqual(sim.counters(2).badReceiveChains, 1);
  });
}

/** Where a guest's memory differs from a copy, its receive queue's used ring left out. */
function changedOutsideUsedRing(guest: GuestSim, before: Uint8Array): number[] {
  const { used, end } = guest.raw(0).places;
  const changed: number[] = [];
  guest.memory.bytes.forEach((byte, at) => {
    if (byte !== before[at] && (at < used || at >= end)) changed.push(at);
  });
  return changed;
}

Deno.test("SwitchSim refuses a buffer that goes on at address 0 behind the top of memory (G59)", async () => {
  const sim = await guestsWith([
    { guestAddress: 0n, sizeBytes: SIZE },
    { guestAddress: TOP - BigInt(SIZE), sizeBytes: SIZE },
  ]);
  const { memory } = sim.guests[0]!;
  memory.write(TOP - 100n, BYTES.slice(0, 100));
  memory.write(0n, BYTES.slice(100));
  strictEqual(outcome(sim, [{ addr: TOP - 100n, len: BYTES.length }]), "refused");
});

Deno.test("SwitchSim takes a buffer that ends exactly at 2^64 (G58)", async () => {
  const sim = await guestsWith([{ guestAddress: TOP - BigInt(SIZE), sizeBytes: SIZE }]);
  const addr = TOP - BigInt(BYTES.length);
  sim.guests[0]!.memory.write(addr, BYTES);
  strictEqual(outcome(sim, [{ addr, len: BYTES.length }]), "delivered");
});

Deno.test("SwitchSim takes a buffer at guest address 0 when a region is there", async () => {
  const sim = await guestsWith([{ guestAddress: 0n, sizeBytes: SIZE }]);
  sim.guests[0]!.memory.write(0n, BYTES);
  strictEqual(outcome(sim, [{ addr: 0n, len: BYTES.length }]), "delivered");
});

for (const address of [1n << 53n, (1n << 53n) + 4097n, 1n << 63n]) {
  Deno.test(`SwitchSim keeps all bits of an address in a region at ${address} (G60)`, async () => {
    const sim = await guestsWith([{ guestAddress: address, sizeBytes: SIZE }]);
    for (const offset of [0n, 1n, 3n]) {
      sim.guests[0]!.memory.write(address + offset, BYTES);
      strictEqual(outcome(sim, [{ addr: address + offset, len: BYTES.length }]), "delivered");
    }
    strictEqual(outcome(sim, [{ addr: address - 1n, len: BYTES.length }]), "refused");
  });
}

Deno.test("SwitchSim delivers into a receive buffer that straddles two regions (G63)", async () => {
  for (const before of [1, 11, 12, 13, 76, 77, 100, BYTES.length - 1]) {
    const sim = await guestsWith(ADJACENT);
    const receiver = sim.guests[2]!;
    const addr = BORDER - BigInt(before);
    const ring = receiver.raw(0);
    ring.describe([{ addr, len: 1000, flags: VIRTQ_DESC_F_WRITE }]);
    ring.offer(0);
    sim.guests[1]!.send(FRAME);
    sim.turn();
    deepStrictEqual(ring.takeUsed(), [{ id: 0, len: BYTES.length }]);
    deepStrictEqual(receiver.memory.read(addr + 12n, FRAME.length), FRAME);
    ok(receiver.isCanaryAlive);
  }
});

Deno.test("SwitchSim reads and writes frames that span many regions", async () => {
  const moreRegions = Array.from({ length: 100 }, (_, i) => ({
    guestAddress: 0x4000_0000n + BigInt(i * 16),
    sizeBytes: 16,
  }));
  const sim = await guestsWith(moreRegions);
  const addr = 0x4000_0000n + 5n;
  sim.guests[0]!.memory.write(addr, BYTES);
  sim.guests[2]!.raw(0).describe([{ addr, len: 1500, flags: VIRTQ_DESC_F_WRITE }]);
  sim.guests[2]!.raw(0).offer(0);
  strictEqual(outcome(sim, [{ addr, len: BYTES.length }]), "delivered");
  deepStrictEqual(sim.guests[2]!.memory.read(addr + 12n, FRAME.length), FRAME);
  ok(sim.guests[2]!.isCanaryAlive);
});

Deno.test("SwitchSim uses as many regions as a port's record holds", async () => {
  const moreRegions = Array.from({ length: 125 }, (_, i) => ({
    guestAddress: 0x4000_0000n + BigInt(i * 0x10000),
    sizeBytes: 4096,
  }));
  const sim = await guestsWith(moreRegions);
  for (const { guestAddress } of moreRegions) {
    sim.guests[0]!.memory.write(guestAddress, BYTES);
    strictEqual(outcome(sim, [{ addr: guestAddress, len: BYTES.length }]), "delivered");
  }
});

/** Writes BYTES as a chain of two to a table at `at`, in whatever regions that is. */
function writeTableAt(guest: GuestSim, at: bigint): void {
  const data = guest.allocate(BYTES.length);
  guest.memory.write(data, BYTES);
  const table = new DataView(new ArrayBuffer(32));
  [[data, 50, 1, 1], [data + 50n, BYTES.length - 50, 0, 0]].forEach((words, i) => {
    table.setBigUint64(i * 16, BigInt(words[0]!), true);
    table.setUint32(i * 16 + 8, Number(words[1]), true);
    table.setUint16(i * 16 + 12, Number(words[2]), true);
    table.setUint16(i * 16 + 14, Number(words[3]), true);
  });
  guest.memory.write(at, new Uint8Array(table.buffer));
}

Deno.test("SwitchSim takes an indirect table that straddles two regions (G51)", async () => {
  const sim = await guestsWith(ADJACENT);
  for (const before of [1n, 8n, 15n, 16n, 17n, 31n]) {
    const addr = BORDER - before;
    writeTableAt(sim.guests[0]!, addr);
    const chain = [{ addr, len: 32, flags: VIRTQ_DESC_F_INDIRECT }];
    strictEqual(outcome(sim, chain), "delivered");
  }
});

Deno.test("SwitchSim refuses an indirect table that is not all in memory (G51, G53)", async () => {
  const sim = await guestsWith(ADJACENT);
  for (const addr of [END - 16n, END - 31n, END, 0n, TOP - 32n, TOP - 16n, 0x4000_0000n - 1n]) {
    const chain = [{ addr, len: 32, flags: VIRTQ_DESC_F_INDIRECT }];
    strictEqual(outcome(sim, chain), "refused");
  }
});

Deno.test("SwitchSim refuses a buffer in a region just removed (G65)", async () => {
  const sim = await guestsWith(ADJACENT);
  const [sender] = sim.guests;
  const addr = BORDER;
  sender!.memory.write(addr, BYTES);
  strictEqual(outcome(sim, [{ addr, len: BYTES.length }]), "delivered");
  sender!.records.setRegions(sender!.memory.regions.slice(0, 2));
  strictEqual(outcome(sim, [{ addr, len: BYTES.length }]), "refused");
});
