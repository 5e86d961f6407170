/**
 * A virtqueue of either format, driver side: takes the place of `virtqueue.ts` in the module for ports
 * that lead to a back-end (see build.ts).
 *
 * What a guest's rings are to the other module these are to this one, mirrored: a chain that a guest
 * made available is here a buffer that the back-end has used, and what is published as used there is
 * made available here. So receiving and transmitting need no second code.
 */
import { PORT_F_PACKED, PORT_FLAGS, RING_SIZE } from "../state_layout.ts";
import * as packed from "./driver_packed_ring.ts";
import * as split from "./driver_split_ring.ts";
import { advance as advancePacked } from "./packed_ring.ts";

function isPacked(p: u32): bool {
  return (load<u32>(p + PORT_FLAGS) & PORT_F_PACKED) !== 0;
}

/** What {@linkcode look} found: nothing, something, an index that cannot be. */
export const EMPTY: u32 = 0;
/** There is something to take. */
export const READY: u32 = 1;
/** The back-end claims to have used what it does not have. */
export const CORRUPT: u32 = 2;

/**
 * Looks what the back-end has used; to be called before {@linkcode take}.
 *
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 */
export function look(p: u32, r: u32): u32 {
  const found = isPacked(p) ? packed.look(r) : split.look(r);
  if (found === 0) return EMPTY;
  return found <= load<u32>(r + RING_SIZE) ? READY : CORRUPT;
}

/** Takes the chain at a position; see the `take` of both formats. */
export function take(
  _w: u32,
  p: u32,
  r: u32,
  position: u32,
  direction: u32,
  limit: u32,
  segments: u32,
  roof: u32,
): u32 {
  return isPacked(p)
    ? packed.take(p, r, position, direction, limit, segments, roof)
    : split.take(p, r, position, direction, limit, segments, roof);
}

/** Takes the usual frames; see the `takeSimple` of both formats. Returns how many. */
export function takeSimple(w: u32, p: u32, r: u32, limit: u32, segments: u32): u32 {
  return isPacked(p)
    ? packed.takeSimple(w, p, r, limit, segments)
    : split.takeSimple(w, p, r, limit, segments);
}

/** Places plain frames in free slots; see the `placeSimple` of both formats. Returns how many. */
export function placeSimple(w: u32, p: u32, r: u32, frames: u64): u32 {
  return isPacked(p) ? packed.placeSimple(w, p, r, frames) : split.placeSimple(w, p, r, frames);
}

/** The position so many ring entries further on. */
export function advance(p: u32, r: u32, position: u32, slots: u32): u32 {
  return isPacked(p) ? advancePacked(r, position, slots) : (position + slots) & 0xffff;
}

/** Gives slots to the back-end; returns whether it must be kicked. */
export function publishUsed(p: u32, r: u32, elements: u32, amount: u32, stride: u32): bool {
  return isPacked(p)
    ? packed.publishUsed(p, r, elements, amount, stride)
    : split.publishUsed(p, r, elements, amount, stride);
}

/** Asks the back-end to call for the next frame. */
export function wantKicks(p: u32, r: u32): void {
  if (isPacked(p)) packed.wantKicks(p, r);
  else split.wantKicks(p, r);
}

/** Asks the back-end not to call: somebody polls. */
export function refuseKicks(p: u32, r: u32): void {
  if (isPacked(p)) packed.refuseKicks(p, r);
  else split.refuseKicks(p, r);
}
