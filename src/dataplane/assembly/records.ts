/**
 * Where the records of the state memory are. Addresses are bytes in state memory.
 */
import {
  BRIDGE_BYTES,
  BRIDGES,
  C_RING_FAULTS,
  COUNTER_BLOCK_BYTES,
  COUNTERS,
  FRAME_LENGTH,
  FRAME_SEGMENT_COUNT,
  MAX_FRAME_BYTES,
  MAX_PORTS,
  PLACED_FRAME,
  PLACED_TO,
  PLACED_WRITE_COUNT,
  PORT_BYTES,
  PORT_MAX_FRAME,
  PORTS,
  RING_BYTES,
  RING_FAULT,
  RINGS,
  RINGS_PER_PORT,
  USED_ID,
  USED_SLOTS,
  WORKER_BYTES,
  WORKERS,
} from "../state_layout.ts";
import * as guest from "./guest.ts";

/** The record of port `port`. */
export function portAt(port: u32): u32 {
  return PORTS + port * PORT_BYTES;
}

/** The record of ring `ring` (port * RINGS_PER_PORT + vring index). */
export function ringAt(ring: u32): u32 {
  return RINGS + ring * RING_BYTES;
}

/** The port that ring `ring` belongs to. */
export function portOfRing(ring: u32): u32 {
  return ring / RINGS_PER_PORT;
}

/** The record of Worker `worker`. */
export function workerAt(worker: u32): u32 {
  return WORKERS + worker * WORKER_BYTES;
}

/** The record of bridge `bridge`. */
export function bridgeAt(bridge: u32): u32 {
  return BRIDGES + bridge * BRIDGE_BYTES;
}

/** The largest frame that a port's guest takes, not counting super-packets that it takes whole. */
export function maxFrame(p: u32): u32 {
  const most = load<u32>(p + PORT_MAX_FRAME);
  return most !== 0 ? most : <u32> MAX_FRAME_BYTES;
}

/** Adds to a counter of `port`; only Worker `worker` writes there, so no atomics are needed. */
export function count(worker: u32, port: u32, counter: u32, amount: u64): void {
  const at = COUNTERS + (worker * MAX_PORTS + port) * COUNTER_BLOCK_BYTES + counter;
  store<u64>(at, load<u64>(at) + amount);
}

/**
 * Fills a frame record whose frame lies in segments, and has no offload as far as is known.
 *
 * @param f Address of the frame record.
 * @param id What names the chain.
 * @param slots Ring entries of the chain.
 * @param length Bytes of the chain.
 * @param segments Address of its first segment.
 * @param amount How many segments there are.
 */
export function fillFrame(
  f: u32,
  id: u32,
  slots: u32,
  length: u32,
  segments: u32,
  amount: u32,
): void {
  store<u64>(f + USED_ID, id);
  store<u64>(f + USED_SLOTS, slots);
  store<u64>(f + FRAME_LENGTH, <u64> length | <u64> segments << 32);
  store<u64>(f + FRAME_SEGMENT_COUNT, amount);
}

/**
 * Fills a placement of a plain frame that goes to one place, and the used element for it.
 *
 * @param placed Address of the placement.
 * @param element Address of the used element.
 * @param f Address of the frame record.
 * @param headerBytes Bytes of the receiver's virtio-net header.
 * @param to Where it goes, in the receiver's memory.
 * @param id What names the chain.
 * @param length Bytes written: header and frame.
 */
export function fillPlain(
  placed: u32,
  element: u32,
  f: u32,
  headerBytes: u32,
  to: u64,
  id: u32,
  length: u32,
): void {
  store<u64>(placed + PLACED_FRAME, f);
  store<u64>(placed + PLACED_WRITE_COUNT, <u64> headerBytes << 32);
  store<u64>(placed + PLACED_TO, to);
  store<u64>(element + USED_ID, <u64> id | <u64> length << 32);
  store<u64>(element + USED_SLOTS, 1);
}

/** Quarantines a ring (answer R2): no Worker touches it until it is started anew. */
export function breakRing(worker: u32, ring: u32, fault: u32): void {
  store<u32>(ringAt(ring) + RING_FAULT, fault);
  count(worker, portOfRing(ring), C_RING_FAULTS, 1);
}

/** Copies bytes from guest memory into state memory: exactly `length`, for short and rare pieces. */
export function copyToState(to: u32, from: u64, length: u32): void {
  let done: u32 = 0;
  for (; done + 8 <= length; done += 8) store<u64>(to + done, guest.load64(from + done));
  for (; done < length; done++) store<u8>(to + done, <u8> guest.load8(from + done));
}
