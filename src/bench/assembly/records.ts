/**
 * Where the records of the generator's memory are.
 */
import {
  BUFFER_STRIDE,
  DIRECTION_BYTES,
  DIRECTIONS,
  FLOW_BYTES,
  FLOWS,
  MAX_FLOWS,
  RING_BUFFERS,
  RING_BYTES,
  RINGS,
  SETUP_RING_SIZE,
} from "../memory_layout.ts";

/** Buffers that are neighbours are 2 to the power of this. */
const NEIGHBOURS_SHIFT: u32 = 2;

/** The record of a port's receive ring. */
export function receiveRing(port: u32): u32 {
  return RINGS + 2 * port * RING_BYTES;
}

/** The record of a port's transmit ring. */
export function transmitRing(port: u32): u32 {
  return RINGS + (2 * port + 1) * RING_BYTES;
}

/** The record of a direction. */
export function directionAt(direction: u32): u32 {
  return DIRECTIONS + direction * DIRECTION_BYTES;
}

/** The record of a flow. */
export function flowAt(direction: u32, flow: u32): u32 {
  return FLOWS + (direction * MAX_FLOWS + flow) * FLOW_BYTES;
}

/**
 * Where a buffer of a ring begins: four that follow each other in the ring are neighbours in memory,
 * the next four lie anywhere, as with drivers that take buffers from a pool. All in a row would come
 * into the cache before they are needed, and the back-end would look faster than it is (ADR 18).
 */
export function bufferAddress(r: u32, buffer: u32): u32 {
  const mask = (load<u32>(SETUP_RING_SIZE) - 1) >> NEIGHBOURS_SHIFT;
  // Each step is reversible within the mask, so no place is taken twice.
  let group = ((buffer >> NEIGHBOURS_SHIFT) * 167 + 13) & mask;
  group = ((group ^ (group >> 3) ^ (group >> 5)) * 91) & mask;
  const place = group << NEIGHBOURS_SHIFT | (buffer & ((1 << NEIGHBOURS_SHIFT) - 1));
  return load<u32>(r + RING_BUFFERS) + place * BUFFER_STRIDE;
}
