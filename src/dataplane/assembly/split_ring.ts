/**
 * The split virtqueue's available and used rings, device side.
 *
 * Each index is free-running and 16 bits wide. Everything the guest writes is read once; what we
 * published is kept in state memory and never read back.
 *
 * Source: VIRTIO 1.2, 2.7.6 (available ring), 2.7.8 (used ring), 2.7.7 and 2.7.10 (notifications).
 */
import {
  BURST,
  FRAME_BYTES,
  FRAME_HEADERS,
  FRAME_LENGTH,
  PLACED_BYTES,
  PORT_F_EVENT_IDX,
  PORT_FLAGS,
  PORT_HEADER_BYTES,
  REGION_GUEST,
  REGION_LOCAL,
  REGION_SIZE,
  RING_AVAIL,
  RING_DESC,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RING_SIGNALLED,
  RING_SIGNALLED_VALID,
  RING_SIZE,
  RING_USED,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  USED_BYTES,
  W_FRAMES,
  W_PLACED,
  W_USED,
} from "../state_layout.ts";
import { BROKEN, DESC_F_WRITE, DESC_SHIFT, NONE, setChain, SOUND, UNSOUND, walk } from "./chain.ts";
import { isLogged, markDirty } from "./dirty.ts";
import * as guest from "./guest.ts";
import { fillFrame, fillPlain, maxFrame } from "./records.ts";
import { likelyRegion } from "./translate.ts";

/** Offset of `idx` in both rings. */
const INDEX: u64 = 2;
/** Offset of the first entry in both rings. */
const ENTRIES: u64 = 4;
/** The flags in the second half of a descriptor. */
const FLAGS: u64 = 0xffff << 32;
/** Those of a chain of one writable buffer. */
const WRITE_ONLY: u64 = <u64> DESC_F_WRITE << 32;
/** VIRTQ_AVAIL_F_NO_INTERRUPT (VIRTIO 1.2, 2.7.6). */
const AVAIL_F_NO_INTERRUPT: u32 = 1;
/** VIRTQ_USED_F_NO_NOTIFY (VIRTIO 1.2, 2.7.8). */
const USED_F_NO_NOTIFY: u32 = 1;

/** Where the chains that may be taken end; set by {@linkcode look}. */
let end: u32 = 0;

/**
 * Looks which chains the guest made available.
 *
 * @param ring Address of the ring's record.
 * @returns 0 to 65535; more than the ring's size means that the index is corrupt.
 */
export function look(ring: u32): u32 {
  // Acquire: the entries and descriptors read after this are those the guest published before it.
  end = guest.loadAtomic16(load<u64>(ring + RING_AVAIL) + INDEX);
  return (end - load<u32>(ring + RING_NEXT_AVAIL)) & 0xffff;
}

/**
 * Takes the chain at a position.
 *
 * Runs on a poll Worker; does not allocate. After SOUND and UNSOUND `chainId` and `chainSlots` are set.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record; {@linkcode look} was called.
 * @param position An index between the next one to take and the end that was seen.
 * @param direction READABLE or WRITABLE.
 * @param limit Bytes, as for `walk`.
 * @param segments Where to append the chain's buffers.
 * @param roof Where that list must end.
 * @returns NONE, SOUND, UNSOUND or BROKEN.
 */
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
  if (position === end) return NONE;
  const size = load<u32>(r + RING_SIZE);
  const slot = position & (size - 1);
  const head = guest.load16(load<u64>(r + RING_AVAIL) + ENTRIES + (<u64> slot << 1));
  if (head >= size) return BROKEN;
  setChain(head, 1);
  return walk(w, p, r, head, direction, limit, segments, roof) ? SOUND : UNSOUND;
}

/**
 * Takes the usual chains, one direct descriptor in one region, up to the first that is not so simple.
 *
 * One loop with everything that stays the same outside of it: most chains go through here, and above
 * ten million frames per second each further access counts. Whatever is not simple is left to `take`,
 * which reads it again and trusts nothing that was seen here.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record; {@linkcode look} was called.
 * @param limit Bytes that a chain may have.
 * @param segments Where the chains' segments go, one each.
 * @returns How many frame records were filled.
 */
export function takeSimple(w: u32, p: u32, r: u32, limit: u32, segments: u32): u32 {
  const size = load<u32>(r + RING_SIZE);
  const avail = load<u64>(r + RING_AVAIL) + ENTRIES;
  const table = load<u64>(r + RING_DESC);
  const region = likelyRegion(p);
  const regionStart = load<u64>(region + REGION_GUEST);
  const regionSize = load<u64>(region + REGION_SIZE);
  const regionLocal = load<u64>(region + REGION_LOCAL);
  const first = load<u32>(r + RING_NEXT_AVAIL);
  const amount = min<u32>((end - first) & 0xffff, BURST);
  let f = w + W_FRAMES;
  for (let i: u32 = 0; i < amount; i++) {
    const head = guest.load16(avail + (<u64> ((first + i) & (size - 1)) << 1));
    if (head >= size) return i;
    const at = table + (<u64> head << DESC_SHIFT);
    const rest = guest.load64(at + 8);
    const length = <u32> rest;
    const offset = guest.load64(at) - regionStart;
    // Neither NEXT nor WRITE nor INDIRECT; wholly in the region, whose size is no more than 16 GiB.
    if ((rest & FLAGS) !== 0 || length === 0 || length > limit) return i;
    if (offset >= regionSize || offset + length > regionSize) return i;
    store<u64>(segments + SEGMENT_LOCAL, regionLocal + offset);
    store<u32>(segments + SEGMENT_LENGTH, length);
    fillFrame(f, head, 1, length, segments, 1);
    segments += SEGMENT_BYTES;
    f += FRAME_BYTES;
  }
  return amount;
}

/**
 * Places plain frames in the usual chains, one direct descriptor in one region that is long enough,
 * up to the first frame or chain that is not so simple.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record; {@linkcode look} was called.
 * @param frames Which frames of the burst are to be placed.
 * @returns How many were: those of the lowest bits.
 */
export function placeSimple(w: u32, p: u32, r: u32, frames: u64): u32 {
  const size = load<u32>(r + RING_SIZE);
  const avail = load<u64>(r + RING_AVAIL) + ENTRIES;
  const table = load<u64>(r + RING_DESC);
  const headerBytes = load<u32>(p + PORT_HEADER_BYTES);
  const most = headerBytes + maxFrame(p);
  const region = likelyRegion(p);
  const regionStart = load<u64>(region + REGION_GUEST);
  const regionSize = load<u64>(region + REGION_SIZE);
  const regionLocal = load<u64>(region + REGION_LOCAL);
  const first = load<u32>(r + RING_NEXT_AVAIL);
  const available = (end - first) & 0xffff;
  let placed: u32 = 0;
  for (; frames !== 0 && placed < available; frames &= frames - 1) {
    const f = w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES;
    const head = guest.load16(avail + (<u64> ((first + placed) & (size - 1)) << 1));
    if (head >= size || load<u32>(f + FRAME_HEADERS) !== 0) break;
    const at = table + (<u64> head << DESC_SHIFT);
    const rest = guest.load64(at + 8);
    const wanted = headerBytes + load<u32>(f + FRAME_LENGTH);
    const offset = guest.load64(at) - regionStart;
    if ((rest & FLAGS) !== WRITE_ONLY || <u32> rest < wanted || wanted > most) break;
    if (offset >= regionSize || offset + wanted > regionSize) break;
    fillPlain(
      w + W_PLACED + placed * PLACED_BYTES,
      w + W_USED + placed * USED_BYTES,
      f,
      headerBytes,
      regionLocal + offset,
      head,
      wanted,
    );
    placed++;
  }
  return placed;
}

/**
 * Publishes used elements.
 *
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 * @param elements Address of the first element (USED_*).
 * @param amount How many, at least 1.
 * @param stride Bytes from one to the next.
 * @returns Whether the guest must be called.
 */
export function publishUsed(p: u32, r: u32, elements: u32, amount: u32, stride: u32): bool {
  const used = load<u64>(r + RING_USED);
  const mask = load<u32>(r + RING_SIZE) - 1;
  const old = load<u32>(r + RING_NEXT_USED);
  for (let i: u32 = 0; i < amount; i++) {
    const slot = (old + i) & mask;
    // Identifier and length, in this order in the scratch and in the ring (2.7.8).
    guest.store64(used + ENTRIES + (<u64> slot << 3), load<u64>(elements + i * stride));
  }
  const next = (old + amount) & 0xffff;
  store<u32>(r + RING_NEXT_USED, next);
  // Release for the elements and frames before it, and a full fence before the guest's wish to be
  // called is read below: without it both sides can miss each other (2.7.10).
  guest.storeAtomic16(used + INDEX, next);
  if (isLogged(p)) logUsed(p, used, mask, old & mask, amount);
  return mustCall(p, r, next);
}

// Entries from a slot on, which may go on at the ring's start, and the index.
function logUsed(p: u32, used: u64, mask: u32, slot: u32, amount: u32): void {
  const first = min<u32>(amount, mask + 1 - slot);
  markDirty(p, used, ENTRIES);
  markDirty(p, used + ENTRIES + (<u64> slot << 3), <u64> first << 3);
  if (first < amount) markDirty(p, used + ENTRIES, <u64> (amount - first) << 3);
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
  if (load<u32>(port + PORT_FLAGS) & PORT_F_EVENT_IDX) {
    writeWish(port, availEventAt(ring), load<u32>(ring + RING_NEXT_AVAIL));
  } else {
    writeWish(port, load<u64>(ring + RING_USED), 0);
  }
}

/** Asks the guest not to kick: somebody polls. */
export function refuseKicks(port: u32, ring: u32): void {
  if (load<u32>(port + PORT_FLAGS) & PORT_F_EVENT_IDX) {
    // The index just behind the next one is crossed again only after 65,535 further chains.
    writeWish(port, availEventAt(ring), load<u32>(ring + RING_NEXT_AVAIL) - 1);
  } else {
    writeWish(port, load<u64>(ring + RING_USED), USED_F_NO_NOTIFY);
  }
}

function writeWish(port: u32, at: u64, value: u32): void {
  guest.storeAtomic16(at, value);
  if (isLogged(port)) markDirty(port, at, 2);
}

// 2.7.8: avail_event follows the used elements.
function availEventAt(ring: u32): u64 {
  return load<u64>(ring + RING_USED) + ENTRIES + (<u64> load<u32>(ring + RING_SIZE) << 3);
}
