/**
 * A packed ring written word by word: what a driver must not do included.
 *
 * @module
 */
import type { RingPlaces } from "../../src/virtio/layouts.ts";
import {
  EVENT_SUPPRESS,
  PACKED_DESC,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
} from "../../src/virtio/packed_layouts.ts";

/** A descriptor as it stands in the ring or in a table; its marks apart. */
export interface RawPackedDescriptor {
  /** Guest address. */
  readonly addr: bigint;
  /** Bytes. */
  readonly len: number;
  /** Buffer id; 0 when left out. */
  readonly id?: number;
  /** VIRTQ_DESC_F_* without marks; nothing when left out. */
  readonly flags?: number;
  /** Both marks; those of an available descriptor when left out. */
  readonly marks?: number;
}

/** A used descriptor. */
export interface RawPackedUsed {
  /** Buffer id. */
  readonly id: number;
  /** Bytes written, says the device. */
  readonly len: number;
  /** All flags. */
  readonly flags: number;
}

/** Writes a table of descriptors anywhere; entries have no marks (VIRTIO 1.2, 2.8.7). */
export function writePackedTable(
  view: DataView,
  at: number,
  descriptors: readonly RawPackedDescriptor[],
): void {
  descriptors.forEach(({ addr, len, id = 0, flags = 0 }, i) => {
    PACKED_DESC.write(view, at + i * PACKED_DESC.size, { addr, len, id, flags });
  });
}

/** The marks of an available descriptor (VIRTIO 1.2, 2.8.1). */
export function availableMarks(wrapCounter: boolean): number {
  return wrapCounter ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
}

/** The words of one packed ring. Positions count on through all rounds, from 0. */
export class RawPackedRing {
  /** Where the ring lies. */
  readonly places: RingPlaces;
  /** Entries. */
  readonly size: number;
  readonly #view: DataView;

  /**
   * @param view The memory that holds the ring.
   * @param places Where it lies there.
   * @param size Entries.
   */
  constructor(view: DataView, places: RingPlaces, size: number) {
    this.#view = view;
    this.places = places;
    this.size = size;
  }

  /** Writes descriptors from a position on, the first one's flags last. */
  offer(descriptors: readonly RawPackedDescriptor[], position = 0): void {
    for (let i = descriptors.length - 1; i >= 0; i--) {
      const { addr, len, id = 0, flags = 0, marks } = descriptors[i]!;
      const round = Math.trunc((position + i) / this.size);
      const all = flags | (marks ?? availableMarks(round % 2 === 0));
      PACKED_DESC.write(this.#view, this.#at(position + i), { addr, len, id, flags: all });
    }
  }

  /** The descriptor at a position, if it is used (VIRTIO 1.2, 2.8.1). */
  used(position: number): RawPackedUsed | null {
    const { id, len, flags } = PACKED_DESC.read(this.#view, this.#at(position));
    const both = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
    const wrapCounter = Math.trunc(position / this.size) % 2 === 0;
    return (flags & both) === (wrapCounter ? both : 0) ? { id, len, flags } : null;
  }

  /** The flags of a slot, whatever they are. */
  flags(slot: number): number {
    return PACKED_DESC.read(this.#view, this.#at(slot)).flags;
  }

  /** What the driver wants to be called for (VIRTIO 1.2, 2.8.14). */
  set driverEvent(event: { off_wrap: number; flags: number }) {
    EVENT_SUPPRESS.write(this.#view, this.places.avail, event);
  }

  /** What the device wants to be kicked for. */
  get deviceEvent(): { off_wrap: number; flags: number } {
    return EVENT_SUPPRESS.read(this.#view, this.places.used);
  }

  /** The off_wrap word of a position. */
  offWrap(position: number): number {
    const round = Math.trunc(position / this.size);
    return position % this.size | (round % 2 === 0 ? 0x8000 : 0);
  }

  #at(position: number): number {
    return this.places.desc + (position % this.size) * PACKED_DESC.size;
  }
}
