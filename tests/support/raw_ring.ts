/**
 * A split ring written word by word: what a driver must not do included.
 *
 * @module
 */
import {
  type RingPlaces,
  VIRTQ_DESC,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_USED_ELEM,
} from "../../src/virtio/layouts.ts";

/** A descriptor as it stands in a table. */
export interface RawDescriptor {
  /** Guest address. */
  readonly addr: bigint;
  /** Bytes. */
  readonly len: number;
  /** VIRTQ_DESC_F_*; nothing when left out. */
  readonly flags?: number;
  /** Index of the next descriptor; 0 when left out. */
  readonly next?: number;
}

/** A used element. */
export interface RawUsed {
  /** Head of the chain. */
  readonly id: number;
  /** Bytes written, says the device. */
  readonly len: number;
}

/** Writes a table of descriptors anywhere. */
export function writeTable(
  view: DataView,
  at: number,
  descriptors: readonly RawDescriptor[],
): void {
  descriptors.forEach(({ addr, len, flags = 0, next = 0 }, i) => {
    VIRTQ_DESC.write(view, at + i * VIRTQ_DESC.size, { addr, len, flags, next });
  });
}

/** Links descriptors to a chain that starts at table index `first`. */
export function linked(descriptors: readonly RawDescriptor[], first = 0): RawDescriptor[] {
  return descriptors.map((descriptor, i) =>
    i + 1 === descriptors.length ? descriptor : {
      ...descriptor,
      flags: (descriptor.flags ?? 0) | VIRTQ_DESC_F_NEXT,
      next: first + i + 1,
    }
  );
}

/** The words of one ring. */
export class RawRing {
  /** Where the ring lies. */
  readonly places: RingPlaces;
  /** Entries. */
  readonly size: number;
  readonly #view: DataView;
  #usedSeen: number;

  /**
   * @param view The memory that holds the ring.
   * @param places Where it lies there.
   * @param size Entries.
   */
  constructor(view: DataView, places: RingPlaces, size: number) {
    this.#view = view;
    this.places = places;
    this.size = size;
    this.#usedSeen = this.usedIndex;
  }

  /** Writes descriptors to the table from index `first` on. */
  describe(descriptors: readonly RawDescriptor[], first = 0): void {
    writeTable(this.#view, this.places.desc + first * VIRTQ_DESC.size, descriptors);
  }

  /** Makes heads available, whatever they are. */
  offer(...heads: readonly number[]): void {
    heads.forEach((head, i) => {
      const slot = (this.availIndex + i) & (this.size - 1);
      this.#view.setUint16(this.places.avail + 4 + slot * 2, head, true);
    });
    this.availIndex += heads.length;
  }

  /** `flags` of the available ring. */
  set availFlags(flags: number) {
    this.#view.setUint16(this.places.avail, flags, true);
  }

  /** `idx` of the available ring. */
  get availIndex(): number {
    return this.#view.getUint16(this.places.avail + 2, true);
  }
  set availIndex(index: number) {
    this.#view.setUint16(this.places.avail + 2, index, true);
  }

  /** `used_event`, behind the available entries. */
  set usedEvent(index: number) {
    this.#view.setUint16(this.places.avail + 4 + 2 * this.size, index, true);
  }

  /** `flags` of the used ring. */
  get usedFlags(): number {
    return this.#view.getUint16(this.places.used, true);
  }

  /** `idx` of the used ring. */
  get usedIndex(): number {
    return this.#view.getUint16(this.places.used + 2, true);
  }
  set usedIndex(index: number) {
    this.#view.setUint16(this.places.used + 2, index, true);
  }

  /** `avail_event`, behind the used elements. */
  get availEvent(): number {
    return this.#view.getUint16(this.places.used + 4 + 8 * this.size, true);
  }

  /** Pretends to have seen used elements up to an index. */
  skipUsed(index: number): void {
    this.#usedSeen = index;
  }

  /** The elements used since the last call. */
  takeUsed(): RawUsed[] {
    const taken: RawUsed[] = [];
    for (; this.#usedSeen !== this.usedIndex; this.#usedSeen = (this.#usedSeen + 1) & 0xffff) {
      const slot = this.#usedSeen & (this.size - 1);
      const at = this.places.used + 4 + slot * VIRTQ_USED_ELEM.size;
      taken.push(VIRTQ_USED_ELEM.read(this.#view, at));
    }
    return taken;
  }
}
