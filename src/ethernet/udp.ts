/**
 * UDP over IPv4 (RFC 768).
 *
 * @module
 */
import { struct, u16be } from "../layout/struct.ts";
import { internetChecksum, pseudoHeaderSum } from "./checksum.ts";
import type { Ipv4Packet } from "./ipv4.ts";

/** The header (RFC 768, "Format"). */
export const UDP = struct("struct udphdr", 8, {
  sourcePort: u16be,
  destinationPort: u16be,
  bytes: u16be,
  checksum: u16be,
});

/** UDP (IANA, "Protocol Numbers"). */
export const PROTOCOL_UDP = 17;
/** A checksum of zero says that there is none; a computed zero is sent as this (RFC 768, "Fields"). */
const CHECKSUM_ZERO = 0xffff;

/** What goes from one port to another. */
export interface Datagram {
  /** Sender's port. */
  readonly sourcePort: number;
  /** Receiver's port. */
  readonly destinationPort: number;
  /** What follows the header. */
  readonly payload: Uint8Array;
}

/**
 * Makes a packet that holds a datagram.
 *
 * @param source Sender's IPv4 address.
 * @param destination Receiver's IPv4 address.
 * @param datagram What to send.
 */
export function encodeUdp(
  source: Uint8Array,
  destination: Uint8Array,
  { sourcePort, destinationPort, payload: content }: Datagram,
): Ipv4Packet {
  const payload = new Uint8Array(UDP.size + content.length);
  payload.set(content, UDP.size);
  const view = new DataView(payload.buffer);
  const header = { sourcePort, destinationPort, bytes: payload.length, checksum: 0 };
  UDP.write(view, 0, header);
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL_UDP, payload.length);
  const checksum = internetChecksum(payload, pseudo) || CHECKSUM_ZERO;
  UDP.write(view, 0, { ...header, checksum });
  return { source, destination, protocol: PROTOCOL_UDP, payload };
}

/**
 * Takes a packet apart.
 *
 * @returns The datagram, or null when the packet is something else or damaged.
 */
export function decodeUdp({ source, destination, protocol, payload }: Ipv4Packet): Datagram | null {
  if (protocol !== PROTOCOL_UDP || payload.length < UDP.size) return null;
  const header = UDP.read(new DataView(payload.buffer, payload.byteOffset, payload.byteLength));
  if (header.bytes < UDP.size || header.bytes > payload.length) return null;
  const whole = payload.subarray(0, header.bytes);
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL_UDP, whole.length);
  if (header.checksum !== 0 && internetChecksum(whole, pseudo) !== 0) return null;
  const { sourcePort, destinationPort } = header;
  return { sourcePort, destinationPort, payload: whole.subarray(UDP.size) };
}
