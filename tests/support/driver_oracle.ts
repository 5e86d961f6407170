/**
 * What a switch must make of the used rings that a back-end shows it, written from VIRTIO 1.2 and the
 * answers to bad input: a ring that names what the back-end does not have is left (R2); a frame that
 * cannot be is dropped, and the ring goes on (R1).
 *
 * It reads the shared memory, and shares nothing with the data plane.
 *
 * @module
 */
import { u16le, u32le } from "../../src/layout/struct.ts";
import { VIRTQ_USED_ELEM } from "../../src/virtio/layouts.ts";
import {
  PACKED_DESC,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  WRAP_COUNTER,
} from "../../src/virtio/packed_layouts.ts";
import { concatenate } from "./bytes.ts";
import type { DeviceRing } from "./device_ring.ts";
import type { DriverView } from "./driver_sim.ts";

/** Chains of a burst: buffers come back to the back-end behind them. */
const BURST = 64;
/** The largest frame. */
const MAX_FRAME_BYTES = 65549;
/** Both marks of a packed descriptor. */
const MARKS = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;

/** A ring as the driver must see it. */
export interface OracleRing {
  /** All of the port's memory. */
  readonly view: DataView;
  /** Where the ring lies. */
  readonly ring: DeviceRing;
  /** What the driver knows. */
  readonly known: DriverView;
  /** Whether it is packed. */
  readonly isPacked: boolean;
}

/** What must come of a receive ring. */
export interface Expected {
  /** Frames with their headers, in order; some may be dropped for what is in them. */
  readonly frames: readonly Uint8Array[];
  /** Frames that cannot be. */
  readonly unsound: number;
  /** Whether the ring must be left. */
  readonly isBroken: boolean;
}

/** A used entry. */
interface Used {
  readonly id: number;
  readonly length: number;
}

/** Entries that the back-end shows as used, in their order; null when there cannot be so many. */
function shown(oracle: OracleRing, from: number, most: number): Used[] | null {
  return oracle.isPacked ? shownPacked(oracle, from, most) : shownSplit(oracle, from, most);
}

function shownSplit({ view, ring }: OracleRing, from: number, most: number): Used[] | null {
  const { used } = ring.places;
  const length = u16le.get(view, used + 2) - from & 0xffff;
  if (length > most) return null;
  return Array.from({ length }, (_, i) => {
    const at = used + 4 + VIRTQ_USED_ELEM.size * ((from + i) % ring.size);
    return { id: u32le.get(view, at), length: u32le.get(view, at + 4) };
  });
}

function shownPacked({ view, ring }: OracleRing, from: number, most: number): Used[] {
  const entries: Used[] = [];
  for (let i = 0; i < most; i++) {
    const at = (from & ~WRAP_COUNTER) + i;
    const isOtherRound = at >= ring.size;
    const wrap = ((from & WRAP_COUNTER) !== 0) !== isOtherRound;
    const entry = PACKED_DESC.read(view, ring.places.desc + PACKED_DESC.size * (at % ring.size));
    if ((entry.flags & MARKS) !== (wrap ? MARKS : 0)) break;
    entries.push({ id: entry.id, length: entry.len });
  }
  return entries;
}

/**
 * Says what must come of a receive ring, before the switch looks at it.
 *
 * @param oracle The ring; no burst of it is in hand.
 * @param headerBytes Bytes of the virtio-net header.
 * @param isMerging Whether a frame may lie in several buffers.
 */
export function expectReceive(
  oracle: OracleRing,
  headerBytes: number,
  isMerging: boolean,
): Expected {
  const { view, ring, known } = oracle;
  const entries = shown(oracle, known.nextAvail, ring.size);
  const frames: Uint8Array[] = [];
  let unsound = 0;
  if (entries === null) return { frames, unsound, isBroken: true };
  let taken = new Set<number>();
  let chains = 0;
  for (let i = 0; i < entries.length; chains++) {
    if (chains % BURST === 0) taken = new Set();
    const count = claimed(oracle, entries[i]!, isMerging);
    const parts = entries.slice(i, i + Math.max(1, count));
    for (const { id } of parts) {
      if (id >= ring.size || taken.has(id)) return { frames, unsound, isBroken: true };
      taken.add(id);
    }
    i += parts.length;
    const bytes = parts.reduce((sum, { length }) => sum + length, 0);
    const isSound = parts.length === count && bytes <= headerBytes + MAX_FRAME_BYTES &&
      parts.every(({ length }) => length > 0 && length <= known.slotBytes);
    if (!isSound) unsound++;
    else {
      frames.push(concatenate(parts.map(({ id, length }) => {
        const start = known.slots + id * known.slotBytes;
        return new Uint8Array(view.buffer, start, length).slice();
      })));
    }
  }
  return { frames, unsound, isBroken: false };
}

// A packed ring's entry that names no buffer ends the ring before its header is read.
function claimed({ view, ring, known }: OracleRing, { id }: Used, isMerging: boolean): number {
  if (!isMerging || id >= ring.size) return 1;
  return u16le.get(view, known.slots + id * known.slotBytes + 10);
}

/**
 * Says which slots of a transmit ring must be free when the switch has looked at it.
 *
 * @param oracle The ring.
 * @returns How many the back-end keeps; null when the ring must be left.
 */
export function expectTransmit(oracle: OracleRing): number | null {
  const { known } = oracle;
  const owned = new Set([...known.owners.keys()].filter((id) => known.owners[id] === 1));
  const entries = shown(oracle, known.nextUsed, owned.size);
  if (entries === null) return null;
  for (const { id } of entries) if (!owned.delete(id)) return null;
  return owned.size;
}

/**
 * Checks that every slot is either with the driver or with the back-end, and exactly once.
 *
 * @param oracle The ring; no burst of it is in hand, and it is not broken.
 * @param isReceive Whether the back-end fills it.
 * @returns What is wrong, or null.
 */
export function slotMistake(oracle: OracleRing, isReceive: boolean): string | null {
  const { known, ring } = oracle;
  const theirs = known.owners.reduce((sum, owner) => sum + owner, 0);
  if (known.owners.some((owner) => owner > 1)) return "an owner is neither 0 nor 1";
  if (isReceive) return theirs === ring.size ? null : `the back-end has ${theirs} of all slots`;
  const free = ring.size - theirs;
  const first = known.nextAvail & ~(oracle.isPacked ? WRAP_COUNTER : 0);
  const ids = Array.from({ length: free }, (_, i) => known.noted[(first + i) % ring.size]!);
  if (new Set(ids).size !== free) return "a free slot is noted twice";
  if (ids.some((id) => known.owners[id] !== 0)) return "a slot is free and with the back-end";
  const inFlight = oracle.isPacked
    ? positionsBetween(known.nextUsed, known.nextAvail, ring.size)
    : known.nextAvail - known.nextUsed & 0xffff;
  return inFlight === theirs
    ? null
    : `${theirs} slots are with the back-end, ${inFlight} in flight`;
}

function positionsBetween(from: number, to: number, size: number): number {
  const round = ((from ^ to) & WRAP_COUNTER) !== 0 ? size : 0;
  return (to & ~WRAP_COUNTER) + round - (from & ~WRAP_COUNTER);
}
