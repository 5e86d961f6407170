/**
 * Echo requests and replies (RFC 792).
 *
 * @module
 */
import { struct, u16be, u8 } from "../layout/struct.ts";
import { internetChecksum } from "./checksum.ts";

/** The header of an echo (RFC 792, "Echo or Echo Reply Message"). */
export const ICMP_ECHO = struct("struct icmphdr", 8, {
  type: u8,
  code: u8,
  checksum: u16be,
  identifier: u16be,
  sequence: u16be,
});

/** Answer to an echo request (RFC 792). */
export const ICMP_ECHO_REPLY = 0;
/** Send this back (RFC 792). */
export const ICMP_ECHO_REQUEST = 8;

/** An echo request or reply. */
export interface Echo {
  /** ICMP_ECHO_REQUEST or ICMP_ECHO_REPLY. */
  readonly type: number;
  /** Whose it is. */
  readonly identifier: number;
  /** Which of them. */
  readonly sequence: number;
  /** What is to come back unchanged. */
  readonly data: Uint8Array;
}

/** Makes the bytes of an echo. */
export function encodeEcho({ type, identifier, sequence, data }: Echo): Uint8Array {
  const packet = new Uint8Array(ICMP_ECHO.size + data.length);
  packet.set(data, ICMP_ECHO.size);
  const view = new DataView(packet.buffer);
  const header = { type, code: 0, checksum: 0, identifier, sequence };
  ICMP_ECHO.write(view, 0, header);
  ICMP_ECHO.write(view, 0, { ...header, checksum: internetChecksum(packet) });
  return packet;
}

/**
 * Takes an ICMP packet apart.
 *
 * @param packet The payload of an IPv4 packet.
 * @returns The echo, or null when it is something else or damaged.
 */
export function decodeEcho(packet: Uint8Array): Echo | null {
  if (packet.length < ICMP_ECHO.size || internetChecksum(packet) !== 0) return null;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const { type, code, identifier, sequence } = ICMP_ECHO.read(view);
  if (code !== 0 || (type !== ICMP_ECHO_REQUEST && type !== ICMP_ECHO_REPLY)) return null;
  return { type, identifier, sequence, data: packet.subarray(ICMP_ECHO.size) };
}
