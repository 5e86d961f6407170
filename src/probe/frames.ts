/**
 * What the probe sends: a frame to itself, so that a switch that learns addresses delivers it to nobody.
 *
 * @module
 */
import { ETHERNET, ETHERTYPE_EXPERIMENT, MIN_FRAME_BYTES } from "../ethernet/frame.ts";
import type { Buffer } from "../virtio/driver_virtqueue.ts";
import {
  BUFFER_BYTES,
  BUFFERS_AT,
  GUEST_ADDRESS,
  type ProbeMemory,
  SECOND_REGION_AT,
} from "./memory.ts";

/** A locally administered address. */
const STATION = Uint8Array.of(2, 0x6c, 0x73, 0x70, 0x72, 1);
/** Bytes of a frame in front of a boundary that it lies across. */
const BEFORE_BOUNDARY = 32;

/**
 * How a frame lies in memory: in one buffer; its header in a buffer of its own; header and frame in
 * different regions; across the boundary of both regions; in the second region.
 */
export type Shape = "plain" | "chain" | "regions" | "straddling" | "second";

/**
 * Writes a frame with its header.
 *
 * @param memory Where.
 * @param slot Which of the buffers.
 * @param headerBytes Length of the header, which is all zero.
 * @param shape How it lies there.
 * @returns The buffers of the chain.
 */
export function writeFrame(
  memory: ProbeMemory,
  slot: number,
  headerBytes: number,
  shape: Shape,
): Buffer[] {
  const places = placesOf(slot, headerBytes, shape);
  const packet = new Uint8Array(headerBytes + MIN_FRAME_BYTES);
  ETHERNET.write(new DataView(packet.buffer), headerBytes, {
    destination: STATION,
    source: STATION,
    type: ETHERTYPE_EXPERIMENT,
  });
  let done = 0;
  return places.map(({ at, length }) => {
    memory.bytes.set(packet.subarray(done, done + length), at);
    done += length;
    return { address: GUEST_ADDRESS + at, length, isWritable: false };
  });
}

function placesOf(slot: number, headerBytes: number, shape: Shape) {
  const at = slotAt(slot);
  const whole = headerBytes + MIN_FRAME_BYTES;
  switch (shape) {
    case "plain":
      return [{ at, length: whole }];
    case "chain":
      return [{ at, length: headerBytes }, { at: at + headerBytes, length: MIN_FRAME_BYTES }];
    case "regions":
      return [{ at, length: headerBytes }, { at: SECOND_REGION_AT, length: MIN_FRAME_BYTES }];
    case "straddling":
      return [{ at: SECOND_REGION_AT - BEFORE_BOUNDARY, length: whole }];
    case "second":
      return [{ at: SECOND_REGION_AT, length: whole }];
  }
}

/** The offset in memory of a buffer. */
export function slotAt(slot: number): number {
  return BUFFERS_AT + slot * BUFFER_BYTES;
}
