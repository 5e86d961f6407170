/**
 * The rings and buffers of a port whose driver we are: where they lie, and how they begin.
 *
 * Two memory files are mapped into the port's memory. The back-end gets the first one; what we know of
 * the buffers is in the second, which it never sees:
 *
 *     shared:   rings of all queues | slots of queue 0 | slots of queue 1 | …
 *     private:  slot numbers and owners of queue 0 | of queue 1 | … (see dataplane/assembly/slots.ts)
 *
 * Guest-physical, front-end and local addresses are the same numbers, so nothing is translated.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { createMemfd, fixSize } from "../../ffi/memory.ts";
import { u16le, u8 } from "../layout/struct.ts";
import { hasFeature, VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF } from "../virtio/features.ts";
import {
  placeRing,
  type RingPlaces,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC,
  VIRTQ_DESC_F_WRITE,
} from "../virtio/layouts.ts";
import {
  EVENT_SUPPRESS,
  PACKED_DESC,
  placePackedRing,
  RING_EVENT_FLAGS_DISABLE,
  VIRTQ_DESC_F_AVAIL,
} from "../virtio/packed_layouts.ts";
import type { PortMemory } from "./port_memory.ts";

/** Entries of each ring: what most back-ends and guests use. */
export const DRIVER_RING_SIZE = 256;
/** Bytes of a slot that takes any frame whole: header, 65,549 bytes, and not a multiple of 4 KiB. */
const LARGE_SLOT_BYTES = 65_792;
/** Bytes of a slot when a large frame may go over several. */
const SMALL_SLOT_BYTES = 2048;
/** Rings and the parts of a memory file begin on pages. */
const RING_ALIGN_BYTES = 4096;
/** u16 and u8 for each slot. */
const PRIVATE_BYTES = 3 * DRIVER_RING_SIZE;

/** One ring, as the state memory describes it. */
export interface DriverRing {
  /** Its vring index: receive queues are even. */
  readonly index: number;
  /** Where its parts lie in the port's memory. */
  readonly places: RingPlaces;
  /** Where its first slot lies. */
  readonly slots: number;
  /** Bytes of a slot. */
  readonly slotBytes: number;
  /** Where what we know of its slots lies. */
  readonly privateArea: number;
}

/** Rings, and the file that the back-end gets. */
export interface DriverRings extends Disposable {
  /** The rings by vring index. */
  readonly rings: readonly DriverRing[];
  /** Where the shared part lies, in all three kinds of addresses. */
  readonly address: bigint;
  /** Bytes of the shared part. */
  readonly sizeBytes: bigint;
  /** The file that holds it. */
  readonly file: Fd;
}

/**
 * Lays fresh rings out in a port's memory, in place of whatever was mapped there.
 *
 * @param memory The port's memory; no Worker uses it.
 * @param features What was negotiated.
 * @param queuePairs How many.
 * @returns The rings; receive queues are full of free buffers. Disposing of it closes the file only.
 * @throws {OsError | RequestRefused} When the system refuses memory.
 */
export function layDriverRings(
  memory: PortMemory,
  features: bigint,
  queuePairs: number,
): DriverRings {
  const isPacked = hasFeature(features, VIRTIO_F_RING_PACKED);
  const address = memory.firstAddress;
  const rings = planRings(Number(address), features, queuePairs, isPacked);
  const last = rings.at(-1)!;
  const end = roundUp(last.slots + DRIVER_RING_SIZE * last.slotBytes, RING_ALIGN_BYTES);
  const privateBytes = roundUp(rings.length * PRIVATE_BYTES, RING_ALIGN_BYTES);
  const sizeBytes = BigInt(end) - address;
  using stack = new DisposableStack();
  const file = stack.use(createMemfd("labswitch-frontend", sizeBytes));
  // A back-end that cut it off would end this process with it (SIGBUS).
  fixSize(file);
  using hidden = createMemfd("labswitch-slots", privateBytes);
  const region = (guestAddress: bigint, bytes: bigint, fd: Fd) => ({
    ...{ guestAddress, frontendAddress: guestAddress, sizeBytes: bytes, offsetBytes: 0n, fd },
  });
  memory.map([
    region(address, sizeBytes, file),
    region(BigInt(end), BigInt(privateBytes), hidden),
  ]);
  const at = Number(memory.regions[1]!.localAddress);
  const placed = rings.map((ring, i) => ({ ...ring, privateArea: at + i * PRIVATE_BYTES }));
  const view = new DataView(memory.memory.buffer);
  for (const ring of placed) {
    if (isPacked) beginPacked(view, ring);
    else beginSplit(view, ring);
  }
  const { localAddress } = memory.regions[0]!;
  if (address !== localAddress) {
    throw new Error(`Cannot use rings: they are mapped at ${localAddress}, not at ${address}`);
  }
  const release = stack.move();
  return { rings: placed, address, sizeBytes, file, [Symbol.dispose]: () => release.dispose() };
}

function planRings(
  start: number,
  features: bigint,
  queuePairs: number,
  isPacked: boolean,
): Omit<DriverRing, "privateArea">[] {
  const place = isPacked ? placePackedRing : placeRing;
  let at = start;
  const places = Array.from({ length: 2 * queuePairs }, () => {
    const ring = place(at, DRIVER_RING_SIZE);
    at = roundUp(ring.end, RING_ALIGN_BYTES);
    return ring;
  });
  const receiveBytes = hasFeature(features, VIRTIO_NET_F_MRG_RXBUF)
    ? SMALL_SLOT_BYTES
    : LARGE_SLOT_BYTES;
  return places.map((ring, index) => {
    const slots = at;
    const slotBytes = isReceive(index) ? receiveBytes : LARGE_SLOT_BYTES;
    at = roundUp(slots + DRIVER_RING_SIZE * slotBytes, RING_ALIGN_BYTES);
    return { index, places: ring, slots, slotBytes };
  });
}

// Every slot of a receive queue goes to the back-end at once (VIRTIO 1.2, 2.7.13).
function beginSplit(view: DataView, ring: DriverRing): void {
  const { desc, avail } = ring.places;
  for (let id = 0; id < DRIVER_RING_SIZE; id++) {
    noteSlot(view, ring, id);
    if (!isReceive(ring.index)) continue;
    VIRTQ_DESC.write(view, desc + id * VIRTQ_DESC.size, {
      addr: BigInt(ring.slots + id * ring.slotBytes),
      len: ring.slotBytes,
      flags: VIRTQ_DESC_F_WRITE,
      next: 0,
    });
    u16le.set(view, avail + 4 + 2 * id, id);
  }
  u16le.set(view, avail, VIRTQ_AVAIL_F_NO_INTERRUPT);
  if (isReceive(ring.index)) u16le.set(view, avail + 2, DRIVER_RING_SIZE);
}

// The same (2.8.21): in the first round the wrap counter is 1.
function beginPacked(view: DataView, ring: DriverRing): void {
  for (let id = 0; id < DRIVER_RING_SIZE; id++) {
    noteSlot(view, ring, id);
    if (!isReceive(ring.index)) continue;
    PACKED_DESC.write(view, ring.places.desc + id * PACKED_DESC.size, {
      addr: BigInt(ring.slots + id * ring.slotBytes),
      len: ring.slotBytes,
      id,
      flags: VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_AVAIL,
    });
  }
  EVENT_SUPPRESS.write(view, ring.places.avail, { off_wrap: 0, flags: RING_EVENT_FLAGS_DISABLE });
}

// The back-end has the slots of a receive queue, we have those of a transmit queue.
function noteSlot(view: DataView, ring: DriverRing, id: number): void {
  u16le.set(view, ring.privateArea + 2 * id, id);
  u8.set(view, ring.privateArea + 2 * DRIVER_RING_SIZE + id, isReceive(ring.index) ? 1 : 0);
}

function isReceive(index: number): boolean {
  return index % 2 === 0;
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
