/**
 * The split virtqueue's available and used rings, device side.
 *
 * Each index is free-running and 16 bits wide. Everything the guest writes is read once; what we
 * published is kept in state memory and never read back.
 *
 * Source: VIRTIO 1.2, 2.7.6 (available ring), 2.7.8 (used ring), 2.7.7 and 2.7.10 (notifications).
 */
import {
  PORT_F_EVENT_IDX,
  PORT_FLAGS,
  RING_AVAIL,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RING_SIGNALLED,
  RING_SIGNALLED_VALID,
  RING_SIZE,
  RING_USED,
} from "../state_layout.ts";
import * as guest from "./guest.ts";

/** Offset of `idx` in both rings. */
const INDEX: u64 = 2;
/** Offset of the first entry in both rings. */
const ENTRIES: u64 = 4;
/** VIRTQ_AVAIL_F_NO_INTERRUPT (VIRTIO 1.2, 2.7.6). */
const AVAIL_F_NO_INTERRUPT: u32 = 1;
/** VIRTQ_USED_F_NO_NOTIFY (VIRTIO 1.2, 2.7.8). */
const USED_F_NO_NOTIFY: u32 = 1;

/**
 * How many chains the guest made available that were not taken yet.
 *
 * @param ring Address of the ring's record.
 * @returns 0 to 65535; more than the ring's size means that the index is corrupt.
 */
export function availableCount(ring: u32): u32 {
  // Acquire: the entries and descriptors read after this are those the guest published before it.
  const index = guest.loadAtomic16(load<u64>(ring + RING_AVAIL) + INDEX);
  return (index - load<u32>(ring + RING_NEXT_AVAIL)) & 0xffff;
}

/** The head in the available ring, `ahead` entries after the next one to take. Not checked. */
export function availableHead(ring: u32, ahead: u32): u32 {
  const slot = (load<u32>(ring + RING_NEXT_AVAIL) + ahead) & (load<u32>(ring + RING_SIZE) - 1);
  return guest.load16(load<u64>(ring + RING_AVAIL) + ENTRIES + (<u64> slot << 1));
}

/** Writes one used element, `ahead` entries after the last published one. */
export function writeUsed(ring: u32, ahead: u32, head: u32, length: u32): void {
  const slot = (load<u32>(ring + RING_NEXT_USED) + ahead) & (load<u32>(ring + RING_SIZE) - 1);
  const at = load<u64>(ring + RING_USED) + ENTRIES + (<u64> slot << 3);
  guest.store64(at, <u64> head | <u64> length << 32);
}

/**
 * Publishes used elements that were written before.
 *
 * @param port Address of the port's record.
 * @param ring Address of the ring's record.
 * @param amount How many, at least 1.
 * @returns Whether the guest must be called.
 */
export function publishUsed(port: u32, ring: u32, amount: u32): bool {
  const old = load<u32>(ring + RING_NEXT_USED);
  const next = (old + amount) & 0xffff;
  store<u32>(ring + RING_NEXT_USED, next);
  // Release for the elements and frames before it, and a full fence before the guest's wish to be
  // called is read below: without it both sides can miss each other (2.7.10).
  guest.storeAtomic16(load<u64>(ring + RING_USED) + INDEX, next);
  return mustCall(port, ring, next);
}

// VIRTIO 1.2, 2.7.7.2 and 2.7.10: with the event index the flags are ignored.
function mustCall(port: u32, ring: u32, next: u32): bool {
  const avail = load<u64>(ring + RING_AVAIL);
  if ((load<u32>(port + PORT_FLAGS) & PORT_F_EVENT_IDX) === 0) {
    return (guest.load16(avail) & AVAIL_F_NO_INTERRUPT) === 0;
  }
  const isValid = load<u32>(ring + RING_SIGNALLED_VALID) !== 0;
  const signalled = load<u32>(ring + RING_SIGNALLED);
  store<u32>(ring + RING_SIGNALLED, next);
  store<u32>(ring + RING_SIGNALLED_VALID, 1);
  // The first decision after a start is unconditional: the guest may wait for an index before ours.
  if (!isValid) return true;
  const event = guest.load16(avail + ENTRIES + (<u64> load<u32>(ring + RING_SIZE) << 1));
  return ((next - event - 1) & 0xffff) < ((next - signalled) & 0xffff);
}

/** Asks the guest to kick for the next chain it makes available. */
export function wantKicks(port: u32, ring: u32): void {
  const used = load<u64>(ring + RING_USED);
  if (load<u32>(port + PORT_FLAGS) & PORT_F_EVENT_IDX) {
    guest.storeAtomic16(availEventAt(ring, used), load<u32>(ring + RING_NEXT_AVAIL));
  } else {
    guest.storeAtomic16(used, 0);
  }
}

/** Asks the guest not to kick: somebody polls. */
export function refuseKicks(port: u32, ring: u32): void {
  const used = load<u64>(ring + RING_USED);
  if (load<u32>(port + PORT_FLAGS) & PORT_F_EVENT_IDX) {
    // The index just behind the next one is crossed again only after 65,535 further chains.
    guest.storeAtomic16(availEventAt(ring, used), load<u32>(ring + RING_NEXT_AVAIL) - 1);
  } else {
    guest.storeAtomic16(used, USED_F_NO_NOTIFY);
  }
}

// 2.7.8: avail_event follows the used elements.
function availEventAt(ring: u32, used: u64): u64 {
  return used + ENTRIES + (<u64> load<u32>(ring + RING_SIZE) << 3);
}
