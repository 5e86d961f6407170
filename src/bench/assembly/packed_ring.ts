/**
 * The packed virtqueue, driver side, for buffers of one descriptor each.
 *
 * Positions run freely; a ring's size is a power of two, so the bit above the slot says which round
 * it is: the wrap counter is 1 in the first one and changes with each.
 *
 * Source: VIRTIO 1.2, 2.8.1 (marks), 2.8.13 (descriptors), 2.8.14 (events), 2.8.21 (driver).
 */
import {
  BUFFER_BYTES,
  BURST,
  RING_AVAIL,
  RING_DESC,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RING_USED,
  SETUP_RING_SIZE,
} from "../memory_layout.ts";
import { bufferAddress } from "./records.ts";

/** VIRTQ_DESC_F_WRITE (VIRTIO 1.2, 2.7.5). */
const DESC_F_WRITE: u16 = 2;
/** VIRTQ_DESC_F_AVAIL (VIRTIO 1.2, 2.8.1). */
const DESC_F_AVAIL: u16 = 1 << 7;
/** VIRTQ_DESC_F_USED (VIRTIO 1.2, 2.8.1). */
const DESC_F_USED: u16 = 1 << 15;
/** RING_EVENT_FLAGS_DISABLE (VIRTIO 1.2, 2.8.14). */
const EVENT_FLAGS_DISABLE: u16 = 1;
/** Offset of the flags in an event suppression structure. */
const EVENT_FLAGS: u32 = 2;
/** Offsets in a descriptor. */
const DESC_LENGTH: u32 = 8;
const DESC_ID: u32 = 12;
const DESC_FLAGS: u32 = 14;
/** Bytes of a descriptor are 2 to the power of this. */
const DESC_SHIFT: u32 = 4;

/** Writes descriptors; those of a receive ring are offered, buffer n in slot n. */
export function layOut(r: u32, isReceive: bool): void {
  const size = load<u32>(SETUP_RING_SIZE);
  for (let i: u32 = 0; i < size; i++) {
    put(r, i, i, BUFFER_BYTES);
    if (isReceive) store<u16>(slotAt(r, i) + DESC_FLAGS, flagsOf(i, true));
  }
  atomic.store<u16>(load<u32>(r + RING_AVAIL) + EVENT_FLAGS, EVENT_FLAGS_DISABLE);
}

/** How many buffers the back-end has used, a burst at most. */
export function look(r: u32): u32 {
  const next = load<u32>(r + RING_NEXT_USED);
  const size = load<u32>(SETUP_RING_SIZE);
  for (let i: u32 = 0; i < <u32> BURST; i++) {
    const position = next + i;
    const marks = (position & size) === 0 ? DESC_F_AVAIL | DESC_F_USED : 0;
    // Acquire: what the descriptor says and the frame are read after this.
    const flags = atomic.load<u16>(slotAt(r, position) + DESC_FLAGS);
    if ((flags & (DESC_F_AVAIL | DESC_F_USED)) !== marks) return i;
  }
  return BURST;
}

/** Where the back-end wrote about the buffer at a position that was seen to be used. */
export function usedAt(r: u32, position: u32): u32 {
  return slotAt(r, position);
}

/** The number of a used buffer, as the back-end says. */
export function usedBuffer(at: u32): u32 {
  return load<u16>(at + DESC_ID);
}

/** Bytes that it wrote, as the back-end says. */
export function usedLength(at: u32): u32 {
  return load<u32>(at + DESC_LENGTH);
}

/** Writes the descriptor of a buffer at a position, all but its flags. */
export function put(r: u32, position: u32, buffer: u32, length: u32): void {
  const at = slotAt(r, position);
  store<u64>(at, bufferAddress(r, buffer));
  store<u32>(at + DESC_LENGTH, length);
  store<u16>(at + DESC_ID, <u16> buffer);
}

/** The buffer in the slot of a position; always one of the ring's, whoever wrote there. */
export function bufferAt(r: u32, position: u32): u32 {
  return load<u16>(slotAt(r, position) + DESC_ID) & (load<u32>(SETUP_RING_SIZE) - 1);
}

/**
 * Offers what was put from a position up to RING_NEXT_AVAIL.
 *
 * @returns Whether the back-end wants to be kicked.
 */
export function publish(r: u32, first: u32, isReceive: bool): bool {
  const end = load<u32>(r + RING_NEXT_AVAIL);
  for (let position = first + 1; position !== end; position++) {
    store<u16>(slotAt(r, position) + DESC_FLAGS, flagsOf(position, isReceive));
  }
  // 2.8.21.1: the first one last. It releases the others; the back-end goes through them in order.
  atomic.store<u16>(slotAt(r, first) + DESC_FLAGS, flagsOf(first, isReceive));
  return atomic.load<u16>(load<u32>(r + RING_USED) + EVENT_FLAGS) !== EVENT_FLAGS_DISABLE;
}

function flagsOf(position: u32, isReceive: bool): u16 {
  const mark = (position & load<u32>(SETUP_RING_SIZE)) === 0 ? DESC_F_AVAIL : DESC_F_USED;
  return isReceive ? mark | DESC_F_WRITE : mark;
}

function slotAt(r: u32, position: u32): u32 {
  return load<u32>(r + RING_DESC) + ((position & (load<u32>(SETUP_RING_SIZE) - 1)) << DESC_SHIFT);
}
