/**
 * What all answers of a host have in common: an answer goes to the station that sent the frame, and to
 * nobody else.
 *
 * @module
 */
import { ETHERNET, MIN_FRAME_BYTES } from "../ethernet/frame.ts";

const MAC_BYTES = 6;

/** A view of the same bytes. */
export function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/** Whether bytes are there at a place. */
export function isAt(data: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (data[at + i] !== wanted[i]) return false;
  return true;
}

/** Whether a frame comes from one station: groups send none (IEEE 802-2014, 8.2.2). */
export function isFromStation(frame: Uint8Array): boolean {
  return (frame[ETHERNET.offset.source]! & 1) === 0;
}

/** Whether a frame is for us or for a group: a switch floods frames for others, too. */
export function isHeard(frame: Uint8Array, mac: Uint8Array): boolean {
  return (frame[0]! & 1) !== 0 || isAt(frame, 0, mac);
}

/**
 * Makes a frame for the station that sent another one.
 *
 * @param frame What it sent.
 * @param mac Our Ethernet address.
 * @param payload What follows the Ethernet header, of the same type as in its frame.
 * @param destination Who gets it; the sender unless told otherwise.
 */
export function answerTo(
  frame: Uint8Array,
  mac: Uint8Array,
  payload: Uint8Array,
  destination: Uint8Array = frame.subarray(MAC_BYTES, 2 * MAC_BYTES),
): Uint8Array {
  const answer = new Uint8Array(Math.max(MIN_FRAME_BYTES, ETHERNET.size + payload.length));
  answer.set(frame.subarray(0, ETHERNET.size));
  answer.set(destination);
  answer.set(mac, MAC_BYTES);
  answer.set(payload, ETHERNET.size);
  return answer;
}

/**
 * Turns a frame around where it is: what was for us is for its sender now.
 *
 * @param frame The frame; changed.
 * @param mac Our Ethernet address.
 */
export function turnAround(frame: Uint8Array, mac: Uint8Array): void {
  frame.copyWithin(0, MAC_BYTES, 2 * MAC_BYTES);
  frame.set(mac, MAC_BYTES);
}

/**
 * Swaps two fields of the same length that follow each other. A checksum over both stays right.
 *
 * @param data Where they are; changed.
 * @param at The first field.
 * @param length Bytes of each.
 */
export function swapFields(data: Uint8Array, at: number, length: number): void {
  for (let i = at; i < at + length; i++) {
    [data[i], data[i + length]] = [data[i + length]!, data[i]!];
  }
}

/** The first bytes of a frame, made as long as Ethernet wants it. */
export function cutOrPad(frame: Uint8Array, length: number): Uint8Array {
  if (length >= MIN_FRAME_BYTES) return frame.subarray(0, length);
  const padded = new Uint8Array(MIN_FRAME_BYTES);
  padded.set(frame.subarray(0, length));
  return padded;
}
