/**
 * The packed virtqueue, driver side.
 *
 * Every chain is one descriptor, so a ring entry that the back-end marks as used is the one that is
 * made available next, a round later. Positions are those of `packed_ring.ts`: a slot of the ring in
 * bits 0 to 14, the wrap counter in bit 15.
 *
 * Receive queue: every slot is with the back-end but for those of the burst in hand. RING_NEXT_AVAIL is
 * the next entry to be found used, RING_NEXT_USED the next one whose slot goes to the back-end again,
 * a round ahead. Transmit queue: RING_NEXT_AVAIL is the next entry to be made available,
 * RING_NEXT_USED the next one to be found used.
 *
 * Source: VIRTIO 1.2, 2.8.21 (supplying buffers) and 2.8.22 (receiving used buffers).
 */
import {
  BURST,
  FRAME_BYTES,
  FRAME_HEADERS,
  FRAME_LENGTH,
  PLACED_BYTES,
  PORT_F_EVENT_IDX,
  PORT_F_MERGES,
  PORT_FLAGS,
  PORT_HEADER_BYTES,
  RING_AVAIL,
  RING_DESC,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RING_SIZE,
  RING_SLOT_BYTES,
  RING_USED,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  USED_BYTES,
  USED_ID,
  USED_LENGTH,
  W_FRAMES,
  W_PLACED,
  W_USED,
} from "../state_layout.ts";
import {
  appendBuffer,
  beginSegments,
  BROKEN,
  DESC_F_WRITE,
  DESC_SHIFT,
  NONE,
  setChain,
  SOUND,
  UNSOUND,
  WRITABLE,
} from "./chain.ts";
import * as guest from "./guest.ts";
import { advance } from "./packed_ring.ts";
import { fillFrame, fillPlain, maxFrame } from "./records.ts";
import {
  claimedBuffers,
  clearBuffers,
  entriesOf,
  handOver,
  isSource,
  noted,
  slotAt,
  takeBack,
} from "./slots.ts";

/** VIRTQ_DESC_F_AVAIL (VIRTIO 1.2, 2.8.1): the driver's mark. */
const DESC_F_AVAIL: u32 = 1 << 7;
/** VIRTQ_DESC_F_USED (VIRTIO 1.2, 2.8.1): the device's mark. */
const DESC_F_USED: u32 = 1 << 15;
/** Both marks. */
const MARKS: u32 = DESC_F_AVAIL | DESC_F_USED;
/** The wrap counter in a position. */
const WRAP: u32 = 1 << 15;
/** Offset of the flags in a descriptor. */
const FLAGS: u64 = 14;
/** RING_EVENT_FLAGS_ENABLE (VIRTIO 1.2, 2.8.14): notify about everything. */
const EVENT_ENABLE: u32 = 0;
/** RING_EVENT_FLAGS_DISABLE: notify about nothing. */
const EVENT_DISABLE: u32 = 1;
/** RING_EVENT_FLAGS_DESC: notify when the named descriptor is reached. */
const EVENT_DESC: u32 = 2;
/** Offset of the flags in an event suppression structure; the position is at 0. */
const EVENT_FLAGS: u64 = 2;

function descriptorAt(r: u32, position: u32): u64 {
  return load<u64>(r + RING_DESC) + (<u64> (position & ~WRAP) << DESC_SHIFT);
}

// 2.8.1: used when both marks equal the wrap counter.
function isUsed(r: u32, position: u32): bool {
  // Acquire: what the descriptor says and its buffer holds was written before.
  const flags = guest.loadAtomic16(descriptorAt(r, position) + FLAGS);
  return (flags & MARKS) === ((position & WRAP) !== 0 ? MARKS : 0);
}

// 2.8.1: available when the driver's mark equals the wrap counter and the device's does not.
function availableMarks(position: u32): u32 {
  return (position & WRAP) !== 0 ? DESC_F_AVAIL : DESC_F_USED;
}

// Ring entries from one position to a later one, less than two rounds.
function entriesBetween(r: u32, from: u32, to: u32): u32 {
  const round = ((from ^ to) & WRAP) !== 0 ? load<u32>(r + RING_SIZE) : 0;
  return (to & ~WRAP) + round - (from & ~WRAP);
}

/**
 * Looks what the back-end has used. Slots of a transmit queue are free again from then on.
 *
 * @param r Address of the ring's record.
 * @returns How many entries may be taken, or just 1 of a receive queue when there are some; more than
 * the ring's size means that it is incoherent.
 */
export function look(r: u32): u32 {
  if (isSource(r)) return isUsed(r, load<u32>(r + RING_NEXT_AVAIL)) ? 1 : 0;
  const size = load<u32>(r + RING_SIZE);
  const next = load<u32>(r + RING_NEXT_AVAIL);
  let position = load<u32>(r + RING_NEXT_USED);
  while (position !== next && isUsed(r, position)) {
    if (!takeBack(r, idAt(r, position), position & ~WRAP)) return size + 1;
    position = advance(r, position, 1);
    store<u32>(r + RING_NEXT_USED, position);
  }
  return size - entriesBetween(r, position, next);
}

function idAt(r: u32, position: u32): u32 {
  return guest.load16(descriptorAt(r, position) + 12);
}

/**
 * Takes the chain at a position: a frame that came, or a slot for one that is to go.
 *
 * Runs on a poll Worker; does not allocate. After SOUND and UNSOUND `chainId` and `chainSlots` are set.
 *
 * @param p Address of the port's record.
 * @param r Address of the ring's record; {@linkcode look} was called.
 * @param position A position from the next one to take on.
 * @param direction READABLE for a frame, WRITABLE for a slot.
 * @param limit Bytes that a frame may have, or that are wanted of a slot.
 * @param segments Where to append the chain's buffers.
 * @param roof Where that list must end.
 * @returns NONE, SOUND, UNSOUND or BROKEN.
 */
export function take(
  p: u32,
  r: u32,
  position: u32,
  direction: u32,
  limit: u32,
  segments: u32,
  roof: u32,
): u32 {
  const size = load<u32>(r + RING_SIZE);
  const slotBytes = load<u32>(r + RING_SLOT_BYTES);
  beginSegments(segments);
  if (direction === WRITABLE) {
    if (entriesBetween(r, load<u32>(r + RING_NEXT_USED), position) >= size) return NONE;
    const id = noted(r, position & ~WRAP);
    setChain(id, 1);
    return appendBuffer(p, slotAt(r, id), slotBytes, true, limit, roof) ? SOUND : UNSOUND;
  }
  if (!isUsed(r, position)) return NONE;
  let at = position;
  let claimed: u32 = 1;
  let entries: u32 = 0;
  let isSound = true;
  // All buffers of a frame are used at once (5.1.6.3.2), so what is not there does not exist.
  while (entries < claimed && isUsed(r, at)) {
    const rest = guest.load64(descriptorAt(r, at) + 8);
    const id = <u32> (rest >> 32) & 0xffff;
    if (!takeBack(r, id, at & ~WRAP)) return BROKEN;
    const slot = slotAt(r, id);
    if (entries === 0 && (load<u32>(p + PORT_FLAGS) & PORT_F_MERGES) !== 0) {
      claimed = claimedBuffers(slot);
    }
    const length = rest & 0xffffffff;
    if (length > slotBytes || !appendBuffer(p, slot, length, false, limit, roof)) isSound = false;
    at = advance(r, at, 1);
    entries++;
  }
  setChain(noted(r, position & ~WRAP), entries);
  return isSound && entries === claimed ? SOUND : UNSOUND;
}

/**
 * Takes the usual frames, one buffer each, up to the first that is not so simple.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record; {@linkcode look} was called.
 * @param limit Bytes that a frame may have.
 * @param segments Where the frames' segments go, one each.
 * @returns How many frame records were filled.
 */
export function takeSimple(w: u32, p: u32, r: u32, limit: u32, segments: u32): u32 {
  const size = load<u32>(r + RING_SIZE);
  const most = min<u32>(limit, load<u32>(r + RING_SLOT_BYTES));
  const isMerging = (load<u32>(p + PORT_FLAGS) & PORT_F_MERGES) !== 0;
  let position = load<u32>(r + RING_NEXT_AVAIL);
  let f = w + W_FRAMES;
  for (let i: u32 = 0; i < <u32> BURST; i++) {
    if (!isUsed(r, position)) return i;
    const rest = guest.load64(descriptorAt(r, position) + 8);
    const id = <u32> (rest >> 32) & 0xffff;
    const length = <u32> rest;
    if (id >= size || length === 0 || length > most) return i;
    const slot = slotAt(r, id);
    if (isMerging && claimedBuffers(slot) !== 1) return i;
    if (!takeBack(r, id, position & ~WRAP)) return i;
    store<u64>(segments + SEGMENT_LOCAL, slot);
    store<u32>(segments + SEGMENT_LENGTH, length);
    fillFrame(f, id, 1, length, segments, 1);
    segments += SEGMENT_BYTES;
    f += FRAME_BYTES;
    position = advance(r, position, 1);
  }
  return BURST;
}

/**
 * Places plain frames in free slots, up to the first that is not so simple.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record; {@linkcode look} was called.
 * @param frames Which frames of the burst are to be placed.
 * @returns How many were: those of the lowest bits.
 */
export function placeSimple(w: u32, p: u32, r: u32, frames: u64): u32 {
  const size = load<u32>(r + RING_SIZE);
  const headerBytes = load<u32>(p + PORT_HEADER_BYTES);
  const most = min<u32>(headerBytes + maxFrame(p), load<u32>(r + RING_SLOT_BYTES));
  let position = load<u32>(r + RING_NEXT_AVAIL);
  const free = size - entriesBetween(r, load<u32>(r + RING_NEXT_USED), position);
  let placed: u32 = 0;
  for (; frames !== 0 && placed < free; frames &= frames - 1) {
    const f = w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES;
    const wanted = headerBytes + load<u32>(f + FRAME_LENGTH);
    if (load<u32>(f + FRAME_HEADERS) !== 0 || wanted > most) break;
    const id = noted(r, position & ~WRAP);
    fillPlain(
      w + W_PLACED + placed * PLACED_BYTES,
      w + W_USED + placed * USED_BYTES,
      f,
      headerBytes,
      slotAt(r, id),
      id,
      wanted,
    );
    position = advance(r, position, 1);
    placed++;
  }
  return placed;
}

/**
 * Gives slots to the back-end: filled ones to send, or empty ones again that a burst came in.
 *
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 * @param elements Address of the first used element of the data plane (USED_*).
 * @param amount How many, at least 1.
 * @param stride Bytes from one to the next.
 * @returns Whether the back-end must be kicked.
 */
export function publishUsed(p: u32, r: u32, elements: u32, amount: u32, stride: u32): bool {
  const isReceive = isSource(r);
  const entries = isReceive ? entriesOf(elements, amount, stride) : amount;
  const first = isReceive
    ? load<u32>(r + RING_NEXT_USED) ^ WRAP
    : retreat(r, load<u32>(r + RING_NEXT_AVAIL), entries);
  let position = first;
  for (let i: u32 = 0; i < entries; i++) {
    const element = elements + i * stride;
    const id = isReceive ? noted(r, position & ~WRAP) : load<u32>(element + USED_ID);
    const length = load<u32>(isReceive ? r + RING_SLOT_BYTES : element + USED_LENGTH);
    const slot = slotAt(r, id);
    if (!isReceive && load<u32>(p + PORT_HEADER_BYTES) === 12) clearBuffers(slot);
    const at = descriptorAt(r, position);
    guest.store64(at, slot);
    guest.store32(at + 8, length);
    guest.store16(at + 12, id);
    // The first one is marked last: until then the back-end looks no further (2.8.21.1).
    if (i > 0) guest.storeAtomic16(at + FLAGS, flagsOf(isReceive, position));
    handOver(r, id);
    position = advance(r, position, 1);
  }
  if (isReceive) store<u32>(r + RING_NEXT_USED, position ^ WRAP);
  // Release for all before it, and a full fence before the back-end's wish is read.
  guest.storeAtomic16(descriptorAt(r, first) + FLAGS, flagsOf(isReceive, first));
  return mustKick(p, r, entries, position);
}

function flagsOf(isReceive: bool, position: u32): u32 {
  return availableMarks(position) | (isReceive ? DESC_F_WRITE : 0);
}

function retreat(r: u32, position: u32, entries: u32): u32 {
  const slot = position & ~WRAP;
  if (slot >= entries) return position - entries;
  return ((position & WRAP) ^ WRAP) | (slot + load<u32>(r + RING_SIZE) - entries);
}

// 2.8.14: off, on, or when a descriptor is reached: distances are counted back from `next`.
function mustKick(p: u32, r: u32, entries: u32, next: u32): bool {
  const area = load<u64>(r + RING_USED);
  const flags = guest.load16(area + EVENT_FLAGS);
  if (flags === EVENT_DISABLE) return false;
  if ((load<u32>(p + PORT_FLAGS) & PORT_F_EVENT_IDX) === 0 || flags !== EVENT_DESC) return true;
  return entriesBetween(r, guest.load16(area), next) - 1 < entries;
}

/** Asks the back-end to call for the next frame. */
export function wantKicks(p: u32, r: u32): void {
  const area = load<u64>(r + RING_AVAIL);
  if ((load<u32>(p + PORT_FLAGS) & PORT_F_EVENT_IDX) === 0) {
    guest.storeAtomic16(area + EVENT_FLAGS, EVENT_ENABLE);
    return;
  }
  guest.store16(area, load<u32>(r + RING_NEXT_AVAIL));
  guest.storeAtomic16(area + EVENT_FLAGS, EVENT_DESC);
}

/** Asks the back-end not to call: somebody polls. */
export function refuseKicks(_p: u32, r: u32): void {
  guest.storeAtomic16(load<u64>(r + RING_AVAIL) + EVENT_FLAGS, EVENT_DISABLE);
}
