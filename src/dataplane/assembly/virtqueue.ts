/**
 * A virtqueue of either format, device side: chooses between the split and the packed ring.
 */
import { PORT_F_PACKED, PORT_FLAGS, RING_NEXT_AVAIL, RING_SIZE } from "../state_layout.ts";
import * as packed from "./packed_ring.ts";
import * as split from "./split_ring.ts";

function isPacked(p: u32): bool {
  return (load<u32>(p + PORT_FLAGS) & PORT_F_PACKED) !== 0;
}

/** What {@linkcode look} found: nothing, something, an index that cannot be. */
export const EMPTY: u32 = 0;
/** There are chains to take. */
export const READY: u32 = 1;
/** The available index is further ahead than the ring is long. */
export const CORRUPT: u32 = 2;

/**
 * Looks whether the guest made chains available; to be called before {@linkcode take}.
 *
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 */
export function look(p: u32, r: u32): u32 {
  if (isPacked(p)) return packed.isAvailable(r, load<u32>(r + RING_NEXT_AVAIL)) ? READY : EMPTY;
  const available = split.look(r);
  if (available === 0) return EMPTY;
  return available <= load<u32>(r + RING_SIZE) ? READY : CORRUPT;
}

/** Takes the chain at a position; see the `take` of both formats. */
export function take(
  w: u32,
  p: u32,
  r: u32,
  position: u32,
  direction: u32,
  limit: u32,
  segments: u32,
  roof: u32,
): u32 {
  return isPacked(p)
    ? packed.take(w, p, r, position, direction, limit, segments, roof)
    : split.take(w, p, r, position, direction, limit, segments, roof);
}

/** Takes the usual chains; see the `takeSimple` of both formats. Returns how many. */
export function takeSimple(w: u32, p: u32, r: u32, limit: u32, segments: u32): u32 {
  return isPacked(p)
    ? packed.takeSimple(w, p, r, limit, segments)
    : split.takeSimple(w, p, r, limit, segments);
}

/** Places plain frames in the usual chains; see the `placeSimple` of both formats. Returns how many. */
export function placeSimple(w: u32, p: u32, r: u32, frames: u64): u32 {
  return isPacked(p) ? packed.placeSimple(w, p, r, frames) : split.placeSimple(w, p, r, frames);
}

/** The position behind a chain of so many ring entries. */
export function advance(p: u32, r: u32, position: u32, slots: u32): u32 {
  return isPacked(p) ? packed.advance(r, position, slots) : (position + slots) & 0xffff;
}

/** Publishes used elements; returns whether the guest must be called. */
export function publishUsed(p: u32, r: u32, elements: u32, amount: u32, stride: u32): bool {
  return isPacked(p)
    ? packed.publishUsed(p, r, elements, amount, stride)
    : split.publishUsed(p, r, elements, amount, stride);
}

/** Asks the guest to kick for the next chain it makes available. */
export function wantKicks(p: u32, r: u32): void {
  if (isPacked(p)) packed.wantKicks(p, r);
  else split.wantKicks(p, r);
}

/** Asks the guest not to kick: somebody polls. */
export function refuseKicks(p: u32, r: u32): void {
  if (isPacked(p)) packed.refuseKicks(p, r);
  else split.refuseKicks(p, r);
}
