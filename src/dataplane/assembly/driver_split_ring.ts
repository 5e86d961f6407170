/**
 * The split virtqueue, driver side: what it makes available is what the data plane calls used, and
 * the other way round.
 *
 * Receive queue: every slot is with the back-end but for those of the burst in hand. RING_NEXT_AVAIL
 * counts the used elements taken, RING_NEXT_USED those whose slots were given to the back-end again.
 * Transmit queue: RING_NEXT_AVAIL counts the chains given to the back-end, RING_NEXT_USED those that
 * it has used.
 *
 * Source: VIRTIO 1.2, 2.7.13 (supplying buffers) and 2.7.14 (receiving used buffers).
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
  DESC_SHIFT,
  NONE,
  setChain,
  SOUND,
  UNSOUND,
  WRITABLE,
} from "./chain.ts";
import * as guest from "./guest.ts";
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

/** Offset of `idx` in both rings. */
const INDEX: u64 = 2;
/** Offset of the first entry in both rings. */
const ENTRIES: u64 = 4;
/** VIRTQ_AVAIL_F_NO_INTERRUPT (VIRTIO 1.2, 2.7.6). */
const AVAIL_F_NO_INTERRUPT: u32 = 1;
/** VIRTQ_USED_F_NO_NOTIFY (VIRTIO 1.2, 2.7.8). */
const USED_F_NO_NOTIFY: u32 = 1;

/** Where the entries that may be taken end; set by {@linkcode look}. */
let end: u32 = 0;

/**
 * Looks what the back-end has used. Slots of a transmit queue are free again from then on.
 *
 * @param r Address of the ring's record.
 * @returns How many entries may be taken; more than the ring's size means that it is incoherent.
 */
export function look(r: u32): u32 {
  // Acquire: elements and buffers read after this are those that were used before.
  const used = guest.loadAtomic16(load<u64>(r + RING_USED) + INDEX);
  if (isSource(r)) {
    end = used;
    return (end - load<u32>(r + RING_NEXT_AVAIL)) & 0xffff;
  }
  const size = load<u32>(r + RING_SIZE);
  let next = load<u32>(r + RING_NEXT_USED);
  const outstanding = (load<u32>(r + RING_NEXT_AVAIL) - next) & 0xffff;
  // Neither ahead of what the back-end has, nor back.
  if (((used - next) & 0xffff) > outstanding) return size + 1;
  for (; next !== used; next = (next + 1) & 0xffff) {
    const entry = next & (size - 1);
    if (!takeBack(r, <u32> elementAt(r, entry), entry)) return size + 1;
    store<u32>(r + RING_NEXT_USED, (next + 1) & 0xffff);
  }
  end = (next + size) & 0xffff;
  return (end - load<u32>(r + RING_NEXT_AVAIL)) & 0xffff;
}

// Identifier and length, in this order (2.7.8).
function elementAt(r: u32, entry: u32): u64 {
  return guest.load64(load<u64>(r + RING_USED) + ENTRIES + (<u64> entry << 3));
}

/**
 * Takes the chain at a position: a frame that came, or a slot for one that is to go.
 *
 * Runs on a poll Worker; does not allocate. After SOUND and UNSOUND `chainId` and `chainSlots` are set.
 *
 * @param p Address of the port's record.
 * @param r Address of the ring's record; {@linkcode look} was called.
 * @param position A position between the next one to take and the end that was seen.
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
  if (position === end) return NONE;
  const mask = load<u32>(r + RING_SIZE) - 1;
  const slotBytes = load<u32>(r + RING_SLOT_BYTES);
  beginSegments(segments);
  if (direction === WRITABLE) {
    const id = noted(r, position & mask);
    setChain(id, 1);
    return appendBuffer(p, slotAt(r, id), slotBytes, true, limit, roof) ? SOUND : UNSOUND;
  }
  let entries: u32 = 1;
  let isSound = true;
  for (let i: u32 = 0; i < entries; i++) {
    const entry = (position + i) & mask;
    const element = elementAt(r, entry);
    if (!takeBack(r, <u32> element, entry)) return BROKEN;
    const slot = slotAt(r, <u32> element);
    if (i === 0 && (load<u32>(p + PORT_FLAGS) & PORT_F_MERGES) !== 0) {
      // All buffers of a frame are used at once (5.1.6.3.2), so what is not there does not exist.
      const claimed = claimedBuffers(slot);
      entries = min<u32>(max<u32>(claimed, 1), (end - position) & 0xffff);
      isSound = claimed === entries;
    }
    const length = element >> 32;
    if (length > slotBytes || !appendBuffer(p, slot, length, false, limit, roof)) isSound = false;
  }
  setChain(noted(r, position & mask), entries);
  return isSound ? SOUND : UNSOUND;
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
  const mask = load<u32>(r + RING_SIZE) - 1;
  const most = min<u32>(limit, load<u32>(r + RING_SLOT_BYTES));
  const isMerging = (load<u32>(p + PORT_FLAGS) & PORT_F_MERGES) !== 0;
  const first = load<u32>(r + RING_NEXT_AVAIL);
  const amount = min<u32>((end - first) & 0xffff, BURST);
  let f = w + W_FRAMES;
  for (let i: u32 = 0; i < amount; i++) {
    const entry = (first + i) & mask;
    const element = elementAt(r, entry);
    const id = <u32> element;
    const length = <u32> (element >> 32);
    if (id > mask || length === 0 || length > most) return i;
    const slot = slotAt(r, id);
    if (isMerging && claimedBuffers(slot) !== 1) return i;
    if (!takeBack(r, id, entry)) return i;
    store<u64>(segments + SEGMENT_LOCAL, slot);
    store<u32>(segments + SEGMENT_LENGTH, length);
    fillFrame(f, id, 1, length, segments, 1);
    segments += SEGMENT_BYTES;
    f += FRAME_BYTES;
  }
  return amount;
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
  const mask = load<u32>(r + RING_SIZE) - 1;
  const headerBytes = load<u32>(p + PORT_HEADER_BYTES);
  const most = min<u32>(headerBytes + maxFrame(p), load<u32>(r + RING_SLOT_BYTES));
  const first = load<u32>(r + RING_NEXT_AVAIL);
  const free = (end - first) & 0xffff;
  let placed: u32 = 0;
  for (; frames !== 0 && placed < free; frames &= frames - 1) {
    const f = w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES;
    const wanted = headerBytes + load<u32>(f + FRAME_LENGTH);
    if (load<u32>(f + FRAME_HEADERS) !== 0 || wanted > most) break;
    const id = noted(r, (first + placed) & mask);
    fillPlain(
      w + W_PLACED + placed * PLACED_BYTES,
      w + W_USED + placed * USED_BYTES,
      f,
      headerBytes,
      slotAt(r, id),
      id,
      wanted,
    );
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
  const size = load<u32>(r + RING_SIZE);
  const avail = load<u64>(r + RING_AVAIL);
  const isReceive = isSource(r);
  const entries = isReceive ? entriesOf(elements, amount, stride) : amount;
  const last = load<u32>(r + (isReceive ? RING_NEXT_USED : RING_NEXT_AVAIL));
  const before = isReceive ? (last + size) & 0xffff : (last - amount) & 0xffff;
  for (let i: u32 = 0; i < entries; i++) {
    const entry = (before + i) & (size - 1);
    let id: u32;
    if (isReceive) id = noted(r, entry);
    else {
      const element = elements + i * stride;
      id = load<u32>(element + USED_ID);
      describe(p, r, id, load<u32>(element + USED_LENGTH));
    }
    handOver(r, id);
    guest.store16(avail + ENTRIES + (<u64> entry << 1), id);
  }
  const next = (before + entries) & 0xffff;
  if (isReceive) store<u32>(r + RING_NEXT_USED, (last + entries) & 0xffff);
  // Release for entries, descriptors and frames, and a full fence before the back-end's wish is read.
  guest.storeAtomic16(avail + INDEX, next);
  return mustKick(p, r, before, next);
}

// A chain of one buffer that the device reads (2.7.5).
function describe(p: u32, r: u32, id: u32, length: u32): void {
  const at = load<u64>(r + RING_DESC) + (<u64> id << DESC_SHIFT);
  const slot = slotAt(r, id);
  guest.store64(at, slot);
  guest.store64(at + 8, length);
  if (load<u32>(p + PORT_HEADER_BYTES) === 12) clearBuffers(slot);
}

// 2.7.13.4: with the event index the flags are ignored.
function mustKick(p: u32, r: u32, before: u32, next: u32): bool {
  const used = load<u64>(r + RING_USED);
  if ((load<u32>(p + PORT_FLAGS) & PORT_F_EVENT_IDX) === 0) {
    return (guest.load16(used) & USED_F_NO_NOTIFY) === 0;
  }
  const event = guest.load16(used + ENTRIES + (<u64> load<u32>(r + RING_SIZE) << 3));
  return ((next - event - 1) & 0xffff) < ((next - before) & 0xffff);
}

/** Asks the back-end to call for the next frame. */
export function wantKicks(p: u32, r: u32): void {
  if (load<u32>(p + PORT_FLAGS) & PORT_F_EVENT_IDX) {
    guest.storeAtomic16(usedEventAt(r), load<u32>(r + RING_NEXT_AVAIL));
  } else guest.storeAtomic16(load<u64>(r + RING_AVAIL), 0);
}

/** Asks the back-end not to call: somebody polls. */
export function refuseKicks(p: u32, r: u32): void {
  if (load<u32>(p + PORT_FLAGS) & PORT_F_EVENT_IDX) {
    guest.storeAtomic16(usedEventAt(r), load<u32>(r + RING_NEXT_AVAIL) - 1);
  } else guest.storeAtomic16(load<u64>(r + RING_AVAIL), AVAIL_F_NO_INTERRUPT);
}

// 2.7.6: used_event follows the entries.
function usedEventAt(r: u32): u64 {
  return load<u64>(r + RING_AVAIL) + ENTRIES + (<u64> load<u32>(r + RING_SIZE) << 1);
}
