/**
 * Guests that take different offloads, and what the switch must give each of them.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  featureSet,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
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
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import type { ReceivedFrame } from "./guest_sim.ts";
import { build, cut, GSO_ECN, gsoTypeOf, offloadHeader, type Packet } from "./packets.ts";

/** A guest that may send everything, on a split ring. */
export const SENDER_FEATURES: bigint = featureSet(
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_USO,
);

const GUEST_CSUM = featureSet(VIRTIO_NET_F_GUEST_CSUM);
const GUEST_ALL_BUT_ECN = GUEST_CSUM | featureSet(
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_USO4,
  VIRTIO_NET_F_GUEST_USO6,
);

/** What receivers may take, by name. */
export const RECEIVERS: Readonly<Record<string, bigint>> = {
  "no offload": 0n,
  "partial checksums": GUEST_CSUM,
  "TSO4": GUEST_CSUM | featureSet(VIRTIO_NET_F_GUEST_TSO4),
  "TSO6": GUEST_CSUM | featureSet(VIRTIO_NET_F_GUEST_TSO6),
  "USO4": GUEST_CSUM | featureSet(VIRTIO_NET_F_GUEST_USO4),
  "USO6": GUEST_CSUM | featureSet(VIRTIO_NET_F_GUEST_USO6),
  "all but ECN": GUEST_ALL_BUT_ECN,
  "all": GUEST_ALL_BUT_ECN | featureSet(VIRTIO_NET_F_GUEST_ECN),
};

/** Ways to receive that have nothing to do with offloads, by name. */
export const RINGS: Readonly<Record<string, bigint>> = {
  "split": featureSet(VIRTIO_F_VERSION_1),
  "split and mergeable": featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF),
  "split and legacy": 0n,
  "packed": featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED),
  "packed and mergeable": featureSet(
    VIRTIO_F_VERSION_1,
    VIRTIO_F_RING_PACKED,
    VIRTIO_F_EVENT_IDX,
    VIRTIO_NET_F_MRG_RXBUF,
  ),
};

/** Whether a receiver takes a super-packet whole (VIRTIO 1.2, 5.1.6.4.1). */
export function takesWhole(features: bigint, packet: Packet): boolean {
  const { version, transport } = packet;
  if (!hasFeature(features, VIRTIO_NET_F_GUEST_CSUM)) return false;
  const isEcn = (gsoTypeOf(packet) & GSO_ECN) !== 0;
  if (isEcn && !hasFeature(features, VIRTIO_NET_F_GUEST_ECN)) return false;
  if (transport === "tcp") {
    return hasFeature(features, version === 4 ? VIRTIO_NET_F_GUEST_TSO4 : VIRTIO_NET_F_GUEST_TSO6);
  }
  return hasFeature(features, version === 4 ? VIRTIO_NET_F_GUEST_USO4 : VIRTIO_NET_F_GUEST_USO6);
}

/** A frame as a guest is to get it: a header without num_buffers, and the bytes. */
export interface ExpectedFrame {
  /** 10 bytes. */
  readonly header: Uint8Array;
  /** The frame. */
  readonly frame: Uint8Array;
}

/**
 * What a receiver must get.
 *
 * @param features The receiver's.
 * @param packet What was sent with an open checksum.
 * @param gsoSize Bytes of payload in each piece, or 0 when it is no super-packet.
 */
export function expectedFrames(
  features: bigint,
  packet: Packet,
  gsoSize: number,
): ExpectedFrame[] {
  const isPartial = hasFeature(features, VIRTIO_NET_F_GUEST_CSUM);
  const whole = gsoSize === 0 || takesWhole(features, packet);
  return (whole ? [packet] : cut(packet, gsoSize)).map((one) => ({
    frame: build(one, isPartial).frame,
    header: isPartial ? offloadHeader(one, whole ? gsoSize : 0) : new Uint8Array(10),
  }));
}

/** Compares frames byte by byte; `what` is said when they differ. */
export function checkFrames(
  received: readonly ReceivedFrame[],
  expected: readonly ExpectedFrame[],
  what: string,
): void {
  strictEqual(received.length, expected.length, `frames of ${what}`);
  received.forEach(({ frame, header, lengths }, i) => {
    const wanted = expected[i]!;
    if (Buffer.compare(frame, wanted.frame) !== 0) {
      deepStrictEqual(hexOf(frame), hexOf(wanted.frame), `frame ${i} of ${what}`);
    }
    deepStrictEqual(hexOf(header.slice(0, 10)), hexOf(wanted.header), `header ${i} of ${what}`);
    if (header.length === 12) strictEqual(header[10]! | header[11]! << 8, lengths.length, what);
    const bytes = lengths.reduce((sum, length) => sum + length, 0);
    strictEqual(bytes, header.length + frame.length, `used lengths of ${what}`);
  });
}

// In lines of 16 bytes, so that a difference can be read.
function hexOf(bytes: Uint8Array): string[] {
  const lines = Math.ceil(bytes.length / 16);
  return Array.from({ length: lines }, (_, i) => bytes.slice(16 * i, 16 * i + 16).toHex());
}
