/**
 * Finds room for a burst's frames in a guest's receive queue, and publishes it once filled.
 *
 * `reserve` and `publish` run in the destination port's instance: they see its rings and nothing
 * else. Between them, copying code moves the bytes (copy.ts). The ring stays locked from one to the
 * other, because several Workers may fill the same receive queue.
 */
import {
  C_BAD_RX_CHAIN,
  C_CALLS,
  C_CHECKSUMMED,
  C_DROP_BAD_SEGMENTATION,
  C_DROP_NO_BUFFER,
  C_DROP_NOT_READY,
  C_DROP_TOO_BIG,
  C_SEGMENTED,
  C_TRANSMITTED_BYTES,
  C_TRANSMITTED_FRAMES,
  FAULT_AVAIL_INDEX,
  FAULT_CHAIN,
  FRAME_BYTES,
  FRAME_HEADER,
  FRAME_HEADERS,
  FRAME_LENGTH,
  MAX_PLACED,
  MAX_SEGMENTS,
  PLACED_BYTES,
  PLACED_F_CHECKSUM,
  PLACED_F_LAST,
  PLACED_F_PIECE,
  PLACED_FLAGS,
  PLACED_FRAME,
  PLACED_HEADER,
  PLACED_HEADER_BYTES,
  PLACED_PIECE_BYTES,
  PLACED_PIECE_HEADERS,
  PLACED_PIECE_NUMBER,
  PLACED_PIECE_START,
  PLACED_TO,
  PLACED_WRITE_COUNT,
  PLACED_WRITES,
  PORT_F_GUEST_CSUM,
  PORT_F_MERGEABLE,
  PORT_FLAGS,
  PORT_HEADER_BYTES,
  PORT_RX_COUNT,
  PORT_RX_PAIRS,
  RING_F_ENABLED,
  RING_F_STARTED,
  RING_FAULT,
  RING_FLAGS,
  RING_LOCK,
  RING_NEXT_AVAIL,
  RING_SIZE,
  RINGS_PER_PORT,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  USED_BYTES,
  USED_ID,
  USED_LENGTH,
  USED_SLOTS,
  W_FRAMES,
  W_MASKS,
  W_MORE,
  W_PLACED,
  W_PLACED_COUNT,
  W_RX_RING,
  W_USED,
  W_USED_COUNT,
  W_WRITES,
} from "../state_layout.ts";
import {
  BROKEN,
  chainBytes,
  chainId,
  chainSlots,
  NONE,
  segmentsEnd,
  UNSOUND,
  WRITABLE,
} from "./chain.ts";
import { isLogged, markDirty } from "./dirty.ts";
import { flowOf } from "./flow.ts";
import { gsoSizeOf, gsoTypeOf, HDR_F_NEEDS_CSUM, takesWhole } from "./offload.ts";
import { breakRing, count, maxFrame, portAt, ringAt, workerAt } from "./records.ts";
import { headerBytes, lookAt, pieces } from "./segmentation.ts";
import { advance, CORRUPT, look, placeSimple, publishUsed, take } from "./virtqueue.ts";

/** How placing a frame ended. */
const PLACED: u32 = 0;
const NO_BUFFER: u32 = 1;
const TOO_BIG: u32 = 2;
const STUCK: u32 = 3;

/** Looks at a ring's lock before its holder is taken for one that does not run. */
const LOCK_SPINS: u32 = 1000;
/** Nanoseconds that a Worker sleeps then. */
const LOCK_SLEEP_NS: i64 = 50_000;
/** Times that it does so before it gives up: 50 ms or more. */
const LOCK_ROUNDS: u32 = 1000;

/** Where in the ring this reservation has arrived. */
let position: u32 = 0;
/** Used elements written so far to the Worker's scratch. */
let usedCount: u32 = 0;
/** Placements made so far. */
let placedCount: u32 = 0;
/** Where the next write segment goes. */
let nextWrite: u32 = 0;

/**
 * Reserves receive buffers for frames that the current burst sends to a port: those for one of its
 * receive queues, and as many as there are placements. W_MORE says whether some are left.
 *
 * Runs on a poll Worker in the destination port's instance; does not allocate. When the result is
 * not 0 the ring is locked: copy, then call `publish`.
 *
 * @param worker The Worker's number.
 * @param port The destination port's number.
 * @param pair The queue pair that the frames came from; spreads senders over receive queues.
 * @returns How many used elements wait to be published. W_PLACED_COUNT says how many frames to copy.
 */
export function reserve(worker: u32, port: u32, pair: u32): u32 {
  const w = workerAt(worker);
  const p = portAt(port);
  const mask = w + W_MASKS + port * 8;
  let frames = load<u64>(mask);
  let left: u64 = 0;
  store<u32>(w + W_PLACED_COUNT, 0);

  const queues = load<u32>(p + PORT_RX_COUNT);
  let queue: u32 = 0;
  if (queues > 1) {
    queue = queueOf(w, frames, pair, queues);
    left = framesOfOthers(w, frames, pair, queues, queue);
    frames &= ~left;
  }
  const ring = port * RINGS_PER_PORT + <u32> load<u8>(p + PORT_RX_PAIRS + queue) * 2;
  const r = ringAt(ring);
  usedCount = 0;
  if (queues === 0 || !lock(worker, r)) {
    count(worker, port, C_DROP_NOT_READY, popcnt<u64>(frames));
  } else {
    const flags = atomic.load<u32>(r + RING_FLAGS);
    const wanted: u32 = RING_F_STARTED | RING_F_ENABLED;
    if ((flags & wanted) !== wanted || load<u32>(r + RING_FAULT) !== 0) {
      count(worker, port, C_DROP_NOT_READY, popcnt<u64>(frames));
    } else {
      store<u32>(w + W_RX_RING, ring);
      left |= place(worker, port, ring, frames);
    }
    if (usedCount === 0) unlock(r);
  }
  store<u64>(mask, left);
  store<u32>(w + W_MORE, left !== 0 ? 1 : 0);
  store<u32>(w + W_USED_COUNT, usedCount);
  return usedCount;
}

/**
 * Publishes the receive buffers of the last reservation and unlocks the ring.
 *
 * Runs on the Worker that reserved, after the bytes were copied; does not allocate.
 *
 * @param worker The Worker's number.
 * @param port The destination port's number.
 * @returns Whether the guest must be called.
 */
export function publish(worker: u32, port: u32): bool {
  const w = workerAt(worker);
  const r = ringAt(load<u32>(w + W_RX_RING));
  const used = load<u32>(w + W_USED_COUNT);
  if (isLogged(portAt(port))) logPlaced(w, portAt(port));
  const mustCall = publishUsed(portAt(port), r, w + W_USED, used, USED_BYTES);
  unlock(r);
  if (mustCall) count(worker, port, C_CALLS, 1);
  return mustCall;
}

// What the copying code has written.
function logPlaced(w: u32, p: u32): void {
  const end = w + W_PLACED + load<u32>(w + W_PLACED_COUNT) * PLACED_BYTES;
  for (let placed = w + W_PLACED; placed < end; placed += PLACED_BYTES) {
    const writes = load<u32>(placed + PLACED_WRITE_COUNT);
    if (writes === 0) {
      const length = load<u32>(load<u32>(placed + PLACED_FRAME) + FRAME_LENGTH);
      markDirty(p, load<u64>(placed + PLACED_TO), load<u32>(placed + PLACED_HEADER_BYTES) + length);
    }
    const segments = load<u32>(placed + PLACED_WRITES);
    for (let i: u32 = 0; i < writes; i++) {
      const segment = segments + i * SEGMENT_BYTES;
      markDirty(p, load<u64>(segment + SEGMENT_LOCAL), load<u32>(segment + SEGMENT_LENGTH));
    }
  }
}

// Whoever holds the lock is done in microseconds while it runs, so it is waited for on the processor
// first. A holder that does not run needs the processor, perhaps this one: then this Worker sleeps.
// A holder that died is replaced by control, which may be waiting for this Worker's turn to end: so
// the wait has an end, and the frames are lost. Control takes this lock for an announcement, under a
// number of its own, and waits no longer than a Worker does.
function lock(worker: u32, r: u32): bool {
  for (let round: u32 = 0; round < LOCK_ROUNDS; round++) {
    for (let i: u32 = 0; i < LOCK_SPINS; i++) {
      // Looking first leaves the cache line with the holder.
      if (atomic.load<u32>(r + RING_LOCK) !== 0) continue;
      if (atomic.cmpxchg<u32>(r + RING_LOCK, 0, worker + 1) === 0) return true;
    }
    const holder = atomic.load<u32>(r + RING_LOCK);
    if (holder !== 0) atomic.wait<i32>(r + RING_LOCK, <i32> holder, LOCK_SLEEP_NS);
  }
  return false;
}

function unlock(r: u32): void {
  atomic.store<u32>(r + RING_LOCK, 0);
}

// The receive queue of the first frame.
function queueOf(w: u32, frames: u64, pair: u32, queues: u32): u32 {
  const f = w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES;
  return (flowOf(f) + pair) % queues;
}

// Frames for other receive queues than this one.
function framesOfOthers(w: u32, frames: u64, pair: u32, queues: u32, queue: u32): u64 {
  let others: u64 = 0;
  for (let rest = frames; rest !== 0; rest &= rest - 1) {
    const i = ctz<u64>(rest);
    const f = w + W_FRAMES + <u32> i * FRAME_BYTES;
    if ((flowOf(f) + pair) % queues !== queue) others |= <u64> 1 << i;
  }
  return others;
}

// Places frames in the ring, one behind the other; returns those for which no placement was left.
function place(worker: u32, port: u32, ring: u32, frames: u64): u64 {
  const w = workerAt(worker);
  const p = portAt(port);
  const r = ringAt(ring);
  position = load<u32>(r + RING_NEXT_AVAIL);
  placedCount = 0;
  nextWrite = w + W_WRITES;
  if (look(p, r) === CORRUPT) {
    breakRing(worker, ring, FAULT_AVAIL_INDEX);
    count(worker, port, C_DROP_NOT_READY, popcnt<u64>(frames));
    return 0;
  }
  let bytes: u64 = 0;
  let delivered = placeSimple(w, p, r, frames);
  position = advance(p, r, position, delivered);
  placedCount = delivered;
  usedCount = delivered;
  for (let i: u32 = 0; i < delivered; i++) {
    bytes += load<u32>(w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES + FRAME_LENGTH);
    frames &= frames - 1;
  }
  for (; frames !== 0; frames &= frames - 1) {
    const f = w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES;
    const isCut = load<u32>(f + FRAME_HEADERS) !== 0 && gsoTypeOf(f) !== 0 &&
      !takesWhole(load<u32>(p + PORT_FLAGS), f);
    let outcome: u32;
    if (isCut) {
      if (!lookAt(f)) {
        count(worker, port, C_DROP_BAD_SEGMENTATION, 1);
        continue;
      }
      if (placedCount + pieces > <u32> MAX_PLACED) break;
      outcome = placePieces(worker, port, ring, f);
    } else {
      if (placedCount === <u32> MAX_PLACED) break;
      const length = load<u32>(f + FRAME_LENGTH);
      const isWhole = load<u32>(f + FRAME_HEADERS) !== 0 && gsoTypeOf(f) !== 0;
      if (!isWhole && length > maxFrame(p)) outcome = TOO_BIG;
      else outcome = placeFrame(worker, port, ring, f, length);
      if (outcome === PLACED) writeHeader(worker, port, f);
    }
    if (outcome === PLACED) {
      delivered++;
      bytes += load<u32>(f + FRAME_LENGTH);
    } else if (outcome === TOO_BIG) {
      count(worker, port, C_DROP_TOO_BIG, 1);
    } else {
      // No later frame fits either, unless it is smaller: dropping the tail keeps the order plain.
      count(worker, port, C_DROP_NO_BUFFER, popcnt<u64>(frames));
      frames = 0;
      break;
    }
  }
  store<u32>(r + RING_NEXT_AVAIL, position);
  store<u32>(w + W_PLACED_COUNT, placedCount);
  count(worker, port, C_TRANSMITTED_FRAMES, delivered);
  count(worker, port, C_TRANSMITTED_BYTES, bytes);
  return frames;
}

// Cuts a super-packet. Pieces that find no buffer are lost, like frames on a wire.
function placePieces(worker: u32, port: u32, ring: u32, f: u32): u32 {
  const p = portAt(port);
  const length = load<u32>(f + FRAME_LENGTH);
  const size = gsoSizeOf(f);
  const mayBePartial = (load<u32>(p + PORT_FLAGS) & PORT_F_GUEST_CSUM) !== 0;
  let start = headerBytes;
  for (let number: u32 = 0; number < pieces; number++) {
    const to = workerAt(worker) + W_PLACED + placedCount * PLACED_BYTES;
    const part = min<u32>(size, length - start);
    if (headerBytes + part > maxFrame(p)) return TOO_BIG;
    const outcome = placeFrame(worker, port, ring, f, headerBytes + part);
    if (outcome !== PLACED) return outcome;
    const isLast = number + 1 === pieces;
    store<u32>(
      to + PLACED_FLAGS,
      PLACED_F_PIECE | (isLast ? PLACED_F_LAST : 0) | (mayBePartial ? 0 : PLACED_F_CHECKSUM),
    );
    store<u32>(to + PLACED_PIECE_HEADERS, headerBytes);
    store<u32>(to + PLACED_PIECE_START, start);
    store<u32>(to + PLACED_PIECE_BYTES, part);
    store<u32>(to + PLACED_PIECE_NUMBER, number);
    if (mayBePartial) {
      store<u8>(to + PLACED_HEADER, <u8> HDR_F_NEEDS_CSUM);
      store<u32>(to + PLACED_HEADER + 6, load<u32>(f + FRAME_HEADER + 6));
    }
    start += part;
  }
  count(worker, port, C_SEGMENTED, 1);
  return PLACED;
}

// The virtio-net header of a frame that is delivered whole, behind `placeFrame`.
function writeHeader(worker: u32, port: u32, f: u32): void {
  const to = workerAt(worker) + W_PLACED + (placedCount - 1) * PLACED_BYTES;
  if (load<u32>(f + FRAME_HEADERS) === 0) return;
  if (load<u32>(portAt(port) + PORT_FLAGS) & PORT_F_GUEST_CSUM) {
    store<u64>(to + PLACED_HEADER, load<u64>(f + FRAME_HEADER));
    store<u16>(to + PLACED_HEADER + 8, load<u16>(f + FRAME_HEADER + 8));
  } else {
    store<u32>(to + PLACED_FLAGS, PLACED_F_CHECKSUM);
    count(worker, port, C_CHECKSUMMED, 1);
  }
}

// All or nothing: when a frame cannot be placed, the chains it took stay in the ring.
function placeFrame(worker: u32, port: u32, ring: u32, f: u32, frameBytes: u32): u32 {
  const w = workerAt(worker);
  const p = portAt(port);
  const r = ringAt(ring);
  const roof = w + W_WRITES + MAX_SEGMENTS * SEGMENT_BYTES;
  const headerBytes = load<u32>(p + PORT_HEADER_BYTES);
  const isMergeable = (load<u32>(p + PORT_FLAGS) & PORT_F_MERGEABLE) !== 0;
  const wanted = headerBytes + frameBytes;
  let at = position;
  let used = usedCount;
  let writes = nextWrite;
  let missing = wanted;
  let buffers: u32 = 0;
  let hasLookedAgain = false;

  while (missing > 0) {
    // A guest that marks descriptors of a packed ring anew behind us could offer chains without end,
    // and W_USED holds no more than a ring has.
    if (used >= load<u32>(r + RING_SIZE)) return NO_BUFFER;
    const outcome = take(w, p, r, at, WRITABLE, missing, writes, roof);
    if (outcome === NONE) {
      // The guest may have posted buffers since the burst began.
      if (hasLookedAgain || look(p, r) === CORRUPT) return NO_BUFFER;
      hasLookedAgain = true;
      continue;
    }
    if (outcome === BROKEN) {
      breakRing(worker, ring, FAULT_CHAIN);
      return STUCK;
    }
    at = advance(p, r, at, chainSlots);
    const element = w + W_USED + used * USED_BYTES;
    store<u32>(element + USED_ID, chainId);
    store<u32>(element + USED_LENGTH, chainBytes);
    store<u32>(element + USED_SLOTS, chainSlots);
    used++;
    // VIRTIO 1.2, 5.1.6.3.2: each buffer holds at least the header.
    if (outcome === UNSOUND || (buffers === 0 && chainBytes < headerBytes)) {
      count(worker, port, C_BAD_RX_CHAIN, 1);
      // It goes back empty, and with it what the frame took before: the buffers of one frame must
      // follow each other. The frame starts again behind it.
      for (let i = usedCount; i < used; i++) {
        store<u32>(w + W_USED + i * USED_BYTES + USED_LENGTH, 0);
      }
      position = at;
      usedCount = used;
      writes = nextWrite;
      missing = wanted;
      buffers = 0;
      continue;
    }
    if (chainBytes < missing && !isMergeable) return TOO_BIG;
    buffers++;
    missing -= chainBytes;
    writes = segmentsEnd;
  }

  const to = w + W_PLACED + placedCount * PLACED_BYTES;
  store<u32>(to + PLACED_FRAME, f);
  store<u32>(to + PLACED_WRITES, nextWrite);
  store<u32>(to + PLACED_WRITE_COUNT, (writes - nextWrite) / SEGMENT_BYTES);
  store<u32>(to + PLACED_HEADER_BYTES, headerBytes);
  store<u64>(to + PLACED_HEADER, 0);
  // VIRTIO 1.2, 5.1.6.4: num_buffers, at the end of the 12 byte header.
  store<u32>(to + PLACED_HEADER + 8, buffers << 16);
  store<u32>(to + PLACED_FLAGS, 0);
  placedCount++;
  nextWrite = writes;
  position = at;
  usedCount = used;
  return PLACED;
}
