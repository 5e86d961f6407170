/**
 * What an honest front-end would have to say about a guest: features, memory table, rings.
 *
 * @module
 */
import { backendOffer } from "../../../src/control/offer.ts";
import type { BackendOffer } from "../../../src/vhost_user/backend.ts";
import { VHOST_USER_PROTOCOL_F_REPLY_ACK } from "../../../src/vhost_user/numbers.ts";
import {
  featureSet,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
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
} from "../../../src/virtio/features.ts";
import type { Random } from "../random.ts";
import { type GuestPlan, REGION_BYTES, type RingPlan } from "../situation.ts";
import { REGION_OFFSETS } from "./layout.ts";
import { QUEUE_PAIRS, RINGS } from "./plan.ts";

/** What an attacked port offers. */
export const OFFER: BackendOffer = backendOffer(QUEUE_PAIRS);

/** A region as its front-end announces it. */
export interface FrontRegion {
  /** Guest-physical address. */
  readonly guest: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Front-end address. */
  readonly user: bigint;
  /** Where it starts in the memory file. */
  readonly offset: bigint;
}

/** A ring as its front-end announces it, in front-end addresses. */
export interface FrontRing {
  /** Entries. */
  readonly size: number;
  /** What SET_VRING_BASE says. */
  readonly base: number;
  /** Descriptor table. */
  readonly desc: bigint;
  /** Available ring, or the driver's event area. */
  readonly avail: bigint;
  /** Used ring, or the device's event area. */
  readonly used: bigint;
  /** What SET_VRING_ENABLE says. */
  readonly isEnabled: boolean;
  /** Whether it is started. */
  readonly isStarted: boolean;
}

/** All of it. */
export interface Front {
  /** The guest behind it. */
  readonly plan: GuestPlan;
  /** What SET_FEATURES says. */
  readonly features: bigint;
  /** What SET_PROTOCOL_FEATURES says. */
  readonly protocolFeatures: bigint;
  /** The memory table. */
  readonly regions: readonly FrontRegion[];
  /** Every ring of the port. The second pair looks at the rings of the first. */
  readonly rings: readonly FrontRing[];
}

/** Features that the guest's plan decides; all others are free. */
const DECIDED = featureSet(
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_USO4,
  VIRTIO_NET_F_GUEST_USO6,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_USO,
  VHOST_USER_F_PROTOCOL_FEATURES,
);
const FREE = OFFER.features & ~DECIDED;
const REPLY_ACK = featureSet(VHOST_USER_PROTOCOL_F_REPLY_ACK);
const PROTOCOL_FEATURES = featureSet(VHOST_USER_F_PROTOCOL_FEATURES);

const PAGE_BYTES = 4096n;

/** Where front-ends see the regions: anywhere, and not where guests see them. */
const USER_ADDRESSES: readonly (readonly [bigint, bigint])[] = [
  [0x7f12_3400_0000n, 0x7f12_3480_0000n],
  [0x7f12_3400_0000n, 0x7f12_3400_0000n + BigInt(REGION_BYTES)],
  [0x5555_0000_1000n, 0x1000n],
  [(1n << 64n) - BigInt(REGION_BYTES), 0n],
];

/**
 * Draws what is left to choose.
 *
 * @param random Where choices come from.
 * @param plan The guest, whose memory is written already.
 */
export function drawFront(random: Random, plan: GuestPlan): Front {
  const regions = drawRegions(random, plan);
  const [receive, transmit] = plan.rings.map((ring) => frontRing(ring, plan, regions));
  return {
    ...{ plan, regions },
    features: drawFeatures(random, plan),
    protocolFeatures: drawProtocolFeatures(random),
    rings: Array.from({ length: RINGS }, (_, i) => i % 2 === 0 ? receive! : transmit!),
  };
}

/** Some of the bits of a set. */
export function someBits(random: Random, set: bigint): bigint {
  const mask = BigInt(random.next()) | BigInt(random.next()) << 32n;
  return set & mask;
}

function drawFeatures(random: Random, { features }: GuestPlan): bigint {
  const free = random.chance(0.5) ? FREE : someBits(random, FREE);
  const known = features & OFFER.features | free;
  // Without bit 30 every ring is enabled, and SET_VRING_ENABLE is refused.
  return random.chance(0.95) ? known | PROTOCOL_FEATURES : known;
}

function drawProtocolFeatures(random: Random): bigint {
  if (random.chance(0.75)) return OFFER.protocolFeatures;
  const some = someBits(random, OFFER.protocolFeatures);
  return random.chance(0.7) ? some | REPLY_ACK : some;
}

function drawRegions(random: Random, plan: GuestPlan): FrontRegion[] {
  const same = plan.regions.map(({ guestAddress }) => guestAddress);
  // Rings would not be aligned there: it happens, but must not end one conversation in twenty.
  const isOdd = same.some((address) => address % PAGE_BYTES !== 0n);
  const user = random.chance(isOdd ? 0.05 : 0.3) ? same : random.pick(USER_ADDRESSES);
  return plan.regions.map(({ guestAddress }, i) => ({
    guest: guestAddress,
    size: BigInt(REGION_BYTES),
    user: user[i]!,
    offset: BigInt(REGION_OFFSETS[i]!),
  }));
}

function frontRing(ring: RingPlan, plan: GuestPlan, regions: readonly FrontRegion[]): FrontRing {
  const { places, size, index, isEnabled, isStarted } = ring;
  const place = (local: number): bigint => {
    const i = plan.regions.findLastIndex(({ localAddress }) => localAddress <= local);
    return regions[i]!.user + BigInt(local - plan.regions[i]!.localAddress);
  };
  return {
    ...{ size, isEnabled, isStarted },
    base: plan.isPacked ? (index | index << 16) >>> 0 : index,
    desc: place(places.desc),
    avail: place(places.avail),
    used: place(places.used),
  };
}
