/**
 * Random frames with offloads: the start of a packet, with claims that are mostly true.
 *
 * @module
 */
import {
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
import { BROADCAST } from "../support/frames.ts";
import {
  build,
  type BuiltPacket,
  gsoTypeOf,
  NEEDS_CSUM,
  virtioHeader,
} from "../support/packets.ts";
import { Random } from "./random.ts";

/** Packets to choose from; building one takes longer than an input does. */
const PACKETS = 256;

/** How likely each feature is. */
const FEATURES: readonly (readonly [feature: number, probability: number])[] = [
  [VIRTIO_NET_F_CSUM, 0.95],
  [VIRTIO_NET_F_HOST_TSO4, 0.9],
  [VIRTIO_NET_F_HOST_TSO6, 0.9],
  [VIRTIO_NET_F_HOST_ECN, 0.9],
  [VIRTIO_NET_F_HOST_USO, 0.9],
  [VIRTIO_NET_F_GUEST_CSUM, 0.6],
  [VIRTIO_NET_F_GUEST_TSO4, 0.4],
  [VIRTIO_NET_F_GUEST_TSO6, 0.4],
  [VIRTIO_NET_F_GUEST_ECN, 0.4],
  [VIRTIO_NET_F_GUEST_USO4, 0.4],
  [VIRTIO_NET_F_GUEST_USO6, 0.4],
];

/** The start of a packet and what is true of it. */
interface PacketStart extends BuiltPacket {
  readonly gsoType: number;
}

const STARTS: readonly PacketStart[] = Array.from({ length: PACKETS }, (_, i) => {
  const random = new Random(1, i);
  const version = random.pick<4 | 6>([4, 6]);
  const packet = {
    ...{ to: BROADCAST, from: BROADCAST, version },
    tags: random.pick([[], [], [], [0x8100], [0x88a8, 0x8100], [0x8100, 0x8100, 0x8100]]),
    transport: random.pick<"tcp" | "udp">(["tcp", "udp"]),
    networkOptions: random.chance(0.7) ? 0 : 8 * random.between(1, version === 4 ? 5 : 24),
    transportOptions: random.chance(0.5) ? 0 : 4 * random.between(1, 10),
    ...{ identification: random.below(65536), sequence: random.next(), flags: random.below(256) },
    ports: [random.below(65536), random.below(65536)] as const,
    payload: new Uint8Array(),
  };
  return { ...build(packet, true), gsoType: gsoTypeOf(packet) };
});

/** Draws what a guest negotiated about offloads; not only what a driver would. */
export function drawFeatures(random: Random): bigint {
  let features = 0n;
  for (const [feature, probability] of FEATURES) {
    if (random.chance(probability)) features |= 1n << BigInt(feature);
  }
  return features;
}

/** The bytes that a frame starts with: a virtio-net header with claims, addresses, IP, transport. */
export function startOffload(
  random: Random,
  headerBytes: number,
  addresses: readonly number[],
): Uint8Array {
  const { frame, transportAt, checksumOffset, gsoType } = random.pick(STARTS);
  const header = virtioHeader({
    flags: random.chance(0.95) ? NEEDS_CSUM | (random.chance(0.1) ? random.below(256) : 0) : 0,
    gso_type: drawType(random, gsoType),
    hdr_len: random.below(600),
    gso_size: random.chance(0.98)
      ? random.between(1, random.pick([8, 100, 500]))
      : random.below(65536),
    csum_start: random.chance(0.92) ? transportAt : random.below(200),
    csum_offset: random.chance(0.92) ? checksumOffset : random.below(100),
  });
  const start = new Uint8Array(headerBytes + frame.length);
  start.set(header, 0);
  start.set(frame, headerBytes);
  start.set(addresses, headerBytes);
  if (random.chance(0.1)) start[headerBytes + 12 + random.below(frame.length - 12)] = random.next();
  return start;
}

function drawType(random: Random, right: number): number {
  if (random.chance(0.65)) return right;
  return random.chance(0.8) ? 0 : random.pick([1, 4, 5, 0x81, 0x84, 3, 0x80, random.below(256)]);
}
