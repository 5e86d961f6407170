/**
 * TCP and UDP packets for tests, built from what is in them: the reference for checksums and for the
 * segmentation of super-packets.
 *
 * A piece of a super-packet is the packet that its sender would have built for that part of the
 * payload, so {@linkcode cut} describes the pieces and {@linkcode build} builds them. Nothing here
 * rewrites bytes, as the data plane does.
 *
 * Source: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP), RFC 1071 (checksum), RFC
 * 3168, 6.1.2 (CWR), IEEE 802.1Q, 9.6 (tags); VIRTIO 1.2, 5.1.6.2 (partial checksums).
 *
 * @module
 */
import { concatenate } from "./bytes.ts";
import { parseMac } from "../../src/ethernet/frame.ts";
import { VIRTIO_NET_HDR } from "../../src/virtio/layouts.ts";

/** TCP's flags (RFC 9293, 3.1). */
export const TCP_FIN = 0x01;
/** The receiver is to pass the data on. */
export const TCP_PSH = 0x08;
/** The acknowledgement counts. */
export const TCP_ACK = 0x10;
/** The congestion window was reduced (RFC 3168). */
export const TCP_CWR = 0x80;

/** VIRTIO_NET_HDR_F_NEEDS_CSUM (VIRTIO 1.2, 5.1.6). */
export const NEEDS_CSUM = 1;
/** VIRTIO_NET_HDR_GSO_TCPV4 (VIRTIO 1.2, 5.1.6). */
export const GSO_TCPV4 = 1;
/** VIRTIO_NET_HDR_GSO_TCPV6 (VIRTIO 1.2, 5.1.6). */
export const GSO_TCPV6 = 4;
/** VIRTIO_NET_HDR_GSO_UDP_L4 (VIRTIO 1.3, 5.1.6). */
export const GSO_UDP_L4 = 5;
/** VIRTIO_NET_HDR_GSO_ECN (VIRTIO 1.2, 5.1.6), beside a type. */
export const GSO_ECN = 0x80;

/** What a packet consists of. */
export interface Packet {
  /** Destination and source address. */
  readonly to: string;
  /** Source address. */
  readonly from: string;
  /** EtherTypes of the tags before the packet, outermost first. */
  readonly tags: readonly number[];
  /** 4 or 6. */
  readonly version: 4 | 6;
  /** The transport. */
  readonly transport: "tcp" | "udp";
  /** Bytes of IPv4 options, or of an IPv6 destination options header: a multiple of 4 or 8. */
  readonly networkOptions: number;
  /** Bytes of TCP options, a multiple of 4. */
  readonly transportOptions: number;
  /** IPv4's identification. */
  readonly identification: number;
  /** TCP's sequence number. */
  readonly sequence: number;
  /** TCP's flags. */
  readonly flags: number;
  /** Both ports. */
  readonly ports: readonly [source: number, destination: number];
  /** The payload. */
  readonly payload: Uint8Array;
}

/** A packet in bytes. */
export interface BuiltPacket {
  /** The frame. */
  readonly frame: Uint8Array<ArrayBuffer>;
  /** Where the transport header starts: csum_start. */
  readonly transportAt: number;
  /** Where in it the checksum is: csum_offset. */
  readonly checksumOffset: number;
  /** Where the payload starts. */
  readonly headerBytes: number;
}

const PROTOCOL = { tcp: 6, udp: 17 } as const;
const DESTINATION_OPTIONS = 60;
const OPTION_NOP = 1;

/**
 * Builds a packet.
 *
 * @param packet What is in it.
 * @param isPartial Whether the checksum is left open: it then holds the pseudo header's sum.
 */
export function build(packet: Packet, isPartial: boolean): BuiltPacket {
  const segment = transportSegment(packet);
  const network = networkHeader(packet, segment.length);
  const link = linkHeader(packet);
  const checksumOffset = packet.transport === "tcp" ? 16 : 6;
  const pseudo = pseudoHeader(packet, segment.length);
  const checksum = isPartial ? onesSum(pseudo) : checksumOf(concatenate([pseudo, segment]));
  new DataView(segment.buffer).setUint16(checksumOffset, checksum);
  const transportAt = link.length + network.length;
  return {
    ...{ frame: concatenate([link, network, segment]), transportAt, checksumOffset },
    headerBytes: transportAt + segment.length - packet.payload.length,
  };
}

/** Describes the packets that a super-packet stands for. */
export function cut(packet: Packet, size: number): Packet[] {
  const { payload, sequence, identification, flags } = packet;
  const count = Math.ceil(payload.length / size);
  return Array.from({ length: count }, (_, i) => ({
    ...packet,
    payload: payload.subarray(i * size, (i + 1) * size),
    sequence: (sequence + i * size) % 2 ** 32,
    identification: (identification + i) % 2 ** 16,
    // FIN ends and PSH pushes the whole, so they belong to the last piece; CWR tells of one reduction.
    flags: flags & ~(i + 1 < count ? TCP_FIN | TCP_PSH : 0) & ~(i > 0 ? TCP_CWR : 0),
  }));
}

/** The GSO type of a super-packet. */
export function gsoTypeOf({ version, transport, flags }: Packet): number {
  if (transport === "udp") return GSO_UDP_L4;
  return (version === 4 ? GSO_TCPV4 : GSO_TCPV6) | ((flags & TCP_CWR) !== 0 ? GSO_ECN : 0);
}

/** The virtio-net header of a packet whose checksum is open; with a size, of a super-packet. */
export function offloadHeader(packet: Packet, gsoSize = 0): Uint8Array<ArrayBuffer> {
  const { transportAt, checksumOffset, headerBytes } = build(packet, true);
  return virtioHeader({
    flags: NEEDS_CSUM,
    ...gsoSize > 0 ? { gso_type: gsoTypeOf(packet), hdr_len: headerBytes, gso_size: gsoSize } : {},
    ...{ csum_start: transportAt, csum_offset: checksumOffset },
  });
}

/** A virtio-net header without its last field; what is left out is 0. */
export function virtioHeader(
  fields: Partial<ReturnType<typeof VIRTIO_NET_HDR.read>>,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12);
  VIRTIO_NET_HDR.write(new DataView(bytes.buffer), 0, {
    ...{ flags: 0, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0 },
    ...fields,
    num_buffers: 0,
  });
  return bytes.slice(0, 10);
}

/**
 * The checksum that closes a sum: its complement, and all ones instead of zero, which in UDP means
 * that there is none (RFC 768). In TCP the two are the same number; Linux sends ones there as well.
 */
export function checksumOf(bytes: Uint8Array): number {
  const checksum = ~onesSum(bytes) & 0xffff;
  return checksum === 0 ? 0xffff : checksum;
}

/** The ones' complement sum of 16-bit words, the first byte high, an odd one padded (RFC 1071). */
export function onesSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i]! << 8 | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

function linkHeader({ to, from, tags, version }: Packet): Uint8Array {
  const bytes = new Uint8Array(14 + 4 * tags.length);
  const view = new DataView(bytes.buffer);
  bytes.set(parseMac(to), 0);
  bytes.set(parseMac(from), 6);
  tags.forEach((type, i) => {
    view.setUint16(12 + 4 * i, type);
    view.setUint16(14 + 4 * i, 100 + i);
  });
  view.setUint16(12 + 4 * tags.length, version === 4 ? 0x0800 : 0x86dd);
  return bytes;
}

function networkHeader(packet: Packet, segmentBytes: number): Uint8Array {
  const { version, networkOptions, transport, identification } = packet;
  const bytes = new Uint8Array((version === 4 ? 20 : 40) + networkOptions);
  const view = new DataView(bytes.buffer);
  if (version === 4) {
    bytes[0] = 0x40 | bytes.length / 4;
    view.setUint16(2, bytes.length + segmentBytes);
    view.setUint16(4, identification);
    bytes[8] = 64;
    bytes[9] = PROTOCOL[transport];
    bytes.set(addresses(packet), 12);
    bytes.fill(OPTION_NOP, 20);
    view.setUint16(10, ~onesSum(bytes) & 0xffff);
    return bytes;
  }
  bytes[0] = 0x60;
  view.setUint16(4, networkOptions + segmentBytes);
  bytes[6] = networkOptions > 0 ? DESTINATION_OPTIONS : PROTOCOL[transport];
  bytes[7] = 64;
  bytes.set(addresses(packet), 8);
  if (networkOptions === 0) return bytes;
  // RFC 8200, 4.2 and 4.6: next header, length in units of 8 behind the first, one PadN option.
  bytes.set([PROTOCOL[transport], networkOptions / 8 - 1, 1, networkOptions - 4], 40);
  return bytes;
}

function transportSegment(packet: Packet): Uint8Array<ArrayBuffer> {
  const { transport, payload, transportOptions, ports, sequence, flags } = packet;
  const headerBytes = transport === "udp" ? 8 : 20 + transportOptions;
  const bytes = new Uint8Array(headerBytes + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ports[0]);
  view.setUint16(2, ports[1]);
  bytes.set(payload, headerBytes);
  if (transport === "udp") {
    view.setUint16(4, bytes.length);
    return bytes;
  }
  view.setUint32(4, sequence);
  view.setUint32(8, 0x1234_5678);
  bytes[12] = headerBytes / 4 << 4;
  bytes[13] = flags;
  view.setUint16(14, 0x4000);
  bytes.fill(OPTION_NOP, 20, headerBytes);
  return bytes;
}

function pseudoHeader(packet: Packet, segmentBytes: number): Uint8Array {
  const from = addresses(packet);
  // RFC 9293, 3.1 and RFC 8200, 8.1: the padding differs, the sum does not.
  const bytes = new Uint8Array(from.length + 8);
  bytes.set(from, 0);
  const view = new DataView(bytes.buffer);
  view.setUint32(from.length, segmentBytes);
  view.setUint32(from.length + 4, PROTOCOL[packet.transport]);
  return bytes;
}

// Source, then destination.
function addresses({ version }: Packet): Uint8Array {
  if (version === 4) return Uint8Array.of(10, 0, 0, 1, 192, 168, 255, 254);
  return Uint8Array.from({ length: 32 }, (_, i) => i % 16 === 0 ? 0xfd : i * 11 & 0xff);
}
