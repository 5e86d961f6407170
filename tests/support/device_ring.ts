/**
 * A ring from the device's side, split or packed, for made-up back-ends: it does what it is told, right
 * or wrong.
 *
 * @module
 */
import { u16le } from "../../src/layout/struct.ts";
import { type RingPlaces, VIRTQ_DESC, VIRTQ_USED_ELEM } from "../../src/virtio/layouts.ts";
import {
  PACKED_DESC,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
} from "../../src/virtio/packed_layouts.ts";

/** Offset of the flags in a packed descriptor. */
const FLAGS = 14;

/** A buffer that the driver made available. */
export interface Available {
  /** What names it when it is used. */
  readonly id: number;
  /** Where it lies, as the driver addresses it. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/** A ring of either format. Each chain is one buffer. */
export interface DeviceRing {
  /** Where its parts lie. */
  readonly places: RingPlaces;
  /** Entries. */
  readonly size: number;
  /** The next buffer, or null when the device has all of them. */
  take(): Available | null;
  /** Writes the next used entry, which the driver sees with {@linkcode publish}. */
  use(id: number, length: number): void;
  /** Shows the driver what was used. */
  publish(): void;
}

/** Where such a ring lies. */
export interface DeviceRingParts {
  /** The memory that it shares with the driver. */
  readonly view: DataView;
  /** Where its parts lie there. */
  readonly places: RingPlaces;
  /** Entries. */
  readonly size: number;
}

/** A split ring (VIRTIO 1.2, 2.7). */
export class SplitDeviceRing implements DeviceRing {
  readonly places: RingPlaces;
  readonly size: number;
  /** What it will publish next; free to be set to anything. */
  usedIndex = 0;
  readonly #view: DataView;
  #taken = 0;

  /** @param parts Where it lies. */
  constructor({ view, places, size }: DeviceRingParts) {
    [this.#view, this.places, this.size] = [view, places, size];
  }

  take(): Available | null {
    const { avail, desc } = this.places;
    if (loadAtomic(this.#view, avail + 2) === this.#taken) return null;
    const id = u16le.get(this.#view, avail + 4 + 2 * (this.#taken % this.size));
    this.#taken = this.#taken + 1 & 0xffff;
    const { addr, len } = VIRTQ_DESC.read(this.#view, desc + id * VIRTQ_DESC.size);
    return { id, address: Number(addr), length: len };
  }

  use(id: number, length: number): void {
    const at = this.places.used + 4 + VIRTQ_USED_ELEM.size * (this.usedIndex % this.size);
    VIRTQ_USED_ELEM.write(this.#view, at, { id, len: length });
    this.usedIndex = this.usedIndex + 1 & 0xffff;
  }

  publish(): void {
    storeAtomic(this.#view, this.places.used + 2, this.usedIndex);
  }
}

/** A packed ring (VIRTIO 1.2, 2.8). */
export class PackedDeviceRing implements DeviceRing {
  readonly places: RingPlaces;
  readonly size: number;
  readonly #view: DataView;
  #taken = 0;
  #used = 0;
  /** Used entries that are to be shown: where, and with which flags. */
  #hidden: (readonly [at: number, flags: number])[] = [];

  /** @param parts Where it lies. */
  constructor({ view, places, size }: DeviceRingParts) {
    [this.#view, this.places, this.size] = [view, places, size];
  }

  take(): Available | null {
    const at = this.#entryAt(this.#taken);
    // The flags first: what else stands there counts only when they say so.
    const marks = loadAtomic(this.#view, at + FLAGS) & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
    const wanted = this.#isFirstWrap(this.#taken) ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
    if (marks !== wanted) return null;
    const { addr, len, id } = PACKED_DESC.read(this.#view, at);
    this.#taken++;
    return { id, address: Number(addr), length: len };
  }

  use(id: number, length: number): void {
    const at = this.#entryAt(this.#used);
    const flags = this.#isFirstWrap(this.#used) ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    // All but the flags, by which the driver goes.
    this.#view.setUint32(at + 8, length, true);
    u16le.set(this.#view, at + 12, id);
    this.#hidden.push([at + FLAGS, flags]);
    this.#used++;
  }

  publish(): void {
    for (const [at, flags] of this.#hidden.reverse()) storeAtomic(this.#view, at, flags);
    this.#hidden = [];
  }

  #entryAt(count: number): number {
    return this.places.desc + PACKED_DESC.size * (count % this.size);
  }

  // The wrap counter, which begins with 1.
  #isFirstWrap(count: number): boolean {
    return Math.floor(count / this.size) % 2 === 0;
  }
}

function loadAtomic({ buffer }: DataView, at: number): number {
  return Atomics.load(new Uint16Array(buffer, at, 1), 0);
}

function storeAtomic({ buffer }: DataView, at: number, value: number): void {
  Atomics.store(new Uint16Array(buffer, at, 1), 0, value);
}
