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
  C_DROP_NO_BUFFER,
  C_DROP_NOT_READY,
  C_DROP_TOO_BIG,
  C_TRANSMITTED_BYTES,
  C_TRANSMITTED_FRAMES,
  FAULT_AVAIL_INDEX,
  FAULT_HEAD,
  FRAME_BYTES,
  FRAME_LENGTH,
  MAX_SEGMENTS,
  PLACED_BYTES,
  PLACED_FRAME,
  PLACED_HEADER,
  PLACED_HEADER_BYTES,
  PLACED_WRITE_COUNT,
  PLACED_WRITES,
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
  W_FRAMES,
  W_MASKS,
  W_PLACED,
  W_PLACED_COUNT,
  W_RX_RING,
  W_USED,
  W_USED_COUNT,
  W_WRITES,
} from "../state_layout.ts";
import { chainBytes, segmentsEnd, takeSingle, walk, WRITABLE } from "./chain.ts";
import { breakRing, count, portAt, ringAt, workerAt } from "./records.ts";
import { availableCount, availableHead, publishUsed, writeUsed } from "./split_ring.ts";

/** How {@linkcode placeFrame} ended. */
const PLACED: u32 = 0;
const NO_BUFFER: u32 = 1;
const TOO_BIG: u32 = 2;
const BROKEN: u32 = 3;

/** Chains of the receive queue used up so far in this reservation. */
let chainsUsed: u32 = 0;
/** Used elements written so far to the Worker's scratch. */
let usedCount: u32 = 0;
/** Where the next write segment goes. */
let nextWrite: u32 = 0;

/**
 * Reserves receive buffers for the frames that the current burst sends to a port.
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
  const frames = load<u64>(mask);
  store<u64>(mask, 0);
  store<u32>(w + W_PLACED_COUNT, 0);

  const queues = load<u32>(p + PORT_RX_COUNT);
  if (queues === 0) return notReady(worker, port, frames);
  const ring = port * RINGS_PER_PORT + <u32> load<u8>(p + PORT_RX_PAIRS + pair % queues) * 2;
  const r = ringAt(ring);
  lock(r);
  const flags = atomic.load<u32>(r + RING_FLAGS);
  const wanted: u32 = RING_F_STARTED | RING_F_ENABLED;
  if ((flags & wanted) !== wanted || load<u32>(r + RING_FAULT) !== 0) {
    unlock(r);
    return notReady(worker, port, frames);
  }
  store<u32>(w + W_RX_RING, ring);
  place(worker, port, ring, frames);
  store<u32>(r + RING_NEXT_AVAIL, (load<u32>(r + RING_NEXT_AVAIL) + chainsUsed) & 0xffff);
  store<u32>(w + W_USED_COUNT, usedCount);
  if (usedCount === 0) unlock(r);
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
  for (let i: u32 = 0; i < used; i++) {
    const element = w + W_USED + i * 8;
    writeUsed(r, i, load<u32>(element), load<u32>(element + 4));
  }
  const mustCall = publishUsed(portAt(port), r, used);
  unlock(r);
  if (mustCall) count(worker, port, C_CALLS, 1);
  return mustCall;
}

// Control never takes this lock: it waits until no Worker is inside a turn.
function lock(r: u32): void {
  while (atomic.cmpxchg<u32>(r + RING_LOCK, 0, 1) !== 0) {
    // Another Worker is filling this queue: a burst takes microseconds.
  }
}

function unlock(r: u32): void {
  atomic.store<u32>(r + RING_LOCK, 0);
}

function notReady(worker: u32, port: u32, frames: u64): u32 {
  count(worker, port, C_DROP_NOT_READY, popcnt<u64>(frames));
  return 0;
}

function place(worker: u32, port: u32, ring: u32, frames: u64): void {
  const w = workerAt(worker);
  const r = ringAt(ring);
  let available = availableCount(r);
  let bytes: u64 = 0;
  let placed: u32 = 0;
  chainsUsed = 0;
  usedCount = 0;
  nextWrite = w + W_WRITES;
  if (available > load<u32>(r + RING_SIZE)) {
    breakRing(worker, ring, FAULT_AVAIL_INDEX);
    count(worker, port, C_DROP_NOT_READY, popcnt<u64>(frames));
    return;
  }
  while (frames !== 0) {
    const f = w + W_FRAMES + <u32> ctz<u64>(frames) * FRAME_BYTES;
    const to = w + W_PLACED + placed * PLACED_BYTES;
    let outcome = placeFrame(worker, port, ring, f, to, available);
    if (outcome === NO_BUFFER) {
      // The guest may have posted buffers since the burst began.
      const again = availableCount(r);
      if (again > available && again <= load<u32>(r + RING_SIZE)) {
        available = again;
        outcome = placeFrame(worker, port, ring, f, to, available);
      }
    }
    if (outcome === PLACED) {
      placed++;
      bytes += load<u32>(f + FRAME_LENGTH);
    } else if (outcome === TOO_BIG) {
      count(worker, port, C_DROP_TOO_BIG, 1);
    } else {
      // No later frame fits either, unless it is smaller: dropping the tail keeps the order plain.
      count(worker, port, C_DROP_NO_BUFFER, popcnt<u64>(frames));
      break;
    }
    frames &= frames - 1;
  }
  store<u32>(w + W_PLACED_COUNT, placed);
  count(worker, port, C_TRANSMITTED_FRAMES, placed);
  count(worker, port, C_TRANSMITTED_BYTES, bytes);
}

// All or nothing: when the frame cannot be placed, the chains it took are given back to the ring.
function placeFrame(
  worker: u32,
  port: u32,
  ring: u32,
  f: u32,
  to: u32,
  available: u32,
): u32 {
  const w = workerAt(worker);
  const p = portAt(port);
  const r = ringAt(ring);
  const roof = w + W_WRITES + MAX_SEGMENTS * SEGMENT_BYTES;
  const headerBytes = load<u32>(p + PORT_HEADER_BYTES);
  const isMergeable = (load<u32>(p + PORT_FLAGS) & PORT_F_MERGEABLE) !== 0;
  let writes = nextWrite;
  let chains = chainsUsed;
  let used = usedCount;
  const wanted = headerBytes + load<u32>(f + FRAME_LENGTH);
  let missing = wanted;
  let buffers: u32 = 0;

  while (missing > 0) {
    if (chains === available) return NO_BUFFER;
    const head = availableHead(r, chains);
    if (head >= load<u32>(r + RING_SIZE)) {
      breakRing(worker, ring, FAULT_HEAD);
      return BROKEN;
    }
    chains++;
    const isSound = takeSingle(p, r, head, WRITABLE, missing, writes) ||
      walk(w, p, r, head, WRITABLE, missing, writes, roof);
    store<u32>(w + W_USED + used * 8, head);
    store<u32>(w + W_USED + used * 8 + 4, chainBytes);
    used++;
    // VIRTIO 1.2, 5.1.6.3.2: each buffer holds at least the header.
    if (!isSound || (buffers === 0 && chainBytes < headerBytes)) {
      count(worker, port, C_BAD_RX_CHAIN, 1);
      // It goes back empty, and with it what the frame took before: the buffers of one frame must
      // follow each other. The frame starts again behind it.
      for (let i = usedCount; i < used; i++) store<u32>(w + W_USED + i * 8 + 4, 0);
      chainsUsed = chains;
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

  store<u32>(to + PLACED_FRAME, f);
  store<u32>(to + PLACED_WRITES, nextWrite);
  store<u32>(to + PLACED_WRITE_COUNT, (writes - nextWrite) / SEGMENT_BYTES);
  store<u32>(to + PLACED_HEADER_BYTES, headerBytes);
  store<u64>(to + PLACED_HEADER, 0);
  // VIRTIO 1.2, 5.1.6.4: num_buffers, at the end of the 12 byte header.
  store<u32>(to + PLACED_HEADER + 8, buffers << 16);
  nextWrite = writes;
  chainsUsed = chains;
  usedCount = used;
  return PLACED;
}
