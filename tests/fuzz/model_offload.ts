/**
 * What a switch must do with offloads: check what a sender claims, and give each receiver a form
 * that it takes. Unlike the reference in tests/support/packets.ts it works on any bytes, because
 * random frames are seldom packets.
 *
 * Source: VIRTIO 1.2, 5.1.6.2 and 5.1.6.4; RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 3168.
 *
 * @module
 */
import {
  hasFeature,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_USO4,
  VIRTIO_NET_F_GUEST_USO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
} from "../../src/virtio/features.ts";
import {
  checksumOf,
  GSO_ECN,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  NEEDS_CSUM,
  onesSum,
  TCP_CWR,
  TCP_FIN,
  TCP_PSH,
  virtioHeader,
} from "../support/packets.ts";

/** What is believed of a sender's header. */
export interface Offload {
  /** GSO type with its ECN bit; 0 when the frame is no super-packet. */
  readonly gsoType: number;
  /** Payload bytes of a piece. */
  readonly gsoSize: number;
  /** A hint. */
  readonly hdrLen: number;
  /** Where the sum starts. */
  readonly csumStart: number;
  /** Where from there the checksum is. */
  readonly csumOffset: number;
}

/** A frame as a receiver gets it. */
export interface Form {
  /** The virtio-net header without num_buffers. */
  readonly header: Uint8Array;
  /** The frame. */
  readonly frame: Uint8Array;
}

/** All that a receiver gets of one frame. */
export interface Forms {
  /** One frame, or the pieces of a super-packet. */
  readonly forms: readonly Form[];
  /** What is counted besides. */
  readonly what: "as sent" | "finished" | "cut";
}

const ETHERNET_BYTES = 14;
/** What is known of a frame when its headers are looked at. */
const MAX_HEADER_BYTES = 256;
const MAX_PIECES = 512;

/**
 * Reads what a sender claims.
 *
 * @returns The offload, null for a plain frame, "bad" when the claim cannot be true.
 */
export function claimOf(
  features: bigint,
  header: Uint8Array,
  frameBytes: number,
): Offload | null | "bad" {
  const view = new DataView(header.buffer, header.byteOffset);
  const gsoType = header[1]!;
  if ((header[0]! & NEEDS_CSUM) === 0) return gsoType === 0 ? null : "bad";
  const [hdrLen, gsoSize, csumStart, csumOffset] = [2, 4, 6, 8].map((at) =>
    view.getUint16(at, true)
  ) as [number, number, number, number];
  const isInside = csumStart >= ETHERNET_BYTES && csumStart + csumOffset + 2 <= frameBytes;
  if (!hasFeature(features, VIRTIO_NET_F_CSUM) || !isInside) return "bad";
  if (gsoType !== 0 && (gsoSize === 0 || !maySend(features, gsoType))) return "bad";
  return {
    ...{ gsoType, csumStart, csumOffset },
    gsoSize: gsoType === 0 ? 0 : gsoSize,
    hdrLen: hdrLen > frameBytes ? 0 : hdrLen,
  };
}

function maySend(features: bigint, gsoType: number): boolean {
  if (gsoType === GSO_UDP_L4) return hasFeature(features, VIRTIO_NET_F_HOST_USO);
  const isEcn = (gsoType & GSO_ECN) !== 0;
  if (isEcn && !hasFeature(features, VIRTIO_NET_F_HOST_ECN)) return false;
  const type = gsoType & ~GSO_ECN;
  if (type === GSO_TCPV4) return hasFeature(features, VIRTIO_NET_F_HOST_TSO4);
  return type === GSO_TCPV6 && hasFeature(features, VIRTIO_NET_F_HOST_TSO6);
}

/**
 * What a receiver gets of a frame with an offload.
 *
 * @returns The forms, or null when the frame must be cut and cannot be.
 */
export function formsFor(features: bigint, frame: Uint8Array, offload: Offload): Forms | null {
  const { gsoType, gsoSize, hdrLen, csumStart, csumOffset } = offload;
  const isPartial = hasFeature(features, VIRTIO_NET_F_GUEST_CSUM);
  if (gsoType === 0 || takesWhole(features, frame, gsoType)) {
    if (!isPartial) {
      const finished = frame.slice();
      const checksum = checksumOf(frame.subarray(csumStart));
      new DataView(finished.buffer).setUint16(csumStart + csumOffset, checksum);
      return { forms: [{ header: new Uint8Array(10), frame: finished }], what: "finished" };
    }
    const header = virtioHeader({
      ...{ flags: NEEDS_CSUM, gso_type: gsoType, hdr_len: hdrLen, gso_size: gsoSize },
      ...{ csum_start: csumStart, csum_offset: csumOffset },
    });
    return { forms: [{ header, frame }], what: "as sent" };
  }
  const headerBytes = headersOf(frame, offload);
  if (headerBytes === null) return null;
  const count = Math.ceil((frame.length - headerBytes) / gsoSize);
  if (count > MAX_PIECES) return null;
  const fields = { flags: NEEDS_CSUM, csum_start: csumStart, csum_offset: csumOffset };
  const header = isPartial ? virtioHeader(fields) : new Uint8Array(10);
  const forms = Array.from({ length: count }, (_, i) => ({
    header,
    frame: pieceOf(frame, offload, headerBytes, i, i + 1 === count, isPartial),
  }));
  return { forms, what: "cut" };
}

function takesWhole(features: bigint, frame: Uint8Array, gsoType: number): boolean {
  if (!hasFeature(features, VIRTIO_NET_F_GUEST_CSUM)) return false;
  const isEcn = (gsoType & GSO_ECN) !== 0;
  if (isEcn && !hasFeature(features, VIRTIO_NET_F_GUEST_ECN)) return false;
  const type = gsoType & ~GSO_ECN;
  if (type === GSO_TCPV4) return hasFeature(features, VIRTIO_NET_F_GUEST_TSO4);
  if (type === GSO_TCPV6) return hasFeature(features, VIRTIO_NET_F_GUEST_TSO6);
  const network = networkAt(frame);
  const isIpv6 = network !== null && frame[network]! >> 4 === 6;
  return hasFeature(features, isIpv6 ? VIRTIO_NET_F_GUEST_USO6 : VIRTIO_NET_F_GUEST_USO4);
}

// Where the IP header is, behind at most two tags (IEEE 802.1Q, 9.6).
function networkAt(frame: Uint8Array): number | null {
  for (let at = 12; at <= 20; at += 4) {
    const type = frame[at]! << 8 | frame[at + 1]!;
    if (type === 0x0800 || type === 0x86dd) return at + 2;
    if (type !== 0x8100 && type !== 0x88a8) return null;
  }
  return null;
}

// Bytes of the headers that each piece repeats, or null when the frame is not what its type says.
function headersOf(frame: Uint8Array, offload: Offload): number | null {
  const { gsoType, csumStart, csumOffset } = offload;
  const isUdp = gsoType === GSO_UDP_L4;
  const known = Math.min(frame.length, MAX_HEADER_BYTES);
  const network = networkAt(frame);
  if (network === null || csumStart + (isUdp ? 8 : 20) > known) return null;
  const version = frame[network]! >> 4;
  const options = frame[network]! & 15;
  const isIpv4 = version === 4 && options >= 5 && network + 4 * options === csumStart;
  const isIpv6 = version === 6 && network + 40 <= csumStart;
  const type = gsoType & ~GSO_ECN;
  if (!(isIpv4 && type !== GSO_TCPV6) && !(isIpv6 && type !== GSO_TCPV4)) return null;
  if (csumOffset !== (isUdp ? 6 : 16)) return null;
  const transport = isUdp ? 8 : 4 * (frame[csumStart + 12]! >> 4);
  const headers = csumStart + transport;
  return (!isUdp && transport < 20) || headers > known || headers >= frame.length ? null : headers;
}

function pieceOf(
  frame: Uint8Array,
  { gsoType, gsoSize, csumStart, csumOffset }: Offload,
  headerBytes: number,
  number: number,
  isLast: boolean,
  isPartial: boolean,
): Uint8Array {
  const start = headerBytes + number * gsoSize;
  const payload = frame.subarray(start, Math.min(start + gsoSize, frame.length));
  const piece = new Uint8Array(headerBytes + payload.length);
  piece.set(frame.subarray(0, headerBytes), 0);
  piece.set(payload, headerBytes);
  const view = new DataView(piece.buffer);
  const network = networkAt(frame)!;
  const isIpv4 = frame[network]! >> 4 === 4;
  if (isIpv4) {
    view.setUint16(network + 2, piece.length - network);
    view.setUint16(network + 4, view.getUint16(network + 4) + number);
    view.setUint16(network + 10, 0);
    view.setUint16(network + 10, ~onesSum(piece.subarray(network, csumStart)));
  } else view.setUint16(network + 4, piece.length - network - 40);
  const isUdp = gsoType === GSO_UDP_L4;
  if (isUdp) view.setUint16(csumStart + 4, piece.length - csumStart);
  else {
    view.setUint32(csumStart + 4, view.getUint32(csumStart + 4) + number * gsoSize);
    if (!isLast) piece[csumStart + 13]! &= ~(TCP_FIN | TCP_PSH);
    if (number > 0) piece[csumStart + 13]! &= ~TCP_CWR;
  }
  const addresses = isIpv4
    ? piece.slice(network + 12, network + 20)
    : piece.slice(network + 8, network + 40);
  const segment = piece.length - csumStart;
  const pseudo = [...addresses, 0, isUdp ? 17 : 6, segment >> 8, segment & 0xff];
  view.setUint16(csumStart + csumOffset, 0);
  const checksum = isPartial
    ? onesSum(Uint8Array.from(pseudo))
    : checksumOf(Uint8Array.from([...pseudo, ...piece.subarray(csumStart)]));
  view.setUint16(csumStart + csumOffset, checksum);
  return piece;
}
