/**
 * IPv6 headers and addresses (RFC 8200, RFC 4291).
 *
 * @module
 */
import { bytes, struct, u16be, u32be, u8 } from "../layout/struct.ts";

/** The header (RFC 8200, 3). */
export const IPV6 = struct("struct ipv6hdr", 40, {
  versionAndFlow: u32be,
  payloadBytes: u16be,
  nextHeader: u8,
  hopLimit: u8,
  source: bytes(16),
  destination: bytes(16),
});

/** ICMPv6 (IANA, "Protocol Numbers"). */
export const PROTOCOL_ICMP6 = 58;
/** Packets of neighbour discovery that did not pass a router (RFC 4861, 7.1.1). */
export const HOP_LIMIT_ON_LINK = 255;

const VERSION_6 = 6;
/** ff02::1, every node on the link (RFC 4291, 2.7.1). */
export const ALL_NODES: Uint8Array = Uint8Array.of(
  0xff,
  2,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  1,
);
/** ff02::1:ff00:0/104, to which the last three bytes of an address are added (RFC 4291, 2.7.1). */
const SOLICITED_NODE = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff] as const;
const WORDS = 8;

/** Who talks to whom about what. */
export interface Ipv6Packet {
  /** Sender's address, 16 bytes. */
  readonly source: Uint8Array;
  /** Receiver's address, 16 bytes. */
  readonly destination: Uint8Array;
  /** What the payload is. */
  readonly protocol: number;
  /** How many routers it may still pass. */
  readonly hopLimit: number;
  /** What follows the header. */
  readonly payload: Uint8Array;
}

/** Makes the bytes of a packet. */
export function encodeIpv6(packet: Ipv6Packet): Uint8Array {
  const { source, destination, protocol, hopLimit, payload } = packet;
  const data = new Uint8Array(IPV6.size + payload.length);
  IPV6.write(new DataView(data.buffer), 0, {
    versionAndFlow: VERSION_6 << 28 >>> 0,
    payloadBytes: payload.length,
    nextHeader: protocol,
    hopLimit,
    source,
    destination,
  });
  data.set(payload, IPV6.size);
  return data;
}

/**
 * Takes a packet apart.
 *
 * @param data What follows an Ethernet header; bytes behind the packet are padding.
 * @returns The packet, or null when it is damaged. Extension headers count as payload.
 */
export function decodeIpv6(data: Uint8Array): Ipv6Packet | null {
  if (data.length < IPV6.size) return null;
  const header = IPV6.read(new DataView(data.buffer, data.byteOffset, data.byteLength));
  const end = IPV6.size + header.payloadBytes;
  if (header.versionAndFlow >>> 28 !== VERSION_6 || end > data.length) return null;
  const { source, destination, nextHeader, hopLimit } = header;
  return {
    ...{ source, destination, protocol: nextHeader, hopLimit },
    payload: data.subarray(IPV6.size, end),
  };
}

/**
 * Reads an address as people write it (RFC 4291, 2.2); without an IPv4 address at its end.
 *
 * @param text Up to eight groups in hexadecimal with colons between them, once `::` for zeros.
 * @throws {RangeError} When it is something else.
 */
export function parseIpv6(text: string): Uint8Array {
  const halves = text.split("::");
  const [head = [], tail = []] = halves.map((half) => half === "" ? [] : half.split(":"));
  const gap = WORDS - head.length - tail.length;
  const isAddress = (halves.length === 1 ? gap === 0 : halves.length === 2 && gap > 0) &&
    [...head, ...tail].every((group) => /^[0-9a-f]{1,4}$/i.test(group));
  if (!isAddress) throw new RangeError(`Cannot read "${text}" as an IPv6 address`);
  const words = [...head, ...new Array(gap).fill("0"), ...tail].map((group) => parseInt(group, 16));
  return Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
}

/** Writes an address as people read it, as short as it gets (RFC 5952, 4). */
export function formatIpv6(address: Uint8Array): string {
  const words = Array.from({ length: WORDS }, (_, i) => address[2 * i]! << 8 | address[2 * i + 1]!);
  const { start, length } = longestZeros(words);
  const text = (part: number[]) => part.map((word) => word.toString(16)).join(":");
  // RFC 5952, 4.2.2: one group of zeros is not shortened.
  if (length < 2) return text(words);
  return `${text(words.slice(0, start))}::${text(words.slice(start + length))}`;
}

/**
 * The address that a station has on every link (RFC 4291, 2.5.6 and appendix A).
 *
 * @param mac Its Ethernet address, 6 bytes.
 */
export function linkLocalAddress(mac: Uint8Array): Uint8Array {
  const [a, b, c, d, e, f] = mac as unknown as [number, number, number, number, number, number];
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}

/** The group of all stations whose address ends like this one (RFC 4291, 2.7.1). */
export function solicitedNodeGroup(address: Uint8Array): Uint8Array {
  return Uint8Array.of(...SOLICITED_NODE, ...address.subarray(13));
}

/** The Ethernet address of a group (RFC 2464, 7). */
export function groupMac(group: Uint8Array): Uint8Array {
  return Uint8Array.of(0x33, 0x33, ...group.subarray(12));
}

/** Whether an address is a group's (RFC 4291, 2.7). */
export function isIpv6Group(address: Uint8Array): boolean {
  return address[0] === 0xff;
}

/** Whether an address says that there is none yet (RFC 4291, 2.5.2). */
export function isUnspecified(address: Uint8Array): boolean {
  return address.every((byte) => byte === 0);
}

function longestZeros(words: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < WORDS; start++) {
    let end = start;
    while (words[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}
