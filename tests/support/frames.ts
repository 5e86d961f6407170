/**
 * Frames for tests.
 *
 * @module
 */
import { ETHERNET, ETHERTYPE_EXPERIMENT, parseMac } from "../../src/ethernet/frame.ts";

/** The address of every station. */
export const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** A station's address by number: locally administered, individual. */
export function stationAddress(station: number): string {
  const bytes = [0x02, 0, ...[24, 16, 8, 0].map((shift) => (station >>> shift) & 0xff)];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/**
 * Makes a frame whose payload differs from byte to byte and from mark to mark.
 *
 * @param destination Address to send to.
 * @param source Address to send from.
 * @param length Bytes without the check sequence, at least 14.
 * @param mark Where the pattern starts.
 */
export function makeFrame(
  destination: string,
  source: string,
  length = 60,
  mark = 0,
): Uint8Array<ArrayBuffer> {
  const frame = Uint8Array.from({ length }, (_, i) => (mark + i * 7 + (i >> 8)) & 0xff);
  ETHERNET.write(new DataView(frame.buffer), 0, {
    destination: parseMac(destination),
    source: parseMac(source),
    type: ETHERTYPE_EXPERIMENT,
  });
  return frame;
}
