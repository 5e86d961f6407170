/**
 * The split virtqueue, driver side, for buffers of one descriptor each: buffer n has descriptor n.
 *
 * A buffer that comes back is written at once into the entry of the available ring where it will be
 * offered next: a ring's size behind the one that it was offered in, which is the same entry. A
 * back-end that keeps the order finds every entry as it was, and no cache line changes hands for it.
 *
 * Source: VIRTIO 1.2, 2.7.6 (available ring), 2.7.8 (used ring), 2.7.13 (driver).
 */
import {
  BUFFER_BYTES,
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
/** VIRTQ_AVAIL_F_NO_INTERRUPT (VIRTIO 1.2, 2.7.6). */
const AVAIL_F_NO_INTERRUPT: u16 = 1;
/** VIRTQ_USED_F_NO_NOTIFY (VIRTIO 1.2, 2.7.8). */
const USED_F_NO_NOTIFY: u16 = 1;
/** Offset of `idx` in both rings. */
const INDEX: u32 = 2;
/** Offset of the first entry in both rings. */
const ENTRIES: u32 = 4;
/** Bytes of a descriptor are 2 to the power of this. */
const DESC_SHIFT: u32 = 4;
/** Bytes of a used element are 2 to the power of this. */
const USED_SHIFT: u32 = 3;

/** Writes descriptors and entries: buffer n is in entry n for a start. */
export function layOut(r: u32, isReceive: bool): void {
  for (let i: u32 = 0; i < load<u32>(SETUP_RING_SIZE); i++) {
    describe(r, i, BUFFER_BYTES, isReceive);
    store<u16>(entryAt(r, i), <u16> i);
  }
  const avail = load<u32>(r + RING_AVAIL);
  store<u16>(avail, AVAIL_F_NO_INTERRUPT);
  atomic.store<u16>(avail + INDEX, <u16> load<u32>(r + RING_NEXT_AVAIL));
}

/** How many buffers the back-end has used; more than the ring has means that it is broken. */
export function look(r: u32): u32 {
  // Acquire: elements and frames read after this are those written before it.
  const index = atomic.load<u16>(load<u32>(r + RING_USED) + INDEX);
  return (index - load<u32>(r + RING_NEXT_USED)) & 0xffff;
}

/** Where the back-end wrote about the buffer at a position that was seen to be used. */
export function usedAt(r: u32, position: u32): u32 {
  const slot = position & (load<u32>(SETUP_RING_SIZE) - 1);
  return load<u32>(r + RING_USED) + ENTRIES + (slot << USED_SHIFT);
}

/** The number of a used buffer, as the back-end says. */
export function usedBuffer(at: u32): u32 {
  return load<u32>(at);
}

/** Bytes that it wrote, as the back-end says. */
export function usedLength(at: u32): u32 {
  return load<u32>(at + 4);
}

/**
 * Writes the descriptor of a buffer. It holds the same already; but every driver writes it for each
 * frame, and a meter that did not would be faster than guests are.
 */
export function describe(r: u32, buffer: u32, length: u32, isReceive: bool): void {
  const at = load<u32>(r + RING_DESC) + (buffer << DESC_SHIFT);
  store<u64>(at, bufferAddress(r, buffer));
  store<u32>(at + 8, length);
  store<u16>(at + 12, isReceive ? DESC_F_WRITE : 0);
}

/** Puts a buffer into the entry of a position. */
export function put(r: u32, position: u32, buffer: u32): void {
  const at = entryAt(r, position);
  if (load<u16>(at) !== <u16> buffer) store<u16>(at, <u16> buffer);
}

/** The buffer in the entry of a position; always one of the ring's, whoever wrote there. */
export function bufferAt(r: u32, position: u32): u32 {
  return load<u16>(entryAt(r, position)) & (load<u32>(SETUP_RING_SIZE) - 1);
}

/**
 * Offers everything before RING_NEXT_AVAIL.
 *
 * @returns Whether the back-end wants to be kicked.
 */
export function publish(r: u32): bool {
  // Release for entries and frames; sequentially consistent, so the flags are read after it (2.7.13.4.1).
  atomic.store<u16>(load<u32>(r + RING_AVAIL) + INDEX, <u16> load<u32>(r + RING_NEXT_AVAIL));
  return (atomic.load<u16>(load<u32>(r + RING_USED)) & USED_F_NO_NOTIFY) === 0;
}

function entryAt(r: u32, position: u32): u32 {
  const slot = position & (load<u32>(SETUP_RING_SIZE) - 1);
  return load<u32>(r + RING_AVAIL) + ENTRIES + (slot << 1);
}
