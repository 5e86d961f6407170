/**
 * The packed virtqueue, device side.
 *
 * One ring of descriptors; both sides mark them with two bits whose meaning turns over with each
 * round (the wrap counter). A position is a slot in bits 0 to 14 and the wrap counter in bit 15, as
 * vhost-user writes it. Everything is completed in order, so what we took and what we used are told
 * by two such positions in state memory.
 *
 * Source: VIRTIO 1.2, 2.8.
 */
import {
  BURST,
  FRAME_BYTES,
  FRAME_HEADERS,
  FRAME_LENGTH,
  MAX_RING_SIZE,
  PLACED_BYTES,
  PORT_F_EVENT_IDX,
  PORT_F_INDIRECT,
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
  USED_ID,
  USED_LENGTH,
  USED_SLOTS,
  W_FRAMES,
  W_PLACED,
  W_TABLE,
  W_USED,
} from "../state_layout.ts";
import {
  appendBuffer,
  beginSegments,
  BROKEN,
  chainBytes,
  copyTable,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  DESC_SHIFT,
  NONE,
  setChain,
  SOUND,
  UNSOUND,
  WRITABLE,
} from "./chain.ts";
import { isLogged, markDirty } from "./dirty.ts";
import * as guest from "./guest.ts";
import { fillFrame, fillPlain, maxFrame } from "./records.ts";
import { contiguous, likelyRegion, translate } from "./translate.ts";

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

/** The position so many ring entries further on. */
export function advance(r: u32, position: u32, slots: u32): u32 {
  return advanceIn(load<u32>(r + RING_SIZE), position, slots);
}

function advanceIn(size: u32, position: u32, slots: u32): u32 {
  const slot = (position & ~WRAP) + slots;
  return slot < size ? (position & WRAP) | slot : ((position & WRAP) ^ WRAP) | (slot - size);
}

// The next position in a ring of so many entries.
function following(position: u32, size: u32): u32 {
  const next = position + 1;
  return (next & ~WRAP) < size ? next : (position & WRAP) ^ WRAP;
}

// The position before another in a ring of so many entries.
function preceding(position: u32, size: u32): u32 {
  return (position & ~WRAP) !== 0 ? position - 1 : ((position & WRAP) ^ WRAP) | (size - 1);
}

// 2.8.1: available when the driver's mark equals its wrap counter and the device's does not.
function availableMarks(position: u32): u32 {
  return (position & WRAP) !== 0 ? DESC_F_AVAIL : DESC_F_USED;
}

function descriptorAt(r: u32, position: u32): u64 {
  return load<u64>(r + RING_DESC) + (<u64> (position & ~WRAP) << DESC_SHIFT);
}

/** Whether the guest made the chain at a position available. */
export function isAvailable(r: u32, position: u32): bool {
  // Acquire: the rest of the chain, read after this, is what the driver wrote before (2.8.21.1).
  const flags = guest.loadAtomic16(descriptorAt(r, position) + FLAGS);
  return (flags & MARKS) === availableMarks(position);
}

/**
 * Takes the chain at a position.
 *
 * Runs on a poll Worker; does not allocate. After SOUND and UNSOUND `chainId` and `chainSlots` are
 * set: the walk goes on to the end of a chain that breaks a rule, because only its last descriptor
 * names it.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 * @param position The next one to take, or further on by the chains taken since.
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
  if (!isAvailable(r, position)) return NONE;
  const size = load<u32>(r + RING_SIZE);
  const isCut = direction === WRITABLE;
  let at = position;
  let slots: u32 = 0;
  let isSound = true;
  beginSegments(segments);
  while (true) {
    const descriptor = descriptorAt(r, at);
    const address = guest.load64(descriptor);
    const rest = guest.load64(descriptor + 8);
    const flags = <u32> (rest >> 48);
    const length = <u64> <u32> rest;
    // A chain goes on with descriptors that are available too, and is no longer than the ring.
    if ((flags & MARKS) !== availableMarks(at)) return BROKEN;
    slots++;
    if (isSound) {
      if (flags & DESC_F_INDIRECT) {
        // 2.8.7: a table is a whole chain: nothing before it, nothing behind it.
        isSound = slots === 1 && (flags & DESC_F_NEXT) === 0 &&
          walkTable(w, p, address, length, direction, limit, roof);
      } else if ((flags & DESC_F_WRITE) !== direction) isSound = false;
      else if (!isCut || chainBytes < limit) {
        // What a receive chain has beyond the frame is not looked at.
        isSound = appendBuffer(p, address, length, isCut, limit, roof);
      }
    }
    if ((flags & DESC_F_NEXT) === 0) {
      const id = <u32> (rest >> 32) & 0xffff;
      if (id >= size) return BROKEN;
      setChain(id, slots);
      return isSound ? SOUND : UNSOUND;
    }
    if (slots >= size) return BROKEN;
    at = advance(r, at, 1);
  }
}

/**
 * Takes the usual chains, one direct descriptor in one region, up to the first that is not so simple;
 * see the same function of the split ring.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 * @param limit Bytes that a chain may have.
 * @param segments Where the chains' segments go, one each.
 * @returns How many frame records were filled, each of one ring entry.
 */
export function takeSimple(w: u32, p: u32, r: u32, limit: u32, segments: u32): u32 {
  const size = load<u32>(r + RING_SIZE);
  const table = load<u64>(r + RING_DESC);
  const region = likelyRegion(p);
  const regionStart = load<u64>(region + REGION_GUEST);
  const regionSize = load<u64>(region + REGION_SIZE);
  const regionLocal = load<u64>(region + REGION_LOCAL);
  let position = load<u32>(r + RING_NEXT_AVAIL);
  let f = w + W_FRAMES;
  for (let i: u32 = 0; i < <u32> BURST; i++) {
    const at = table + (<u64> (position & ~WRAP) << DESC_SHIFT);
    // Acquire, as in isAvailable, of everything but the address. Only the marks may be set.
    const rest = guest.loadAtomic64(at + 8);
    if (<u32> (rest >> 48) !== availableMarks(position)) return i;
    const length = <u32> rest;
    const id = <u32> (rest >> 32) & 0xffff;
    const offset = guest.load64(at) - regionStart;
    if (length === 0 || length > limit || id >= size) return i;
    if (offset >= regionSize || offset + length > regionSize) return i;
    store<u64>(segments + SEGMENT_LOCAL, regionLocal + offset);
    store<u32>(segments + SEGMENT_LENGTH, length);
    fillFrame(f, id, 1, length, segments, 1);
    segments += SEGMENT_BYTES;
    f += FRAME_BYTES;
    position = following(position, size);
  }
  return BURST;
}

/**
 * Places plain frames in the usual chains, one direct descriptor in one region that is long enough,
 * up to the first frame or chain that is not so simple.
 *
 * @param w Address of the Worker's record.
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 * @param frames Which frames of the burst are to be placed.
 * @returns How many were: those of the lowest bits, each in one ring entry.
 */
export function placeSimple(w: u32, p: u32, r: u32, frames: u64): u32 {
  const size = load<u32>(r + RING_SIZE);
  const table = load<u64>(r + RING_DESC);
  const headerBytes = load<u32>(p + PORT_HEADER_BYTES);
  const most = headerBytes + maxFrame(p);
  const region = likelyRegion(p);
  const regionStart = load<u64>(region + REGION_GUEST);
  const regionSize = load<u64>(region + REGION_SIZE);
  const regionLocal = load<u64>(region + REGION_LOCAL);
  let position = load<u32>(r + RING_NEXT_AVAIL);
  let placed: u32 = 0;
  for (; frames !== 0; frames &= frames - 1) {
    const f = w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES;
    const at = table + (<u64> (position & ~WRAP) << DESC_SHIFT);
    const rest = guest.loadAtomic64(at + 8);
    const wantedFlags = availableMarks(position) | DESC_F_WRITE;
    if (<u32> (rest >> 48) !== wantedFlags || load<u32>(f + FRAME_HEADERS) !== 0) break;
    const id = <u32> (rest >> 32) & 0xffff;
    const wanted = headerBytes + load<u32>(f + FRAME_LENGTH);
    const offset = guest.load64(at) - regionStart;
    if (id >= size || <u32> rest < wanted || wanted > most) break;
    if (offset >= regionSize || offset + wanted > regionSize) break;
    fillPlain(
      w + W_PLACED + placed * PLACED_BYTES,
      w + W_USED + placed * USED_BYTES,
      f,
      headerBytes,
      regionLocal + offset,
      id,
      wanted,
    );
    placed++;
    position = following(position, size);
  }
  return placed;
}

// 2.8.7: all entries of the table in their order; NEXT means nothing there.
function walkTable(
  w: u32,
  p: u32,
  address: u64,
  length: u64,
  direction: u32,
  limit: u32,
  roof: u32,
): bool {
  if ((load<u32>(p + PORT_FLAGS) & PORT_F_INDIRECT) === 0) return false;
  // No larger than any ring can be; this also bounds the private copy.
  const entries = <u32> length >> DESC_SHIFT;
  if ((length & 15) !== 0 || entries === 0 || entries > <u32> MAX_RING_SIZE) return false;
  let table = translate(p, address, length);
  if (table === 0) return false;
  const isCopied = contiguous < length;
  if (isCopied) {
    if (address + (length - 1) < address) return false;
    if (!copyTable(w + W_TABLE, p, address, <u32> length)) return false;
    table = w + W_TABLE;
  }
  const isCut = direction === WRITABLE;
  for (let i: u32 = 0; i < entries; i++) {
    const at = table + (<u64> i << DESC_SHIFT);
    const buffer = isCopied ? load<u64>(<u32> at) : guest.load64(at);
    const rest = isCopied ? load<u64>(<u32> at + 8) : guest.load64(at + 8);
    const flags = <u32> (rest >> 48);
    if ((flags & DESC_F_INDIRECT) !== 0) return false;
    // DPDK's driver (22.11, vring_desc_init_indirect_packed) leaves WRITE set in tables that it
    // transmits from. Reading a buffer that may also be written harms nobody; the reverse would.
    if (isCut && (flags & DESC_F_WRITE) === 0) return false;
    if (!appendBuffer(p, buffer, <u64> <u32> rest, isCut, limit, roof)) return false;
    if (isCut && chainBytes === limit) return true;
  }
  return true;
}

/**
 * Publishes used elements: those of all chains that were taken since the last time.
 *
 * Every descriptor passed gets our wrap counter in its USED bit, also those behind a chain's first,
 * which tell the driver nothing. And all is written backwards, the first descriptor last. So the ring
 * itself tells where we stand, whenever this process dies (see control/packed_position.ts).
 *
 * @param p Address of the port's record.
 * @param r Address of the ring's record.
 * @param elements Address of the first element (USED_*).
 * @param amount How many, at least 1.
 * @param stride Bytes from one to the next.
 * @returns Whether the guest must be called.
 */
export function publishUsed(p: u32, r: u32, elements: u32, amount: u32, stride: u32): bool {
  const size = load<u32>(r + RING_SIZE);
  const table = load<u64>(r + RING_DESC);
  // Everything that was taken is given back: the last chain ends where the next one will begin.
  const end = load<u32>(r + RING_NEXT_AVAIL);
  let position = end;
  for (let element = elements + (amount - 1) * stride; element !== elements; element -= stride) {
    position = preceding(position, size);
    const slots = load<u32>(element + USED_SLOTS);
    if (slots !== 1) position = passRest(table, size, position, slots);
    const used = load<u64>(element + USED_ID);
    const length = <u32> (used >> 32);
    const at = table + (<u64> (position & ~WRAP) << DESC_SHIFT);
    guest.store64(at + 8, <u64> length | used << 32 | <u64> usedFlags(position, length) << 48);
  }
  position = preceding(position, size);
  const slots = load<u32>(elements + USED_SLOTS);
  if (slots !== 1) position = passRest(table, size, position, slots);
  const first = table + (<u64> (position & ~WRAP) << DESC_SHIFT);
  guest.store32(first + 8, load<u32>(elements + USED_LENGTH));
  guest.store16(first + 12, load<u32>(elements + USED_ID));
  store<u32>(r + RING_NEXT_USED, end);
  // The guest goes through the descriptors in order, so it sees nothing of them before this one is
  // marked. Release for everything written before it, and a full fence before the guest's wish to be
  // called is read below: without it both sides can miss each other (2.8.21.3).
  guest.storeAtomic16(first + FLAGS, usedFlags(position, load<u32>(elements + USED_LENGTH)));
  if (isLogged(p)) logUsed(p, r, position, end);
  return mustCall(p, r, end);
}

// Marks the descriptors of a chain that ends with `last`, all but the first, whose position it
// returns.
function passRest(table: u64, size: u32, last: u32, slots: u32): u32 {
  let position = last;
  for (; slots > 1; slots--) {
    const flags = table + (<u64> (position & ~WRAP) << DESC_SHIFT) + FLAGS;
    const used = (position & WRAP) !== 0 ? DESC_F_USED : 0;
    guest.store16(flags, (guest.load16(flags) & ~DESC_F_USED) | used);
    position = preceding(position, size);
  }
  return position;
}

// Descriptors from one position up to another, which may go on at the ring's start.
function logUsed(p: u32, r: u32, from: u32, to: u32): void {
  const table = load<u64>(r + RING_DESC);
  const slot = from & ~WRAP;
  const end = to & ~WRAP;
  const isWrapped = ((from ^ to) & WRAP) !== 0;
  const first = (isWrapped ? load<u32>(r + RING_SIZE) : end) - slot;
  if (first > 0) markDirty(p, table + (<u64> slot << DESC_SHIFT), <u64> first << DESC_SHIFT);
  if (isWrapped && end > 0) markDirty(p, table, <u64> end << DESC_SHIFT);
}

// 2.8.8: both marks equal the device's wrap counter; WRITE says that something was written.
function usedFlags(position: u32, length: u32): u32 {
  return ((position & WRAP) !== 0 ? MARKS : 0) | (length !== 0 ? DESC_F_WRITE : 0);
}

// 2.8.14: off, on, or when a descriptor is reached.
function mustCall(p: u32, r: u32, next: u32): bool {
  const area = load<u64>(r + RING_AVAIL);
  const isValid = load<u32>(r + RING_SIGNALLED_VALID) !== 0;
  const signalled = load<u32>(r + RING_SIGNALLED);
  store<u32>(r + RING_SIGNALLED, next);
  store<u32>(r + RING_SIGNALLED_VALID, 1);
  const flags = guest.load16(area + EVENT_FLAGS);
  if (flags === EVENT_DISABLE) return false;
  const hasIndex = (load<u32>(p + PORT_FLAGS) & PORT_F_EVENT_IDX) !== 0;
  if (!hasIndex || flags !== EVENT_DESC || !isValid) return true;
  return isCrossed(r, guest.load16(area), signalled, next);
}

// Whether going from `before` to `next` passed the named position: distances are counted backwards
// from `next`, modulo two rounds, which the wrap counters tell apart.
function isCrossed(r: u32, event: u32, before: u32, next: u32): bool {
  return distance(r, event, next) - 1 < distance(r, before, next);
}

// Ring entries from one position to a later one. Equal positions are a whole two rounds apart.
function distance(r: u32, from: u32, to: u32): u32 {
  const size = load<u32>(r + RING_SIZE);
  const round: u32 = ((from ^ to) & WRAP) !== 0 ? size : 0;
  const entries = (to & ~WRAP) + round - (from & ~WRAP);
  return <i32> entries > 0 ? entries : entries + 2 * size;
}

/** Asks the guest to kick for the next chain it makes available. */
export function wantKicks(p: u32, r: u32): void {
  const area = load<u64>(r + RING_USED);
  if ((load<u32>(p + PORT_FLAGS) & PORT_F_EVENT_IDX) === 0) {
    writeWish(p, area, EVENT_ENABLE);
    return;
  }
  guest.store16(area, load<u32>(r + RING_NEXT_AVAIL));
  writeWish(p, area, EVENT_DESC);
}

/** Asks the guest not to kick: somebody polls. */
export function refuseKicks(p: u32, r: u32): void {
  writeWish(p, load<u64>(r + RING_USED), EVENT_DISABLE);
}

function writeWish(p: u32, area: u64, flags: u32): void {
  guest.storeAtomic16(area + EVENT_FLAGS, flags);
  if (isLogged(p)) markDirty(p, area, 4);
}
