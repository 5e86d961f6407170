/**
 * Buffers of a ring whose driver we are: slots of one size in memory that the back-end shares, and
 * what we know of them in memory that it does not.
 *
 * Slot and buffer id are the same number. Beside each ring lie, where only we can write:
 *
 *     u16[size]  ids: by ring entry, the slot that was taken there (receive) or is free for it (transmit)
 *     u8[size]   by slot, whether the back-end has it
 *
 * So nothing that a back-end writes is trusted: an id counts only if it names a slot that the back-end
 * has, and descriptors are written, never read back (VIRTIO 1.2, 2.7.13 and 2.8.21).
 */
import {
  RING_BYTES,
  RING_PRIVATE,
  RING_SIZE,
  RING_SLOT_BYTES,
  RING_SLOTS,
  RINGS,
  USED_SLOTS,
} from "../state_layout.ts";
import * as guest from "./guest.ts";

/** Where the virtio-net header has num_buffers (VIRTIO 1.2, 5.1.6). */
const NUM_BUFFERS: u64 = 10;

/** Whether frames come in through a ring: records of such rings have odd numbers, as a guest's do. */
export function isSource(r: u32): bool {
  return ((r - RINGS) / RING_BYTES & 1) !== 0;
}

/** Where a slot starts. */
export function slotAt(r: u32, id: u32): u64 {
  return load<u64>(r + RING_SLOTS) + <u64> id * load<u32>(r + RING_SLOT_BYTES);
}

/** The slot that is noted for a ring entry. */
export function noted(r: u32, entry: u32): u32 {
  return guest.load16(load<u64>(r + RING_PRIVATE) + (<u64> entry << 1));
}

/** Takes a slot back from the back-end and notes it for a ring entry; whether the back-end had it. */
export function takeBack(r: u32, id: u32, entry: u32): bool {
  if (id >= load<u32>(r + RING_SIZE)) return false;
  const at = ownerAt(r, id);
  if (guest.load8(at) === 0) return false;
  guest.store8(at, 0);
  guest.store16(load<u64>(r + RING_PRIVATE) + (<u64> entry << 1), id);
  return true;
}

/** Notes that the back-end has a slot. */
export function handOver(r: u32, id: u32): void {
  guest.store8(ownerAt(r, id), 1);
}

function ownerAt(r: u32, id: u32): u64 {
  return load<u64>(r + RING_PRIVATE) + (<u64> load<u32>(r + RING_SIZE) << 1) + id;
}

/** Over how many buffers the frame that begins in a slot goes, as its header claims. */
export function claimedBuffers(slot: u64): u32 {
  return guest.load16(slot + NUM_BUFFERS);
}

/** A driver sets num_buffers to zero in what it sends (VIRTIO 1.2, 5.1.6.2.1). */
export function clearBuffers(slot: u64): void {
  guest.store16(slot + NUM_BUFFERS, 0);
}

/** Ring entries of so many chains that were taken. */
export function entriesOf(elements: u32, amount: u32, stride: u32): u32 {
  let entries: u32 = 0;
  for (let i: u32 = 0; i < amount; i++) entries += load<u32>(elements + i * stride + USED_SLOTS);
  return entries;
}
