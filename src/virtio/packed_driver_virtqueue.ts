/**
 * The driver's side of a packed virtqueue: what a guest does (VIRTIO 1.2, 2.8.21 and 2.8.22).
 *
 * As its split sibling it shares no code with the data plane and so checks it, and it is careful with
 * what the device writes: a used descriptor that names no outstanding chain is an error, not an index.
 *
 * Positions are counted through two rounds of the ring, 0 to 2 * size - 1, which is after how many
 * descriptors slot and wrap counter are the same again. The counter is 1 in the first round.
 *
 * Single-threaded: one thread owns a queue. The device works on the same memory from its own threads.
 *
 * @module
 */
import type { DriverRing } from "./driver_ring.ts";
import {
  type Buffer,
  type DriverVirtqueueOptions,
  type UsedChain,
  UsedRingError,
} from "./driver_virtqueue.ts";
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from "./layouts.ts";
import {
  EVENT_SUPPRESS,
  PACKED_DESC,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  WRAP_COUNTER,
} from "./packed_layouts.ts";

/** A chain between `add` and `take`. */
interface Chain {
  readonly token: number;
  /** Descriptors of the ring that it takes. */
  readonly slots: number;
}

/** A descriptor in the making; marks are added when it is written. */
interface Element {
  readonly addr: bigint;
  readonly len: number;
  readonly flags: number;
}

/** A packed virtqueue as its driver sees it. */
export class PackedDriverVirtqueue implements DriverRing {
  /** Entries. */
  readonly size: number;
  readonly #options: DriverVirtqueueOptions;
  readonly #view: DataView;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  /** Outstanding chains by buffer id. */
  readonly #chains: (Chain | null)[];
  readonly #freeIds: number[];
  #freeSlots: number;
  #nextAvail = 0;
  #nextUsed = 0;
  /** First descriptor that was added and not published, and the flags it is to get. */
  #withheld: { readonly position: number; readonly flags: number } | null = null;
  /** Descriptors added since the last `publish`. */
  #added = 0;

  /**
   * Begins with an empty ring.
   *
   * @param options Memory and places; `size` may be any number; the ring's memory is cleared.
   */
  constructor(options: DriverVirtqueueOptions) {
    const { memory, size, places } = options;
    this.size = size;
    this.#options = options;
    this.#view = new DataView(memory);
    this.#u16 = new Uint16Array(memory);
    this.#u32 = new Uint32Array(memory);
    this.#chains = new Array(size).fill(null);
    this.#freeIds = Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#freeSlots = size;
    new Uint8Array(memory, places.desc, places.end - places.desc).fill(0);
  }

  /** Free descriptors. */
  get free(): number {
    return this.#freeSlots;
  }

  /** Chains that the device has not used yet. */
  get outstanding(): number {
    return this.size - this.#freeIds.length;
  }

  /**
   * Adds a chain; the device sees it after {@linkcode publish}.
   *
   * @param buffers At least one; those that the device reads come first.
   * @param token Given back with the used chain.
   * @returns Whether there were enough free descriptors.
   */
  add(buffers: readonly Buffer[], token: number): boolean {
    if (buffers.length === 0 || buffers.length > this.#freeSlots) return false;
    this.#offer(
      buffers.map((buffer, i) => ({
        ...elementOf(buffer),
        flags: elementOf(buffer).flags | (i + 1 < buffers.length ? VIRTQ_DESC_F_NEXT : 0),
      })),
      token,
    );
    return true;
  }

  /**
   * Adds a chain as one descriptor that points to a table (VIRTIO 1.2, 2.8.7).
   *
   * @param buffers At least one.
   * @param token Given back with the used chain.
   * @param table Offset in memory of 16 bytes per buffer, the driver's until the chain is used.
   * @returns Whether there was a free descriptor.
   */
  addIndirect(buffers: readonly Buffer[], token: number, table: number): boolean {
    if (this.#freeSlots === 0) return false;
    // 2.8.7: the order of the table is the order of the chain; ids and NEXT mean nothing there.
    buffers.forEach((buffer, i) => {
      PACKED_DESC.write(this.#view, table + i * PACKED_DESC.size, { ...elementOf(buffer), id: 0 });
    });
    const addr = BigInt(table + (this.#options.memoryAddress ?? 0));
    const len = buffers.length * PACKED_DESC.size;
    this.#offer([{ addr, len, flags: VIRTQ_DESC_F_INDIRECT }], token);
    return true;
  }

  /**
   * Makes added chains visible to the device.
   *
   * @returns Whether the device must be kicked (VIRTIO 1.2, 2.8.21.3.1).
   */
  publish(): boolean {
    if (this.#withheld === null) return false;
    const { position, flags } = this.#withheld;
    // Release for every descriptor written before; 2.8.21.1 wants the first one of a batch last.
    this.#storeFlags(position, flags);
    const added = this.#added;
    this.#withheld = null;
    this.#added = 0;
    const { used } = this.#options.places;
    const wish = this.#load(used + EVENT_SUPPRESS.offset.flags);
    if (wish === RING_EVENT_FLAGS_DISABLE) return false;
    if (!this.#options.hasEventIndex || wish !== RING_EVENT_FLAGS_DESC) return true;
    const event = this.#positionOf(this.#load(used));
    return event !== null && this.#distance(position, event) < added;
  }

  /**
   * Takes the next chain that the device has used.
   *
   * @returns The chain, or null when there is none.
   * @throws {UsedRingError} When the device names a chain that is not outstanding.
   */
  take(): UsedChain | null {
    if (!this.hasUsed) return null;
    const { id, len, flags } = PACKED_DESC.read(this.#view, this.#descriptorAt(this.#nextUsed));
    const chain = this.#chains[id] ?? null;
    if (chain === null) throw new UsedRingError(`Cannot take chain ${id}: it is not outstanding`);
    this.#chains[id] = null;
    this.#freeIds.push(id);
    this.#freeSlots += chain.slots;
    // 2.8.4: the device skips as many descriptors as the chain had.
    this.#nextUsed = this.#advance(this.#nextUsed, chain.slots);
    // 2.8.8: without WRITE the length means nothing.
    return { token: chain.token, length: (flags & VIRTQ_DESC_F_WRITE) !== 0 ? len : 0 };
  }

  /** Whether a used chain waits. */
  get hasUsed(): boolean {
    const marks = this.#load(this.#flagsAt(this.#nextUsed)) &
      (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
    const used = this.#isFirstRound(this.#nextUsed) ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    return marks === used;
  }

  /**
   * Asks for a call when the next chain is used.
   *
   * @returns Whether one is used already, in which case no call may come.
   */
  enableCalls(): boolean {
    const flags = this.#options.hasEventIndex ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE;
    this.#wish(flags);
    return this.hasUsed;
  }

  /** Tells the device not to call. */
  disableCalls(): void {
    this.#wish(RING_EVENT_FLAGS_DISABLE);
  }

  #offer(elements: readonly Element[], token: number): void {
    const id = this.#freeIds.pop()!;
    this.#chains[id] = { token, slots: elements.length };
    this.#freeSlots -= elements.length;
    const first = this.#nextAvail;
    elements.forEach((element, i) => {
      const position = this.#advance(first, i);
      // 2.8.1: AVAIL as the wrap counter, USED as its opposite.
      const mark = this.#isFirstRound(position) ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
      const flags = element.flags | mark;
      const isWithheld = i === 0 && this.#withheld === null;
      if (isWithheld) this.#withheld = { position, flags };
      const at = this.#descriptorAt(position);
      const before = this.#load(this.#flagsAt(position));
      PACKED_DESC.write(this.#view, at, { ...element, id, flags: isWithheld ? before : flags });
    });
    this.#nextAvail = this.#advance(first, elements.length);
    this.#added += elements.length;
  }

  // One store, so that the device never sees a new position beside old flags.
  #wish(flags: number): void {
    const slot = this.#nextUsed % this.size;
    const offWrap = slot | (this.#isFirstRound(this.#nextUsed) ? WRAP_COUNTER : 0);
    Atomics.store(this.#u32, this.#options.places.avail >> 2, offWrap | flags << 16);
  }

  #advance(position: number, slots: number): number {
    return (position + slots) % (2 * this.size);
  }

  /** Descriptors from one position to another, going forward. */
  #distance(from: number, to: number): number {
    return (to - from + 2 * this.size) % (2 * this.size);
  }

  #isFirstRound(position: number): boolean {
    return position < this.size;
  }

  // The position that a slot and a wrap counter name, or null when the ring has no such slot.
  #positionOf(offWrap: number): number | null {
    const slot = offWrap & (WRAP_COUNTER - 1);
    if (slot >= this.size) return null;
    return (offWrap & WRAP_COUNTER) !== 0 ? slot : slot + this.size;
  }

  #descriptorAt(position: number): number {
    return this.#options.places.desc + (position % this.size) * PACKED_DESC.size;
  }

  #flagsAt(position: number): number {
    return this.#descriptorAt(position) + PACKED_DESC.offset.flags;
  }

  // Sequentially consistent on shared memory: the fences that 2.8.21 asks for are in here.
  #load(at: number): number {
    return Atomics.load(this.#u16, at >> 1);
  }

  #storeFlags(position: number, flags: number): void {
    Atomics.store(this.#u16, this.#flagsAt(position) >> 1, flags);
  }
}

function elementOf({ address, length, isWritable }: Buffer): Element {
  return { addr: BigInt(address), len: length, flags: isWritable ? VIRTQ_DESC_F_WRITE : 0 };
}
