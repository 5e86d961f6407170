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
  C_DROP_BAD_OFFLOAD,
  C_DROP_DISABLED,
  C_DROP_RUNT,
  C_RECEIVED_BYTES,
  C_RECEIVED_FRAMES,
  FAULT_AVAIL_INDEX,
  FAULT_HEAD,
  FRAME_BYTES,
  FRAME_DROP,
  FRAME_HEAD,
  FRAME_HEADER,
  FRAME_LENGTH,
  FRAME_SEGMENT_COUNT,
  FRAME_SEGMENTS,
  FRAME_SNAPSHOT,
  MAX_FRAME_BYTES,
  MAX_REGIONS,
  MAX_SEGMENTS,
  MIN_FRAME_BYTES,
  PORT_HEADER_BYTES,
  RING_F_ENABLED,
  RING_F_STARTED,
  RING_FAULT,
  RING_FLAGS,
  RING_NEXT_AVAIL,
  RING_SIZE,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  SNAPSHOT_BYTES,
  W_FRAMES,
  W_SEGMENTS,
  W_TAKEN,
} from "../state_layout.ts";
import { chainBytes, READABLE, segmentsEnd, takeSingle, walk } from "./chain.ts";
import { forward } from "./forward.ts";
import * as guest from "./guest.ts";
import { breakRing, copyToState, count, portAt, portOfRing, ringAt, workerAt } from "./records.ts";
import { availableCount, availableHead, publishUsed, writeUsed } from "./split_ring.ts";

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
  const available = availableCount(r);
  if (available === 0) return 0;
  if (available > load<u32>(r + RING_SIZE)) {
    breakRing(worker, ring, FAULT_AVAIL_INDEX);
    return 0;
  }
  const w = workerAt(worker);
  const heads = min<u32>(available, BURST);
  if (!takeHeads(w, r, heads)) {
    breakRing(worker, ring, FAULT_HEAD);
    return 0;
  }
  const p = portAt(portOfRing(ring));
  const taken = takeChains(w, p, r, heads);
  if (flags & RING_F_ENABLED) {
    takeHeaders(w, p, taken);
  } else {
    // vhost-user, "Ring states": a started but disabled transmit queue is drained and dropped.
    for (let i: u32 = 0; i < taken; i++) {
      store<u32>(w + W_FRAMES + i * FRAME_BYTES + FRAME_DROP, C_DROP_DISABLED);
    }
  }
  store<u32>(r + RING_NEXT_AVAIL, (load<u32>(r + RING_NEXT_AVAIL) + taken) & 0xffff);
  store<u32>(w + W_TAKEN, taken);
  countReceived(worker, portOfRing(ring), w, taken);
  forward(worker, portOfRing(ring), taken);
  return taken;
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
  const r = ringAt(ring);
  const w = workerAt(worker);
  const taken = load<u32>(w + W_TAKEN);
  for (let i: u32 = 0; i < taken; i++) {
    // VIRTIO 1.2, 5.1.6.2: the device writes nothing into a transmit chain, so the length is 0.
    writeUsed(r, i, load<u32>(w + W_FRAMES + i * FRAME_BYTES + FRAME_HEAD), 0);
  }
  const port = portOfRing(ring);
  const mustCall = publishUsed(portAt(port), r, taken);
  if (mustCall) count(worker, port, C_CALLS, 1);
  return mustCall;
}

function takeHeads(w: u32, r: u32, heads: u32): bool {
  const size = load<u32>(r + RING_SIZE);
  for (let i: u32 = 0; i < heads; i++) {
    const head = availableHead(r, i);
    if (head >= size) return false;
    store<u32>(w + W_FRAMES + i * FRAME_BYTES + FRAME_HEAD, head);
  }
  return true;
}

// Stops early when the segments of a further chain might not fit; the rest waits for the next turn.
function takeChains(w: u32, p: u32, r: u32, heads: u32): u32 {
  const limit = load<u32>(p + PORT_HEADER_BYTES) + MAX_FRAME_BYTES;
  const roof = w + W_SEGMENTS + MAX_SEGMENTS * SEGMENT_BYTES;
  const room = (load<u32>(r + RING_SIZE) + MAX_REGIONS) * SEGMENT_BYTES;
  let segments = w + W_SEGMENTS;
  for (let i: u32 = 0; i < heads; i++) {
    if (roof - segments < room) return i;
    const f = w + W_FRAMES + i * FRAME_BYTES;
    const head = load<u32>(f + FRAME_HEAD);
    if (
      takeSingle(p, r, head, READABLE, limit, segments) ||
      walk(w, p, r, head, READABLE, limit, segments, roof)
    ) {
      store<u32>(f + FRAME_DROP, 0);
      store<u32>(f + FRAME_LENGTH, chainBytes);
      store<u32>(f + FRAME_SEGMENTS, segments);
      store<u32>(f + FRAME_SEGMENT_COUNT, (segmentsEnd - segments) / SEGMENT_BYTES);
      segments = segmentsEnd;
    } else {
      store<u32>(f + FRAME_DROP, C_DROP_BAD_CHAIN);
    }
  }
  return heads;
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
    // VIRTIO 1.2, 5.1.6.2.1: neither NEEDS_CSUM nor a GSO type without the feature for it.
    // Flags that the device does not recognise are ignored (5.1.6.2.2).
    if ((load<u16>(f + FRAME_HEADER) & 0xff01) !== 0) {
      store<u32>(f + FRAME_DROP, C_DROP_BAD_OFFLOAD);
    }
  }
}

// The usual chain has header and first bytes in its first segment: five loads. Reading up to
// OVERREAD_BYTES past the segment is harmless: it is the same guest's memory, and what lies behind
// the frame's length is never delivered.
function takeHeader(f: u32, headerBytes: u32, snapshotBytes: u32): void {
  const segment = load<u32>(f + FRAME_SEGMENTS);
  const length = load<u32>(segment + SEGMENT_LENGTH);
  const wanted = headerBytes + snapshotBytes;
  if (length < wanted) {
    gather(f, FRAME_HEADER, headerBytes);
    gather(f, FRAME_SNAPSHOT, snapshotBytes);
    return;
  }
  const from = load<u64>(segment + SEGMENT_LOCAL);
  const to = f + FRAME_SNAPSHOT;
  store<u64>(f + FRAME_HEADER, guest.load64(from));
  store<u32>(f + FRAME_HEADER + 8, guest.load32(from + 8));
  const frame = from + headerBytes;
  v128.store(to, guest.load128(frame));
  v128.store(to, guest.load128(frame + 16), 16);
  v128.store(to, guest.load128(frame + 32), 32);
  v128.store(to, guest.load128(frame + 48), 48);
  store<u64>(segment + SEGMENT_LOCAL, from + wanted);
  store<u32>(segment + SEGMENT_LENGTH, length - wanted);
}

// Copies the next `length` bytes of the chain into the frame record and takes them off its segments.
function gather(f: u32, at: u32, length: u32): void {
  let segment = load<u32>(f + FRAME_SEGMENTS);
  let segments = load<u32>(f + FRAME_SEGMENT_COUNT);
  let to = f + at;
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
