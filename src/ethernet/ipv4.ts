/**
 * IPv4 headers and addresses (RFC 791).
 *
 * @module
 */
import { bytes, struct, u16be, u8 } from "../layout/struct.ts";
import { internetChecksum } from "./checksum.ts";

/** The header without options (RFC 791, 3.1). */
export const IPV4 = struct("struct iphdr", 20, {
  versionAndWords: u8,
  typeOfService: u8,
  totalBytes: u16be,
  identification: u16be,
  fragment: u16be,
  timeToLive: u8,
  protocol: u8,
  checksum: u16be,
  source: bytes(4),
  destination: bytes(4),
});

/** ICMP (IANA, "Protocol Numbers"). */
export const PROTOCOL_ICMP = 1;

/** Version 4, five words of header: no options (RFC 791, 3.1). */
const VERSION_4_WORDS_5 = 0x45;
/** Do not fragment (RFC 791, 3.1). */
const DONT_FRAGMENT = 0x4000;
/** More fragments follow, or this is not the first (RFC 791, 3.1). */
const FRAGMENT_MASK = 0x3fff;
const TIME_TO_LIVE = 64;

/** Who talks to whom about what. */
export interface Ipv4Packet {
  /** Sender's address, 4 bytes. */
  readonly source: Uint8Array;
  /** Receiver's address, 4 bytes. */
  readonly destination: Uint8Array;
  /** What the payload is. */
  readonly protocol: number;
  /** What follows the header. */
  readonly payload: Uint8Array;
}

/** Makes the bytes of a packet. */
export function encodeIpv4({ source, destination, protocol, payload }: Ipv4Packet): Uint8Array {
  const data = new Uint8Array(IPV4.size + payload.length);
  const view = new DataView(data.buffer);
  const header = {
    versionAndWords: VERSION_4_WORDS_5,
    typeOfService: 0,
    totalBytes: data.length,
    identification: 0,
    fragment: DONT_FRAGMENT,
    timeToLive: TIME_TO_LIVE,
    protocol,
    checksum: 0,
    source,
    destination,
  };
  IPV4.write(view, 0, header);
  const checksum = internetChecksum(data.subarray(0, IPV4.size));
  IPV4.write(view, 0, { ...header, checksum });
  data.set(payload, IPV4.size);
  return data;
}

/**
 * Looks whether a whole packet is there, and copies nothing of it.
 *
 * @param data What follows an Ethernet header; bytes behind the packet are padding.
 * @returns Bytes of the packet with its header; null when it is damaged, has options or is a fragment.
 */
export function ipv4Length(data: Uint8Array): number | null {
  if (data.length < IPV4.size || data[0] !== VERSION_4_WORDS_5) return null;
  const view = new DataView(data.buffer, data.byteOffset, IPV4.size);
  const totalBytes = u16be.get(view, IPV4.offset.totalBytes);
  const isWhole = (u16be.get(view, IPV4.offset.fragment) & FRAGMENT_MASK) === 0 &&
    totalBytes >= IPV4.size && totalBytes <= data.length &&
    internetChecksum(data.subarray(0, IPV4.size)) === 0;
  return isWhole ? totalBytes : null;
}

/**
 * Takes a packet apart.
 *
 * @param data What follows an Ethernet header; bytes behind the packet are padding.
 * @returns The packet, or null when it is damaged, has options or is a fragment.
 */
export function decodeIpv4(data: Uint8Array): Ipv4Packet | null {
  const length = ipv4Length(data);
  if (length === null) return null;
  const header = IPV4.read(new DataView(data.buffer, data.byteOffset, data.byteLength));
  const { source, destination, protocol } = header;
  return { source, destination, protocol, payload: data.subarray(IPV4.size, length) };
}

/**
 * Reads an address as people write it.
 *
 * @param text Four numbers with dots between them.
 * @throws {RangeError} When it is something else.
 */
export function parseIpv4(text: string): Uint8Array {
  const parts = text.split(".");
  const isAddress = parts.length === 4 &&
    parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256);
  if (!isAddress) throw new RangeError(`Cannot read "${text}" as an IPv4 address`);
  return Uint8Array.from(parts, Number);
}

/** Writes an address as people read it. */
export function formatIpv4(address: Uint8Array): string {
  return address.join(".");
}
