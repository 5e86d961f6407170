/**
 * The rows of the catalogue of bad input (B) that a back-end acts out in the rings and buffers that a
 * port of type `vhost-user-frontend` shares with it, split and packed.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { fileInfo } from "../../ffi/memory.ts";
import { featureSet, HEADER_BYTES, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import { VIRTIO_NET_HDR } from "../../src/virtio/layouts.ts";
import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED } from "../../src/virtio/packed_layouts.ts";
import {
  backendFrame,
  type BackendScene,
  endings,
  exchange,
  exchangeWith,
  guestFrame,
  plainHeader,
  testBackend,
} from "../support/backend_lab.ts";
import { type DeviceRing, SplitDeviceRing } from "../support/device_ring.ts";
import { eventually, nextTurn } from "../support/eventually.ts";
import type { HostilePeer } from "../support/hostile_backend.ts";
import { TestGuest } from "../support/test_guest.ts";

/** Virtio features that the back-end withholds, by ring format. */
const FORMATS = { split: featureSet(VIRTIO_F_RING_PACKED), packed: 0n } as const;
/** Bytes of a receive slot when a frame may go over several. */
const SLOT_BYTES = 2048;
/** So many back-ends write over the shared memory so often, unless they are left before. */
const CONNECTIONS = 4;
const SCRIBBLES = 50;
const CHUNK_BYTES = 65536;
/** Frames each way that are exchanged before an attack. */
const EXCHANGED = 3;

const UNOWNED = "the back-end claims to have used a buffer that it does not have";

/** What a back-end does that is attached, with the guest of port `a` beside it. */
type Attack = (peer: HostilePeer, guest: TestGuest, scene: BackendScene) => Promise<void> | void;

/** Attaches both, and lets them exchange frames before the attack. */
async function attacked(scene: BackendScene, withheld: bigint, attack: Attack): Promise<void> {
  using peer = await scene.backend.attach({ withheld });
  strictEqual(peer.receive instanceof SplitDeviceRing, withheld !== 0n);
  await using guest = await TestGuest.attach(scene.lab.path("a"));
  await exchangeWith(guest, peer);
  await attack(peer, guest, scene);
}

/** Declares a test for each ring format: the ring is left for a reason, and the port comes again. */
function testReset(what: string, attack: Attack, reason: string, formats = FORMATS): void {
  for (const [format, withheld] of Object.entries(formats)) {
    testBackend(`FrontendPort leaves a back-end that ${what}, ${format} ring`, async (scene) => {
      await attacked(scene, withheld, async (peer, guest) => {
        await attack(peer, guest, scene);
        await peer.end();
      });
      deepStrictEqual(endings(scene.lab), [reason]);
      strictEqual(scene.lab.report("up").counters.ringFaults, 1);
      using next = await scene.backend.attach({ withheld });
      await exchange(scene.lab, next);
    });
  }
}

/** Declares a test for each ring format: frames may be dropped, the ring goes on. */
function testOn(what: string, attack: Attack, formats: Partial<typeof FORMATS> = FORMATS): void {
  for (const [format, withheld] of Object.entries(formats)) {
    testBackend(`FrontendPort ${what}, ${format} ring`, async (scene) => {
      await attacked(scene, withheld, async (peer, guest) => {
        await attack(peer, guest, scene);
        await exchangeWith(guest, peer);
      });
      await scene.lab.idle("up");
      deepStrictEqual(endings(scene.lab), [null]);
      strictEqual(scene.lab.report("up").counters.ringFaults, 0);
    });
  }
}

/** Shows used entries of the receive queue. */
function show(peer: HostilePeer): void {
  peer.receive.publish();
  peer.signal();
}

/** Lets the guest send so many frames, and takes their buffers. */
async function sent(peer: HostilePeer, guest: TestGuest, frames: number): Promise<number[]> {
  const ids: number[] = [];
  for (let mark = 0; mark < frames; mark++) {
    guest.send(guestFrame("a", mark));
    ids.push((await eventually("a frame", () => peer.transmit.take())).id);
  }
  return ids;
}

/** Shows used entries of the transmit queue, where the switch looks when it has something to send. */
function showSent(peer: HostilePeer, guest: TestGuest): void {
  peer.transmit.publish();
  guest.send(guestFrame("a", 99));
}

function used(ring: DeviceRing, id: number, times = 1): void {
  for (let i = 0; i < times; i++) ring.use(id, 100);
}

for (const id of [256, 0xffff]) {
  testReset(`has filled buffer ${id} of 256 (B08)`, (peer) => {
    used(peer.receive, id);
    show(peer);
  }, `ring 0: ${UNOWNED}`);
}

testReset("has sent buffer 256 of 256 (B08)", async (peer, guest) => {
  await sent(peer, guest, 1);
  used(peer.transmit, 256);
  showSent(peer, guest);
}, `ring 1: ${UNOWNED}`);

testReset("has sent what it was not given (B09)", async (peer, guest) => {
  const [id] = await sent(peer, guest, 1);
  used(peer.transmit, id! ^ 1);
  showSent(peer, guest);
}, `ring 1: ${UNOWNED}`);

testReset("has filled the same buffer twice (B10)", (peer) => {
  used(peer.receive, peer.fill(backendFrame(1)));
  show(peer);
}, `ring 0: ${UNOWNED}`);

testReset("has sent the same buffer twice (B10)", async (peer, guest) => {
  const [id] = await sent(peer, guest, 2);
  used(peer.transmit, id!, 2);
  showSent(peer, guest);
}, `ring 1: ${UNOWNED}`);

for (const length of [SLOT_BYTES + 1, 0xffff_ffff]) {
  testOn(`drops a frame of ${length} bytes in a shorter buffer (B11)`, async (peer, _, { lab }) => {
    peer.fill(backendFrame(1), length);
    show(peer);
    await dropped("bad chain", 1, lab);
  });
}

testOn("drops a frame of no bytes", async (peer, _, { lab }) => {
  peer.fill(backendFrame(1), 0);
  show(peer);
  await dropped("bad chain", 1, lab);
});

const SPLIT = { split: FORMATS.split } as typeof FORMATS;
const PACKED = { packed: FORMATS.packed } as const;

testReset(
  "has filled more buffers than there are (B12)",
  (peer) => {
    (peer.receive as SplitDeviceRing).usedIndex += 257;
    show(peer);
  },
  `ring 0: ${UNOWNED}`,
  SPLIT,
);

testReset(
  "has sent more than it was given (B12)",
  async (peer, guest) => {
    await sent(peer, guest, 1);
    (peer.transmit as SplitDeviceRing).usedIndex += 2;
    showSent(peer, guest);
  },
  `ring 1: ${UNOWNED}`,
  SPLIT,
);

testReset(
  "takes back what it has filled (B13)",
  (peer) => {
    (peer.receive as SplitDeviceRing).usedIndex -= 1;
    show(peer);
  },
  `ring 0: ${UNOWNED}`,
  SPLIT,
);

testReset(
  "takes back what it has sent (B13)",
  (peer, guest) => {
    // The switch has not looked at the last one yet.
    (peer.transmit as SplitDeviceRing).usedIndex -= 2;
    showSent(peer, guest);
  },
  `ring 1: ${UNOWNED}`,
  SPLIT,
);

/** Marks an entry of a packed ring's first round as used, by its number. */
function mark(peer: HostilePeer, ring: DeviceRing, entry: number): void {
  const at = ring.places.desc + 16 * entry + 14;
  peer.view.setUint16(at, VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED, true);
}

// A packed ring has no index: the marks count only where the ring is looked at next.
testOn("does not look where nothing was given to the back-end (B12)", (peer) => {
  for (let entry = 100; entry < 256; entry++) mark(peer, peer.transmit, entry);
}, PACKED);

testOn("does not look back at what was used before (B13)", (peer) => {
  for (const ring of [peer.receive, peer.transmit]) {
    for (const entry of [0, 1, 2]) mark(peer, ring, entry);
  }
  peer.signal();
}, PACKED);

for (const buffers of [0, 2, 257, 0xffff]) {
  testOn(`drops a frame in one buffer that claims ${buffers} (B14)`, async (peer, _, { lab }) => {
    peer.sendFrame(backendFrame(1, plainHeader(buffers)));
    await dropped("bad chain", 1, lab);
  });
}

/** VIRTIO 1.2, 5.1.6. */
const NEEDS_CSUM = 1;
const PLAIN = {
  ...{ flags: NEEDS_CSUM, gso_type: 0, hdr_len: 0, gso_size: 0 },
  ...{ csum_start: 34, csum_offset: 16, num_buffers: 1 },
};
const LIES: readonly Partial<typeof PLAIN>[] = [
  { csum_start: 0 },
  { csum_start: 13 },
  { csum_start: 100 },
  { csum_start: 0xffff },
  { csum_offset: 0xffff },
  { csum_start: 0xffff, csum_offset: 0xffff },
  { csum_start: 98, csum_offset: 1 },
  { flags: 0, gso_type: 1, gso_size: 1448 },
  { gso_type: 1, gso_size: 0 },
  { gso_type: 2, gso_size: 1448 },
  { gso_type: 3, gso_size: 1448 },
  { gso_type: 0x80, gso_size: 1448 },
  { gso_type: 0xff, gso_size: 1448 },
];

testOn("drops frames that lie about checksum and segments (B15)", async (peer, _, { lab }) => {
  for (const [i, lie] of LIES.entries()) {
    const header = new Uint8Array(HEADER_BYTES);
    VIRTIO_NET_HDR.write(new DataView(header.buffer), 0, { ...PLAIN, ...lie });
    peer.sendFrame(backendFrame(i, header));
  }
  await dropped("bad offload", LIES.length, lab);
});

testOn("goes on when all descriptors are written over (B16)", async (peer, guest) => {
  const buffers = Array.from({ length: 8 }, () => peer.receive.take()!);
  // In a packed ring they are also how the back-end speaks: what it has used stays, and the marks.
  const isPacked = !(peer.receive instanceof SplitDeviceRing);
  for (const { places, size } of [peer.receive, peer.transmit]) {
    for (let entry = isPacked ? EXCHANGED : 0; entry < size; entry++) {
      const at = places.desc + 16 * entry;
      peer.bytes.fill(0xff, at, at + (isPacked ? 14 : 16));
    }
  }
  for (const [mark, { id, address }] of buffers.entries()) {
    const frame = backendFrame(mark);
    peer.bytes.set(frame, address);
    peer.receive.use(id, frame.length);
    show(peer);
    deepStrictEqual(await guest.receive(), frame.subarray(HEADER_BYTES));
  }
  // What goes out is described anew. What comes in is not, in a split ring: the back-end has spoilt
  // its own copy, and gets it back for the next frames.
  for (let i = 0; i < 8; i++) {
    const frame = guestFrame("a", i);
    guest.send(frame);
    const came = await eventually("a frame", () => peer.takeFrame());
    deepStrictEqual(came.subarray(HEADER_BYTES), frame);
  }
  restoreDescriptors(peer, buffers[0]!);
});

for (const [format, withheld] of Object.entries(FORMATS)) {
  testBackend(
    `FrontendPort survives a back-end that writes over all that it shares, ${format} ring (B25)`,
    async (scene) => {
      await using guest = await TestGuest.attach(scene.lab.path("a"));
      const faults = () => scene.lab.report("up").counters.ringFaults;
      let mark = 0;
      for (let connection = 0; connection < CONNECTIONS; connection++) {
        using peer = await scene.backend.attach({ withheld });
        const { start, end } = peer.range;
        // All of the file is that, so what the switch knows of the slots is not in it.
        strictEqual(fileInfo(peer.file).sizeBytes, BigInt(end - start));
        const before = faults();
        for (let round = 0; round < SCRIBBLES && faults() === before; round++) {
          scribble(peer, round);
          for (let i = 0; i < 4; i++) guest.send(guestFrame("a", mark++));
          peer.signal();
          while (guest.tryReceive() !== null);
          await nextTurn();
        }
        if (faults() > before) await peer.end();
      }
      const known = new Set([null, `ring 0: ${UNOWNED}`, `ring 1: ${UNOWNED}`]);
      await scene.lab.idle("up");
      ok(endings(scene.lab).every((text) => known.has(text)));
    },
  );
}

/** Random bytes over the whole shared memory, or over the rings and the slots behind them. */
function scribble(peer: HostilePeer, round: number): void {
  const { start, end } = peer.range;
  const chunk = crypto.getRandomValues(new Uint8Array(CHUNK_BYTES));
  const to = round % 8 === 0 ? end : Math.min(end, start + 4 * CHUNK_BYTES);
  for (let at = start; at < to; at += CHUNK_BYTES) {
    peer.bytes.set(chunk.subarray(0, Math.min(CHUNK_BYTES, to - at)), at);
  }
}

/** The descriptors of a split receive ring as they were, told from one of its buffers. */
function restoreDescriptors(peer: HostilePeer, { id, address }: { id: number; address: number }) {
  const { places, size } = peer.receive;
  if (!(peer.receive instanceof SplitDeviceRing)) return restorePacked(peer, { id, address });
  for (let entry = 0; entry < size; entry++) {
    const at = places.desc + 16 * entry;
    peer.view.setBigUint64(at, BigInt(address + (entry - id) * SLOT_BYTES), true);
    peer.view.setBigUint64(at + 8, BigInt(SLOT_BYTES), true);
  }
}

// Buffers that were not used yet stand in their first places.
function restorePacked(peer: HostilePeer, { id, address }: { id: number; address: number }): void {
  const { places, size } = peer.receive;
  for (let entry = 0; entry < size; entry++) {
    const at = places.desc + 16 * entry;
    if (peer.view.getUint16(at + 12, true) !== 0xffff) continue;
    peer.view.setBigUint64(at, BigInt(address + (entry - id) * SLOT_BYTES), true);
    peer.view.setUint32(at + 8, SLOT_BYTES, true);
    peer.view.setUint16(at + 12, entry, true);
  }
}

async function dropped(
  reason: "bad chain" | "bad offload",
  count: number,
  lab: BackendScene["lab"],
): Promise<void> {
  const drops = () => lab.report("up").counters.drops[reason];
  await eventually(`${count} frames are dropped`, () => drops() === count || null);
  const told = () =>
    lab.events.filter(({ kind, port }) => kind === "chains-dropped" && port === "up");
  await eventually("it is said", () => told().length > 0 || null);
  strictEqual(told().length, 1);
}
