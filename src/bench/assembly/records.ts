/**
 * Where the records of the generator's memory are.
 */
import {
  DIRECTION_BYTES,
  DIRECTIONS,
  FLOW_BYTES,
  FLOWS,
  MAX_FLOWS,
  RING_BYTES,
  RINGS,
} from "../memory_layout.ts";

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
