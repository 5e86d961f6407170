/**
 * Takes a burst of chains from a guest's transmit queue: heads, then descriptors, then headers.
 *
 * Each pass touches one kind of guest memory for the whole burst, so that the cache misses of
 * independent frames overlap. What is decided on (virtio-net header, first bytes of the frame) is
 * read once into the frame record and delivered from there: a guest that changes it between check
 * and use changes nothing.
 */
import {
  BURST,
  C_CALLS,
  C_DROP_BAD_CHAIN,
  C_DROP_DISABLED,
  C_DROP_RUNT,
  C_RECEIVED_BYTES,
  C_RECEIVED_FRAMES,
  FAULT_AVAIL_INDEX,
  FAULT_CHAIN,
  FRAME_BYTES,
  FRAME_DROP,
  FRAME_FLOW,
  FRAME_HEADER,
  FRAME_HEADERS,
  FRAME_LENGTH,
  FRAME_SEGMENT_COUNT,
  FRAME_SEGMENTS,
  FRAME_SNAPSHOT,
  MAX_FRAME_BYTES,
  MAX_REGIONS,
  MAX_RING_SIZE,
  MAX_SEGMENTS,
  MAX_SNAPSHOT_BYTES,
  MIN_FRAME_BYTES,
  PORT_HEADER_BYTES,
  RING_F_ENABLED,
  RING_F_STARTED,
  RING_FAULT,
  RING_FLAGS,
  RING_NEXT_AVAIL,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  SNAPSHOT_BYTES,
  W_FRAMES,
  W_HEADERS,
  W_SEGMENTS,
  W_TAKEN,
} from "../state_layout.ts";
import {
  BROKEN,
  chainBytes,
  chainId,
  chainSlots,
  NONE,
  READABLE,
  segmentsEnd,
  SOUND,
} from "./chain.ts";
import { forward } from "./forward.ts";
import * as guest from "./guest.ts";
import { checkClaims } from "./offload.ts";
import {
  breakRing,
  copyToState,
  count,
  fillFrame,
  portAt,
  portOfRing,
  ringAt,
  workerAt,
} from "./records.ts";
import { advance, CORRUPT, EMPTY, look, publishUsed, take, takeSimple } from "./virtqueue.ts";

/** Segments that one chain can take: one per descriptor, and one more per region border. */
const CHAIN_ROOM: u32 = (MAX_RING_SIZE + MAX_REGIONS) * SEGMENT_BYTES;

/**
 * Takes up to 64 chains, decides where their frames go and leaves that in the Worker's scratch.
 *
 * Runs on the Worker that polls the ring; does not allocate. Call `complete` when the frames are
 * delivered.
 *
 * @param worker The Worker's number.
 * @param ring The ring's number.
 * @returns How many chains were taken; 0 also for a ring that is stopped or broken.
 */
export function receive(worker: u32, ring: u32): u32 {
  const r = ringAt(ring);
  const flags = atomic.load<u32>(r + RING_FLAGS);
  if ((flags & RING_F_STARTED) === 0 || load<u32>(r + RING_FAULT) !== 0) return 0;
  const port = portOfRing(ring);
  const p = portAt(port);
  const found = look(p, r);
  if (found === EMPTY) return 0;
  if (found === CORRUPT) {
    breakRing(worker, ring, FAULT_AVAIL_INDEX);
    return 0;
  }
  const w = workerAt(worker);
  const taken = takeChains(worker, w, p, ring, r);
  if (flags & RING_F_ENABLED) {
    takeHeaders(w, p, taken);
  } else {
    // vhost-user, "Ring states": a started but disabled transmit queue is drained and dropped.
    for (let i: u32 = 0; i < taken; i++) {
      store<u32>(w + W_FRAMES + i * FRAME_BYTES + FRAME_DROP, C_DROP_DISABLED);
    }
  }
  store<u32>(w + W_TAKEN, taken);
  countReceived(worker, port, w, taken);
  forward(worker, port, taken);
  return taken;
}

/**
 * Decides where a frame goes that control has put into the first frame record, as if it came from a
 * port.
 *
 * Runs on the main thread under control's own number; does not allocate.
 *
 * @param worker Control's number.
 * @param port The port's number.
 */
export function announce(worker: u32, port: u32): void {
  const w = workerAt(worker);
  store<u32>(w + W_TAKEN, 1);
  countReceived(worker, port, w, 1);
  forward(worker, port, 1);
}

/**
 * Gives the chains of the last burst back to the guest.
 *
 * Runs on the Worker that took them; does not allocate.
 *
 * @param worker The Worker's number.
 * @param ring The ring's number.
 * @returns Whether the guest must be called.
 */
export function complete(worker: u32, ring: u32): bool {
  const w = workerAt(worker);
  const port = portOfRing(ring);
  // VIRTIO 1.2, 5.1.6.2: the device writes nothing into a transmit chain, so the length is 0.
  const taken = load<u32>(w + W_TAKEN);
  const mustCall = publishUsed(portAt(port), ringAt(ring), w + W_FRAMES, taken, FRAME_BYTES);
  if (mustCall) count(worker, port, C_CALLS, 1);
  return mustCall;
}

// Stops early when the segments of a further chain might not fit; the rest waits for the next turn.
function takeChains(worker: u32, w: u32, p: u32, ring: u32, r: u32): u32 {
  const limit = load<u32>(p + PORT_HEADER_BYTES) + MAX_FRAME_BYTES;
  const roof = w + W_SEGMENTS + MAX_SEGMENTS * SEGMENT_BYTES;
  let taken = takeSimple(w, p, r, limit, w + W_SEGMENTS);
  let segments = w + W_SEGMENTS + taken * SEGMENT_BYTES;
  let position = advance(p, r, load<u32>(r + RING_NEXT_AVAIL), taken);
  for (; taken < <u32> BURST && roof - segments >= <u32> CHAIN_ROOM; taken++) {
    const outcome = take(w, p, r, position, READABLE, limit, segments, roof);
    if (outcome === NONE) break;
    if (outcome === BROKEN) {
      breakRing(worker, ring, FAULT_CHAIN);
      break;
    }
    const f = w + W_FRAMES + taken * FRAME_BYTES;
    position = advance(p, r, position, chainSlots);
    const amount = (segmentsEnd - segments) / SEGMENT_BYTES;
    fillFrame(f, chainId, chainSlots, chainBytes, segments, amount);
    if (outcome === SOUND) segments = segmentsEnd;
    else store<u32>(f + FRAME_DROP, C_DROP_BAD_CHAIN);
  }
  store<u32>(r + RING_NEXT_AVAIL, position);
  return taken;
}

function takeHeaders(w: u32, p: u32, taken: u32): void {
  const headerBytes = load<u32>(p + PORT_HEADER_BYTES);
  for (let i: u32 = 0; i < taken; i++) {
    const f = w + W_FRAMES + i * FRAME_BYTES;
    if (load<u32>(f + FRAME_DROP) !== 0) continue;
    const length = load<u32>(f + FRAME_LENGTH) - headerBytes;
    // Unsigned: a chain shorter than its header wraps to a huge length.
    if (length < <u32> MIN_FRAME_BYTES || length > <u32> MAX_FRAME_BYTES) {
      store<u32>(f + FRAME_DROP, C_DROP_RUNT);
      continue;
    }
    store<u32>(f + FRAME_LENGTH, length);
    takeHeader(f, headerBytes, min<u32>(length, SNAPSHOT_BYTES));
    // Flags and GSO type: zero for a plain frame, and then nothing else of the header counts.
    if (load<u16>(f + FRAME_HEADER) !== 0) takeOffload(w, p, f, i);
  }
}

// A frame with an offload: its claims are checked, and more of it is read, because a receiver that
// lacks the offload gets other headers.
function takeOffload(w: u32, p: u32, f: u32, i: u32): void {
  const drop = checkClaims(p, f);
  store<u32>(f + FRAME_DROP, drop);
  if (drop !== 0 || load<u8>(f + FRAME_HEADER) === 0) return;
  const headers = w + W_HEADERS + i * MAX_SNAPSHOT_BYTES;
  const known = min<u32>(load<u32>(f + FRAME_LENGTH), MAX_SNAPSHOT_BYTES);
  memory.copy(headers, f + FRAME_SNAPSHOT, SNAPSHOT_BYTES);
  if (known > <u32> SNAPSHOT_BYTES) gather(f, headers + SNAPSHOT_BYTES, known - SNAPSHOT_BYTES);
  store<u32>(f + FRAME_HEADERS, headers);
}

// The usual chain has header and first bytes in its first segment: five loads. Reading up to
// OVERREAD_BYTES past the segment is harmless: it is the same guest's memory, and what lies behind
// the frame's length is never delivered.
function takeHeader(f: u32, headerBytes: u32, snapshotBytes: u32): void {
  const segment = load<u32>(f + FRAME_SEGMENTS);
  const length = load<u32>(segment + SEGMENT_LENGTH);
  const wanted = headerBytes + snapshotBytes;
  if (length < wanted) {
    store<u32>(f + FRAME_FLOW, 0);
    gather(f, f + FRAME_HEADER, headerBytes);
    gather(f, f + FRAME_SNAPSHOT, snapshotBytes);
    return;
  }
  const from = load<u64>(segment + SEGMENT_LOCAL);
  const to = f + FRAME_SNAPSHOT;
  store<u64>(f + FRAME_HEADER, guest.load64(from));
  // The flow stands behind the header, and is not known yet.
  store<u64>(f + FRAME_HEADER + 8, guest.load32(from + 8));
  const frame = from + headerBytes;
  v128.store(to, guest.load128(frame));
  v128.store(to, guest.load128(frame + 16), 16);
  v128.store(to, guest.load128(frame + 32), 32);
  v128.store(to, guest.load128(frame + 48), 48);
  store<u64>(segment + SEGMENT_LOCAL, from + wanted);
  store<u32>(segment + SEGMENT_LENGTH, length - wanted);
}

// Copies the next `length` bytes of the chain into state memory and takes them off its segments.
function gather(f: u32, to: u32, length: u32): void {
  let segment = load<u32>(f + FRAME_SEGMENTS);
  let segments = load<u32>(f + FRAME_SEGMENT_COUNT);
  while (length > 0) {
    const local = load<u64>(segment + SEGMENT_LOCAL);
    const there = load<u32>(segment + SEGMENT_LENGTH);
    const part = min<u32>(there, length);
    copyToState(to, local, part);
    to += part;
    length -= part;
    if (part < there) {
      store<u64>(segment + SEGMENT_LOCAL, local + part);
      store<u32>(segment + SEGMENT_LENGTH, there - part);
    } else {
      segment += SEGMENT_BYTES;
      segments--;
    }
  }
  store<u32>(f + FRAME_SEGMENTS, segment);
  store<u32>(f + FRAME_SEGMENT_COUNT, segments);
}

function countReceived(worker: u32, port: u32, w: u32, taken: u32): void {
  let frames: u64 = 0;
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < taken; i++) {
    const f = w + W_FRAMES + i * FRAME_BYTES;
    const drop = load<u32>(f + FRAME_DROP);
    if (drop !== 0) {
      count(worker, port, drop, 1);
    } else {
      frames++;
      bytes += load<u32>(f + FRAME_LENGTH);
    }
  }
  count(worker, port, C_RECEIVED_FRAMES, frames);
  count(worker, port, C_RECEIVED_BYTES, bytes);
}
