/**
 * The driver's side of a split virtqueue: what a guest does (VIRTIO 1.2, 2.7.13 to 2.7.14).
 *
 * It serves the in-process hosts, and tests use it as a guest: it shares no code with the data plane
 * and so checks it. It is careful with what the device writes: an element that names no outstanding
 * chain is an error, not an index.
 *
 * Single-threaded: one thread owns a queue. The device works on the same memory from its own threads.
 *
 * @module
 */
import {
  type RingPlaces,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_ELEM,
  VIRTQ_USED_F_NO_NOTIFY,
} from "./layouts.ts";

/** A piece of guest memory that a chain offers to the device. */
export interface Buffer {
  /** Guest-physical address. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** Whether the device writes it (receive) or reads it (transmit). */
  readonly isWritable: boolean;
}

/** A chain that the device has used. */
export interface UsedChain {
  /** What was given to `add`. */
  readonly token: number;
  /** Bytes that the device wrote. */
  readonly length: number;
}

/** What a queue is made of. */
export interface DriverVirtqueueOptions {
  /** The guest's memory. */
  readonly memory: ArrayBufferLike;
  /** Guest-physical address of the first byte of `memory`. */
  readonly memoryAddress?: number;
  /** Entries, a power of two. */
  readonly size: number;
  /** Where the ring lies, as offsets in `memory`. */
  readonly places: RingPlaces;
  /** Whether VIRTIO_F_EVENT_IDX was negotiated. */
  readonly hasEventIndex: boolean;
}

/** The device wrote something into the used ring that no device may write. */
export class UsedRingError extends Error {
  /** The name of the class. */
  override readonly name = "UsedRingError";
}

const NO_DESCRIPTOR = -1;
const INDEX_MASK = 0xffff;

/** A split virtqueue as its driver sees it. */
export class DriverVirtqueue {
  /** Entries. */
  readonly size: number;
  readonly #options: DriverVirtqueueOptions;
  readonly #view: DataView;
  readonly #u16: Uint16Array;
  /** What each head's chain is: its token and its descriptors in the table. */
  readonly #chains: ({ token: number; descriptors: number[] } | null)[];
  readonly #free: number[];
  #nextAvail = 0;
  #publishedAvail = 0;
  #nextUsed = 0;

  /**
   * Begins with an empty ring.
   *
   * @param options Memory and places; the ring's memory is cleared.
   */
  constructor(options: DriverVirtqueueOptions) {
    const { memory, size, places } = options;
    this.size = size;
    this.#options = options;
    this.#view = new DataView(memory);
    this.#u16 = new Uint16Array(memory);
    this.#chains = new Array(size).fill(null);
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
    new Uint8Array(memory, places.desc, places.end - places.desc).fill(0);
  }

  /** Free descriptors. */
  get free(): number {
    return this.#free.length;
  }

  /** Chains that the device has not used yet. */
  get outstanding(): number {
    return (this.#nextAvail - this.#nextUsed) & INDEX_MASK;
  }

  /**
   * Adds a chain; the device sees it after {@linkcode publish}.
   *
   * @param buffers At least one; those that the device reads come first.
   * @param token Given back with the used chain.
   * @returns Whether there were enough free descriptors.
   */
  add(buffers: readonly Buffer[], token: number): boolean {
    if (buffers.length === 0 || buffers.length > this.#free.length) return false;
    const descriptors = buffers.map(() => this.#free.pop()!);
    buffers.forEach((buffer, i) => {
      const at = this.#options.places.desc + descriptors[i]! * VIRTQ_DESC.size;
      this.#writeDescriptor(at, buffer, descriptors[i + 1] ?? NO_DESCRIPTOR);
    });
    this.#offer(descriptors, token);
    return true;
  }

  /**
   * Adds a chain as one descriptor that points to a table (VIRTIO 1.2, 2.7.5.3).
   *
   * @param buffers At least one.
   * @param token Given back with the used chain.
   * @param table Offset in memory of 16 bytes per buffer, the driver's until the chain is used.
   * @returns Whether there was a free descriptor.
   */
  addIndirect(buffers: readonly Buffer[], token: number, table: number): boolean {
    const descriptor = this.#free.pop();
    if (descriptor === undefined) return false;
    buffers.forEach((buffer, i) => {
      const next = i + 1 < buffers.length ? i + 1 : NO_DESCRIPTOR;
      this.#writeDescriptor(table + i * VIRTQ_DESC.size, buffer, next);
    });
    VIRTQ_DESC.write(this.#view, this.#options.places.desc + descriptor * VIRTQ_DESC.size, {
      addr: BigInt(table + (this.#options.memoryAddress ?? 0)),
      len: buffers.length * VIRTQ_DESC.size,
      flags: VIRTQ_DESC_F_INDIRECT,
      next: 0,
    });
    this.#offer([descriptor], token);
    return true;
  }

  /**
   * Makes added chains visible to the device.
   *
   * @returns Whether the device must be kicked (VIRTIO 1.2, 2.7.13.4.1).
   */
  publish(): boolean {
    const before = this.#publishedAvail;
    if (before === this.#nextAvail) return false;
    const { avail, used } = this.#options.places;
    this.#store(avail + 2, this.#nextAvail);
    this.#publishedAvail = this.#nextAvail;
    if (!this.#options.hasEventIndex) return (this.#load(used) & VIRTQ_USED_F_NO_NOTIFY) === 0;
    const event = this.#load(this.#availEventAt());
    const sinceEvent = (this.#nextAvail - event - 1) & INDEX_MASK;
    return sinceEvent < ((this.#nextAvail - before) & INDEX_MASK);
  }

  /**
   * Takes the next chain that the device has used.
   *
   * @returns The chain, or null when there is none.
   * @throws {UsedRingError} When the device names a chain that is not outstanding.
   */
  take(): UsedChain | null {
    const { used } = this.#options.places;
    if (this.#load(used + 2) === this.#nextUsed) return null;
    const at = used + 4 + (this.#nextUsed & (this.size - 1)) * VIRTQ_USED_ELEM.size;
    const { id, len } = VIRTQ_USED_ELEM.read(this.#view, at);
    const chain = this.#chains[id] ?? null;
    if (chain === null) throw new UsedRingError(`Cannot take chain ${id}: it is not outstanding`);
    this.#chains[id] = null;
    for (const descriptor of chain.descriptors.toReversed()) this.#free.push(descriptor);
    this.#nextUsed = (this.#nextUsed + 1) & INDEX_MASK;
    return { token: chain.token, length: len };
  }

  /** Whether a used chain waits. */
  get hasUsed(): boolean {
    return this.#load(this.#options.places.used + 2) !== this.#nextUsed;
  }

  /**
   * Asks for a call when the next chain is used.
   *
   * @returns Whether one is used already, in which case no call may come.
   */
  enableCalls(): boolean {
    const { avail } = this.#options.places;
    if (this.#options.hasEventIndex) this.#store(this.#usedEventAt(), this.#nextUsed);
    else this.#store(avail, 0);
    return this.hasUsed;
  }

  /** Tells the device not to call. With the event index this is a hint that ages. */
  disableCalls(): void {
    const { avail } = this.#options.places;
    if (this.#options.hasEventIndex) {
      this.#store(this.#usedEventAt(), (this.#nextUsed - 1) & INDEX_MASK);
    } else this.#store(avail, VIRTQ_AVAIL_F_NO_INTERRUPT);
  }

  #offer(descriptors: number[], token: number): void {
    const head = descriptors[0]!;
    this.#chains[head] = { token, descriptors };
    const at = this.#options.places.avail + 4 + (this.#nextAvail & (this.size - 1)) * 2;
    this.#store(at, head);
    this.#nextAvail = (this.#nextAvail + 1) & INDEX_MASK;
  }

  #writeDescriptor(at: number, buffer: Buffer, next: number): void {
    VIRTQ_DESC.write(this.#view, at, {
      addr: BigInt(buffer.address),
      len: buffer.length,
      flags: (buffer.isWritable ? VIRTQ_DESC_F_WRITE : 0) |
        (next === NO_DESCRIPTOR ? 0 : VIRTQ_DESC_F_NEXT),
      next: next === NO_DESCRIPTOR ? 0 : next,
    });
  }

  #usedEventAt(): number {
    return this.#options.places.avail + 4 + 2 * this.size;
  }

  #availEventAt(): number {
    return this.#options.places.used + 4 + VIRTQ_USED_ELEM.size * this.size;
  }

  // Sequentially consistent on shared memory: the fences that 2.7.13 asks for are in here.
  #load(at: number): number {
    return Atomics.load(this.#u16, at >> 1);
  }

  #store(at: number, value: number): void {
    Atomics.store(this.#u16, at >> 1, value);
  }
}
