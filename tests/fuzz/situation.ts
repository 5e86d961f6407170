/**
 * Random guests with random rings: mostly what a driver does, with every kind of mistake in it.
 *
 * A guest has two regions of 16 KiB. Its rings lie in the first half of the first one, the buffers of
 * its chains go through the rest, each behind the last. Only headers are written to buffers; what
 * else is in there is the same in every input, and random enough.
 *
 * @module
 */
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { placeRing, type RingPlaces } from "../../src/virtio/layouts.ts";
import { placePackedRing } from "../../src/virtio/packed_layouts.ts";
import type { GuestMemory, PlacedRegion } from "../support/guest_memory.ts";
import { drawFeatures, startOffload } from "./offload_situation.ts";
import { positionOf } from "./model_packed.ts";
import type { Random } from "./random.ts";

/** Bytes of each of a guest's two regions. */
export const REGION_BYTES = 16384;
/** Where buffers begin in the first region. */
const BUFFERS_START = 8192;
const ADDRESS_BYTES = 2 * REGION_BYTES;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 0x80;
const USED = 0x8000;
const MARKS = AVAIL | USED;
const TOP = 1n << 64n;
/** A 65,535 byte packet behind an Ethernet header. */
const MAX_FRAME_BYTES = 65549;
/** Descriptors of the chain that holds about that much. */
const LARGEST_CHAIN = 10;

/** What the guests of an input have in common. */
export interface InputKind {
  /** Whether their rings are packed. */
  readonly isPacked: boolean;
  /** Whether they leave checksums and segmentation to others. */
  readonly hasOffloads: boolean;
}

/** What is random about a guest besides its memory. */
export interface GuestPlan {
  /** What was negotiated. */
  readonly features: bigint;
  /** Whether its rings are packed. */
  readonly isPacked: boolean;
  /** Bytes of the virtio-net header. */
  readonly headerBytes: number;
  /** Negotiated features that matter. */
  readonly isMergeable: boolean;
  /** VIRTIO_F_EVENT_IDX. */
  readonly hasEventIndex: boolean;
  /** VIRTIO_F_INDIRECT_DESC. */
  readonly hasIndirect: boolean;
  /** The memory table. */
  readonly regions: readonly PlacedRegion[];
  /** Receive and transmit queue. */
  readonly rings: readonly [RingPlan, RingPlan];
}

/** What is random about a ring. */
export interface RingPlan {
  /** Where it lies. */
  readonly places: RingPlaces;
  /** Entries. */
  readonly size: number;
  /** Where both sides start: an index; in a packed ring, a slot and in bit 15 the wrap counter. */
  readonly index: number;
  /** Whether it is started. */
  readonly isStarted: boolean;
  /** Whether it is enabled. */
  readonly isEnabled: boolean;
  /** The same at the last decision to call, or null. */
  readonly signalled: number | null;
}

/** A descriptor to write. */
interface Descriptor {
  addr: bigint;
  len: number;
  flags: number;
  next: number;
}

/** Addresses that frames go to and come from; most belong to somebody in time. */
const ADDRESSES: readonly (readonly number[])[] = [
  [0x02, 0, 0, 0, 0, 1],
  [0x02, 0, 0, 0, 0, 2],
  [0x02, 0, 0, 0, 0, 3],
  [0x02, 0, 0, 0, 0, 4],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x01, 0x80, 0xc2, 0, 0, 0],
  [0, 0, 0, 0, 0, 0],
];

/** Makes one guest's part of a situation: writes its memory and says the rest. */
export class GuestMaker {
  readonly #random: Random;
  readonly #memory: GuestMemory;
  readonly #view: DataView;
  readonly #kind: InputKind;
  readonly #regions: readonly PlacedRegion[];
  readonly #firstAddress: bigint;
  /** Whether this guest makes mistakes at all. */
  readonly #isHostile: boolean;
  #nextBuffer = BUFFERS_START;

  /**
   * @param random Where choices come from.
   * @param memory The guest's memory, with two regions of REGION_BYTES.
   * @param view The same.
   * @param kind What kind of guest to make.
   */
  constructor(random: Random, memory: GuestMemory, view: DataView, kind: InputKind) {
    this.#random = random;
    this.#memory = memory;
    this.#view = view;
    this.#kind = kind;
    this.#isHostile = random.chance(0.5);
    this.#regions = this.#placeRegions();
    this.#firstAddress = this.#regions[0]!.guestAddress;
  }

  /** Writes both rings. */
  make(): GuestPlan {
    const random = this.#random;
    const isMergeable = random.chance(0.5);
    const headerBytes = isMergeable || random.chance(0.7) ? 12 : 10;
    const hasEventIndex = random.chance(0.5);
    const hasIndirect = random.chance(0.6);
    const receive = this.#placeRing(0);
    const transmit = this.#placeRing(4096);
    const features = this.#features(headerBytes, { isMergeable, hasEventIndex, hasIndirect });
    const fill = { headerBytes, hasIndirect };
    this.#fillRing(receive, { ...fill, isWritable: true });
    this.#fillRing(transmit, { ...fill, isWritable: false });
    return {
      ...{ features, headerBytes, isMergeable, hasEventIndex, hasIndirect },
      isPacked: this.#kind.isPacked,
      regions: this.#regions,
      rings: [receive, transmit],
    };
  }

  #features(
    headerBytes: number,
    { isMergeable, hasEventIndex, hasIndirect }: {
      readonly isMergeable: boolean;
      readonly hasEventIndex: boolean;
      readonly hasIndirect: boolean;
    },
  ): bigint {
    const bits: number[] = [];
    if (isMergeable) bits.push(VIRTIO_NET_F_MRG_RXBUF);
    if (headerBytes === 12) bits.push(VIRTIO_F_VERSION_1);
    if (hasEventIndex) bits.push(VIRTIO_F_EVENT_IDX);
    if (hasIndirect) bits.push(VIRTIO_F_INDIRECT_DESC);
    if (this.#kind.isPacked) bits.push(VIRTIO_F_RING_PACKED);
    return featureSet(...bits) | (this.#kind.hasOffloads ? drawFeatures(this.#random) : 0n);
  }

  #placeRegions(): PlacedRegion[] {
    const size = BigInt(REGION_BYTES);
    const [first, second] = this.#random.pick<[bigint, bigint]>([
      [0x1_0000_0000n, 0x1_0000_0000n + size],
      [0x1_0000_0000n, 0x1_0000_0000n + size],
      [0x4000_0000n, 0x4000_0000n + 2n * size],
      [0n, TOP - size],
      [(1n << 53n) + 1n, (1n << 53n) + 1n + size],
      [1n << 63n, 0n],
    ]);
    return [first, second].map((guestAddress, i) => ({
      ...this.#memory.regions[i]!,
      guestAddress,
    }));
  }

  #placeRing(start: number): RingPlan {
    return this.#kind.isPacked ? this.#placePackedRing(start) : this.#placeSplitRing(start);
  }

  // Positions here go through two rounds, of which the first has the wrap counter.
  #placePackedRing(start: number): RingPlan {
    const random = this.#random;
    const size = random.chance(0.1) ? random.pick([1, 64, 128]) : random.between(1, 40);
    const local = this.#regions[0]!.localAddress + start + 16 * random.below(4);
    const position = random.chance(0.5)
      ? (2 * size - random.below(size)) % (2 * size)
      : random.below(2 * size);
    const before = (position + 2 * size - random.below(size)) % (2 * size);
    return {
      ...{ places: placePackedRing(local, size), size, index: offWrapOf(position, size) },
      isStarted: random.chance(0.98),
      isEnabled: random.chance(0.97),
      signalled: random.chance(0.7) ? offWrapOf(before, size) : null,
    };
  }

  #placeSplitRing(start: number): RingPlan {
    const random = this.#random;
    const size = random.chance(0.1) ? random.pick([1, 64, 128]) : 2 << random.below(5);
    const local = this.#regions[0]!.localAddress + start + 16 * random.below(4);
    const index = random.chance(0.5) ? (0x10000 - random.below(2 * size + 2)) & 0xffff : random
      .below(0x10000);
    return {
      ...{ places: placeRing(local, size), size, index },
      isStarted: random.chance(0.98),
      isEnabled: random.chance(0.97),
      signalled: random.chance(0.7) ? (index - random.below(size)) & 0xffff : null,
    };
  }

  #mistake(probability: number): boolean {
    return this.#isHostile && this.#random.chance(probability);
  }

  #fillRing(ring: RingPlan, fill: ChainPlan): void {
    if (this.#kind.isPacked) this.#fillPackedRing(ring, fill);
    else this.#fillSplitRing(ring, fill);
  }

  #fillPackedRing(ring: RingPlan, fill: ChainPlan): void {
    const random = this.#random;
    const { size, places } = ring;
    const start = positionOf(ring.index, size);
    const at = (ahead: number): number => (start + ahead) % (2 * size);
    for (let i = 0; i < size; i++) {
      // Used in the round before; an odd guest leaves anything there.
      const marks = this.#mistake(0.01) ? random.next() & 0xffff : at(i) < size ? 0 : MARKS;
      this.#view.setUint16(places.desc + 16 * (at(i) % size) + 14, marks, true);
    }
    const wanted = random.chance(0.3) ? size : random.below(size + 1);
    let done = 0;
    let id = random.below(size);
    while (done < wanted) {
      const chain = this.#packedChain(Math.min(wanted - done, this.#chainLength(fill)), fill, size);
      id = (id + 1) % size;
      chain.forEach((one, i) => this.#writePackedDescriptor(ring, at(done + i), one, id));
      done += chain.length;
    }
    const event = random.chance(0.95)
      ? offWrapOf(at(random.below(done + 4)), size)
      : random.next() & 0xffff;
    this.#view.setUint16(places.avail, event, true);
    this.#view.setUint16(places.avail + 2, random.pick([0, 1, 2, 2, 2, 3]), true);
  }

  #packedChain(count: number, fill: ChainPlan, size: number): Descriptor[] {
    const random = this.#random;
    const isTable = fill.hasIndirect ? random.chance(0.25) : this.#mistake(0.02);
    const isMixed = isTable && this.#mistake(0.05);
    const entries = isTable ? random.between(1, 6) : 0;
    const direct = isTable ? (isMixed ? count - 1 : 0) : count;
    const buffers = this.#describeBuffers(direct + entries, fill);
    const chain = buffers.slice(0, direct);
    if (isTable) chain.push(this.#writePackedTable(buffers.slice(direct)));
    chain.forEach((one, i) => {
      if (i + 1 < chain.length) one.flags |= NEXT;
      if (this.#mistake(0.03)) this.#spoil(one, size);
    });
    return chain;
  }

  #writePackedTable(entries: Descriptor[]): Descriptor {
    const random = this.#random;
    const at = this.#allocate(16 * entries.length);
    entries.forEach((entry, i) => {
      // Ids and NEXT mean nothing in a table (2.8.7).
      if (random.chance(0.1)) entry.flags |= NEXT;
      if (this.#mistake(0.04)) this.#spoil(entry, entries.length);
      const bytes = new Uint8Array(16);
      writePacked(new DataView(bytes.buffer), 0, entry, random.next() & 0xffff, entry.flags);
      this.#writeBytes(at + 16 * i, bytes);
    });
    const flags = INDIRECT | (this.#mistake(0.1) ? WRITE : 0);
    return { addr: this.#addressOf(at), len: 16 * entries.length, flags, next: 0 };
  }

  #writePackedDescriptor(ring: RingPlan, position: number, one: Descriptor, id: number): void {
    const random = this.#random;
    const { size, places } = ring;
    let marks = position < size ? AVAIL : USED;
    if (this.#mistake(0.005)) marks = random.pick([0, MARKS, AVAIL, USED]);
    const isLast = (one.flags & NEXT) === 0;
    const name = !isLast || this.#mistake(0.01) ? random.below(2 * size) : id;
    const flags = (one.flags & ~MARKS) | marks;
    writePacked(this.#view, places.desc + 16 * (position % size), one, name, flags);
  }

  #fillSplitRing(ring: RingPlan, fill: ChainPlan): void {
    const random = this.#random;
    const { places, size, index } = ring;
    let free = random.below(size);
    let left = size;
    let chains = 0;
    const wanted = random.chance(0.3) ? size : random.below(size + 1);
    while (chains < wanted && left > 0) {
      const count = Math.min(left, this.#chainLength(fill));
      this.#offer(ring, chains, this.#mistake(0.01) ? random.below(size + 3) : free);
      this.#writeChain(ring, free, count, fill);
      free = (free + count) % size;
      left -= count;
      chains++;
    }
    const jump = this.#mistake(0.03) ? random.pick([1, -1, size, 0x8000, random.below(9)]) : 0;
    const set16 = (at: number, value: number): void => this.#view.setUint16(at, value, true);
    set16(places.avail, random.chance(0.7) ? 0 : random.below(4));
    set16(places.avail + 2, index + chains + jump);
    set16(places.avail + 4 + 2 * size, index + random.between(-3, chains + 3));
  }

  #chainLength({ isWritable }: ChainPlan): number {
    const random = this.#random;
    if (!isWritable && random.chance(0.005)) return LARGEST_CHAIN;
    return random.chance(0.5) ? 1 : random.between(1, 6);
  }

  #offer({ places, size, index }: RingPlan, ahead: number, head: number): void {
    const slot = (index + ahead) & (size - 1);
    this.#view.setUint16(places.avail + 4 + 2 * slot, head, true);
  }

  #writeChain(ring: RingPlan, head: number, count: number, fill: ChainPlan): void {
    const random = this.#random;
    const { desc } = ring.places;
    const isIndirect = fill.hasIndirect ? random.chance(0.25) : this.#mistake(0.02);
    const direct = isIndirect ? random.below(count) : count;
    const entries = isIndirect ? Math.min(ring.size, random.between(1, 6)) : 0;
    const buffers = this.#describeBuffers(direct + entries, fill);
    const at = (i: number): number => (head + i) % ring.size;
    const chain = buffers.slice(0, direct);
    chain.forEach((one, i) => one.next = at(i + 1));
    if (isIndirect) chain.push(this.#writeTable(buffers.slice(direct)));
    chain.forEach((one, i) => {
      if (i + 1 < chain.length) one.flags |= NEXT;
      if (this.#mistake(0.04)) this.#spoil(one, ring.size);
      this.#writeDescriptor(desc + 16 * at(i), one);
    });
  }

  #writeTable(entries: Descriptor[]): Descriptor {
    const at = this.#allocate(16 * entries.length);
    entries.forEach((entry, i) => {
      entry.next = i + 1;
      if (i + 1 < entries.length) entry.flags |= NEXT;
      if (this.#mistake(0.04)) this.#spoil(entry, entries.length);
      const bytes = new Uint8Array(16);
      writeDescriptor(new DataView(bytes.buffer), 0, entry);
      this.#writeBytes(at + 16 * i, bytes);
    });
    const flags = INDIRECT | (this.#mistake(0.1) ? WRITE : 0);
    return { addr: this.#addressOf(at), len: 16 * entries.length, flags, next: 0 };
  }

  // Buffers of a chain, with a header and an Ethernet header at the start of what is sent.
  #describeBuffers(count: number, { headerBytes, isWritable }: ChainPlan): Descriptor[] {
    if (!isWritable && count === LARGEST_CHAIN) return this.#describeLargest(headerBytes);
    const random = this.#random;
    const start = isWritable ? new Uint8Array() : this.#frameStart(headerBytes);
    let done = 0;
    return Array.from({ length: count }, (_, i) => {
      const len = this.#bufferLength(i, count, isWritable);
      const at = this.#allocate(len);
      this.#writeBytes(at, start.subarray(done, done + len));
      done += len;
      const unknown = random.chance(0.02) ? 0x10 << random.below(8) : 0;
      return { addr: this.#addressOf(at), len, flags: (isWritable ? WRITE : 0) | unknown, next: 0 };
    });
  }

  // The largest frame, or one byte less or more: the same bytes many times over.
  #describeLargest(headerBytes: number): Descriptor[] {
    this.#writeBytes(BUFFERS_START, this.#frameStart(headerBytes));
    const total = headerBytes + MAX_FRAME_BYTES + this.#random.between(-1, 1);
    const addr = this.#addressOf(BUFFERS_START);
    const last = this.#random.between(1, 8);
    const lengths = [...new Array(8).fill(8192), total - 8 * 8192 - last, last];
    return lengths.map((len) => ({ addr, len, flags: 0, next: 0 }));
  }

  #bufferLength(i: number, count: number, isWritable: boolean): number {
    const random = this.#random;
    if (random.chance(0.01)) return random.between(1000, 9000);
    if (i === 0 && random.chance(0.3)) return random.pick([1, 10, 11, 12, 13, 24, 26, 76]);
    if (isWritable) return random.between(1, random.pick([30, 120, 400]));
    return i + 1 < count ? random.between(1, 60) : random.between(20, random.pick([60, 200, 500]));
  }

  #frameStart(headerBytes: number): Uint8Array {
    const random = this.#random;
    if (this.#kind.hasOffloads && random.chance(0.8)) {
      const addresses = [...random.pick(ADDRESSES), ...random.pick(ADDRESSES)];
      return startOffload(random, headerBytes, addresses);
    }
    const start = new Uint8Array(headerBytes + 12);
    for (let i = 2; i < headerBytes; i++) start[i] = random.below(256);
    if (this.#mistake(0.03)) start[0] = 1;
    if (this.#mistake(0.03)) start[1] = random.below(256);
    start.set(random.pick(ADDRESSES), headerBytes);
    start.set(random.pick(ADDRESSES), headerBytes + 6);
    return start;
  }

  // Breaks a descriptor in one way that a hostile guest would.
  #spoil(one: Descriptor, size: number): void {
    const random = this.#random;
    const address = (): bigint =>
      random.pick([
        ...[0n, 65536n, 1n << 53n, (1n << 53n) + 1n, 1n << 63n, TOP - 1n, TOP - BigInt(one.len)],
        ...[one.addr + (1n << 32n), one.addr ^ (1n << 40n), one.addr + BigInt(REGION_BYTES)],
        this.#addressOf(random.below(ADDRESS_BYTES)),
        this.#addressOf(REGION_BYTES) - BigInt(random.below(one.len + 1)),
        this.#addressOf(ADDRESS_BYTES) - BigInt(random.below(one.len + 1)),
      ]) & (TOP - 1n);
    const ways: (() => void)[] = [
      () => one.addr = address(),
      () => one.addr = address(),
      () => one.len = random.pick([0, 1, 8, 17, 0xffffffff, 0x10000, 65561, 65562, 16 * size + 16]),
      () => one.flags ^= NEXT,
      () => one.flags ^= WRITE,
      () => one.flags ^= INDIRECT,
      () => {
        one.flags |= NEXT;
        one.next = random.pick([0, size, 65535, random.below(size)]);
      },
    ];
    random.pick(ways)();
  }

  // Buffers lie behind each other; an odd one lies anywhere, rings included.
  #allocate(length: number): number {
    if (this.#mistake(0.01)) return this.#random.below(ADDRESS_BYTES);
    if (this.#nextBuffer + length > ADDRESS_BYTES) this.#nextBuffer = BUFFERS_START;
    const at = this.#nextBuffer;
    this.#nextBuffer += length + this.#random.below(4);
    return at;
  }

  // Offsets go through both regions; whether a buffer across the border is valid, the guest knows.
  #addressOf(offset: number): bigint {
    if (offset < REGION_BYTES) return this.#firstAddress + BigInt(offset);
    return this.#regions[1]!.guestAddress + BigInt(offset - REGION_BYTES);
  }

  #writeBytes(offset: number, bytes: Uint8Array): void {
    const [first, second] = this.#regions;
    const end = Math.min(offset + bytes.length, ADDRESS_BYTES);
    for (let at = offset; at < end; at++) {
      const local = at < REGION_BYTES
        ? first!.localAddress + at
        : second!.localAddress + at - REGION_BYTES;
      this.#memory.bytes[local] = bytes[at - offset]!;
    }
  }

  #writeDescriptor(at: number, one: Descriptor): void {
    writeDescriptor(this.#view, at, one);
  }
}

/** What all chains of a ring have in common. */
interface ChainPlan {
  readonly headerBytes: number;
  readonly hasIndirect: boolean;
  readonly isWritable: boolean;
}

function writeDescriptor(view: DataView, at: number, { addr, len, flags, next }: Descriptor): void {
  view.setBigUint64(at, addr, true);
  view.setUint32(at + 8, len, true);
  view.setUint16(at + 12, flags, true);
  view.setUint16(at + 14, next, true);
}

function writePacked(
  view: DataView,
  at: number,
  { addr, len }: Descriptor,
  id: number,
  flags: number,
): void {
  view.setBigUint64(at, addr, true);
  view.setUint32(at + 8, len, true);
  view.setUint16(at + 12, id, true);
  view.setUint16(at + 14, flags, true);
}

function offWrapOf(position: number, size: number): number {
  return position % size | (position < size ? 0x8000 : 0);
}
