/**
 * A guest's memory and rings as the model keeps them.
 *
 * @module
 */
import type { PlacedRegion } from "../support/guest_memory.ts";

/** A ring as the model keeps it. */
export interface ModelRing {
  /** Offsets in the guest's memory. */
  readonly desc: number;
  /** Available ring; in a packed ring, the driver's event suppression structure. */
  readonly avail: number;
  /** Used ring; in a packed ring, the device's event suppression structure. */
  readonly used: number;
  /** Entries. */
  readonly size: number;
  /** Whether it is started. */
  readonly isStarted: boolean;
  /** Whether it is enabled. */
  readonly isEnabled: boolean;
  /**
   * Next available entry to take. Split: the index. Packed: a position in two rounds of the ring, of
   * which the first has a wrap counter of 1.
   */
  nextAvail: number;
  /** Next used entry to write. */
  nextUsed: number;
  /** The same at the last decision to call, or null when there was none since the start. */
  signalled: number | null;
  /** Whether it is quarantined. */
  isBroken: boolean;
}

/** A guest as the model sees it. */
export interface ModelGuest {
  /** A copy of its memory. */
  readonly bytes: Uint8Array;
  /** The same. */
  readonly view: DataView;
  /** Its memory table. */
  readonly regions: readonly PlacedRegion[];
  /** What was negotiated. */
  readonly features: bigint;
  /** Bytes of the virtio-net header. */
  readonly headerBytes: number;
  /** VIRTIO_NET_F_MRG_RXBUF. */
  readonly isMergeable: boolean;
  /** VIRTIO_F_EVENT_IDX. */
  readonly hasEventIndex: boolean;
  /** VIRTIO_F_INDIRECT_DESC. */
  readonly hasIndirect: boolean;
  /** VIRTIO_F_RING_PACKED. */
  readonly isPacked: boolean;
  /** Its receive queue. */
  readonly receive: ModelRing;
  /** Its transmit queue. */
  readonly transmit: ModelRing;
}

/** A piece of a guest's memory. */
export interface Span {
  /** Offset of its first byte. */
  readonly at: number;
  /** Bytes. */
  readonly length: number;
}

/** A chain that was taken. */
export interface TakenChain {
  /** Head or buffer id. */
  readonly id: number;
  /** Ring entries that it takes. */
  readonly slots: number;
  /** Its memory in order, or null when the chain breaks a rule. */
  readonly spans: readonly Span[] | null;
}

/** A chain that goes back, and what was written there. */
export interface UsedChain {
  /** Head or buffer id. */
  readonly id: number;
  /** Ring entries that it takes. */
  readonly slots: number;
  /** Bytes written. */
  length: number;
}

/** What the two formats of a ring do in their own ways. */
export interface RingFormat {
  /** Whether the ring offers more than it can hold. */
  isCorrupt(guest: ModelGuest, ring: ModelRing): boolean;
  /**
   * Looks at a chain.
   *
   * @param ahead Ring entries between the next one to take and this one.
   * @param direction 0 for a chain that the device reads, WRITE for one that it writes.
   * @param limit Bytes: a chain to read may not be longer, of a chain to write no more is needed.
   */
  take(
    guest: ModelGuest,
    ring: ModelRing,
    ahead: number,
    direction: number,
    limit: number,
  ): TakenChain | "none" | "broken";
  /** Moves on behind chains that were taken. */
  advance(ring: ModelRing, slots: number): void;
  /** Writes used chains; returns whether the guest must be called, or null when nothing says so. */
  publish(guest: ModelGuest, ring: ModelRing, used: readonly UsedChain[]): boolean | null;
  /** The bytes of the ring itself, as pairs of start and end. */
  areas(ring: ModelRing): readonly (readonly [number, number])[];
}

/** Descriptor flags (VIRTIO 1.2, 2.7.5 and 2.8.6). */
export const NEXT = 1;
/** The device writes the buffer. */
export const WRITE = 2;
/** The buffer is a table. */
export const INDIRECT = 4;

/** Where a range of guest addresses lies, or null when a byte of it lies nowhere. */
export function translate(guest: ModelGuest, address: bigint, length: number): Span[] | null {
  const spans: Span[] = [];
  const end = address + BigInt(length);
  for (let from = address; from < end;) {
    const region = guest.regions.find(({ guestAddress, sizeBytes }) =>
      from >= guestAddress && from < guestAddress + BigInt(sizeBytes)
    );
    if (region === undefined) return null;
    const offset = from - region.guestAddress;
    const inside = BigInt(region.sizeBytes) - offset;
    const part = end - from < inside ? end - from : inside;
    spans.push({ at: region.localAddress + Number(offset), length: Number(part) });
    from += part;
  }
  return spans;
}

/** The bytes of some spans. */
export function gather(guest: ModelGuest, spans: readonly Span[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bytesOf(spans));
  let done = 0;
  for (const { at, length } of spans) {
    bytes.set(guest.bytes.subarray(at, at + length), done);
    done += length;
  }
  return bytes;
}

/** How many bytes some spans have. */
export function bytesOf(spans: readonly Span[]): number {
  return spans.reduce((sum, { length }) => sum + length, 0);
}
