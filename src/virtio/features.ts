/**
 * Feature bits of virtio-net, the ring, and vhost-user, and sets of them.
 *
 * A set is a `bigint`, as on the wire: bit n stands for feature n.
 *
 * @module
 */

/** The driver may send partial checksums (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_CSUM = 0;
/** The driver takes partial checksums (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_GUEST_CSUM = 1;
/** The device has a maximum MTU (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_MTU = 3;
/** The device has an address (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_MAC = 5;
/** The driver takes TCP/IPv4 super-packets (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_GUEST_TSO4 = 7;
/** The driver takes TCP/IPv6 super-packets (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_GUEST_TSO6 = 8;
/** The driver takes super-packets with ECN (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_GUEST_ECN = 9;
/** The driver may send TCP/IPv4 super-packets (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_HOST_TSO4 = 11;
/** The driver may send TCP/IPv6 super-packets (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_HOST_TSO6 = 12;
/** The driver may send super-packets with ECN (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_HOST_ECN = 13;
/** A frame may fill several receive buffers (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_MRG_RXBUF = 15;
/** The device knows a link status (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_STATUS = 16;
/** There is a control queue (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_CTRL_VQ = 17;
/** The driver announces itself after a migration (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_GUEST_ANNOUNCE = 21;
/** There are several queue pairs (VIRTIO 1.2, 5.1.3). */
export const VIRTIO_NET_F_MQ = 22;
/** vhost: writes to guest memory are logged ("Migration"); no guest ever sees this bit. */
export const VHOST_F_LOG_ALL = 26;
/** A legacy driver may put header and data into one descriptor (VIRTIO 1.2, 6.3). */
export const VIRTIO_F_ANY_LAYOUT = 27;
/** Descriptors may point to tables of descriptors (VIRTIO 1.2, 6). */
export const VIRTIO_F_INDIRECT_DESC = 28;
/** Notifications are asked for by index (VIRTIO 1.2, 6). */
export const VIRTIO_F_EVENT_IDX = 29;
/** vhost-user: protocol features can be negotiated ("Protocol features"). */
export const VHOST_USER_F_PROTOCOL_FEATURES = 30;
/** The driver follows VIRTIO 1.0 or later (VIRTIO 1.2, 6). */
export const VIRTIO_F_VERSION_1 = 32;
/** Rings are packed (VIRTIO 1.2, 6). */
export const VIRTIO_F_RING_PACKED = 34;
/** The device uses buffers in order (VIRTIO 1.2, 6). */
export const VIRTIO_F_IN_ORDER = 35;
/** The driver takes UDP/IPv4 super-packets (VIRTIO 1.3, 5.1.3). */
export const VIRTIO_NET_F_GUEST_USO4 = 54;
/** The driver takes UDP/IPv6 super-packets (VIRTIO 1.3, 5.1.3). */
export const VIRTIO_NET_F_GUEST_USO6 = 55;
/** The driver may send UDP super-packets (VIRTIO 1.3, 5.1.3). */
export const VIRTIO_NET_F_HOST_USO = 56;

/** Names for people, by bit; also of features that others offer (VIRTIO 1.2, 5.1.3). */
const NAMES: ReadonlyMap<number, string> = new Map([
  [2, "ctrl_guest_offloads"],
  [6, "gso"],
  [10, "guest_ufo"],
  [14, "host_ufo"],
  [18, "ctrl_rx"],
  [19, "ctrl_vlan"],
  [23, "ctrl_mac_addr"],
  [24, "notify_on_empty"],
  [33, "access_platform"],
  [36, "order_platform"],
  [38, "notification_data"],
  [40, "ring_reset"],
  [57, "hash_report"],
  [59, "guest_hdrlen"],
  [60, "rss"],
  [61, "rsc_ext"],
  [62, "standby"],
  [63, "speed_duplex"],
  [VIRTIO_NET_F_CSUM, "csum"],
  [VIRTIO_NET_F_GUEST_CSUM, "guest_csum"],
  [VIRTIO_NET_F_MTU, "mtu"],
  [VIRTIO_NET_F_MAC, "mac"],
  [VIRTIO_NET_F_GUEST_TSO4, "guest_tso4"],
  [VIRTIO_NET_F_GUEST_TSO6, "guest_tso6"],
  [VIRTIO_NET_F_GUEST_ECN, "guest_ecn"],
  [VIRTIO_NET_F_HOST_TSO4, "host_tso4"],
  [VIRTIO_NET_F_HOST_TSO6, "host_tso6"],
  [VIRTIO_NET_F_HOST_ECN, "host_ecn"],
  [VIRTIO_NET_F_MRG_RXBUF, "mrg_rxbuf"],
  [VIRTIO_NET_F_STATUS, "status"],
  [VIRTIO_NET_F_CTRL_VQ, "ctrl_vq"],
  [VIRTIO_NET_F_GUEST_ANNOUNCE, "guest_announce"],
  [VIRTIO_NET_F_MQ, "mq"],
  [VHOST_F_LOG_ALL, "log_all"],
  [VIRTIO_F_ANY_LAYOUT, "any_layout"],
  [VIRTIO_F_INDIRECT_DESC, "indirect_desc"],
  [VIRTIO_F_EVENT_IDX, "event_idx"],
  [VHOST_USER_F_PROTOCOL_FEATURES, "protocol_features"],
  [VIRTIO_F_VERSION_1, "version_1"],
  [VIRTIO_F_RING_PACKED, "ring_packed"],
  [VIRTIO_F_IN_ORDER, "in_order"],
  [VIRTIO_NET_F_GUEST_USO4, "guest_uso4"],
  [VIRTIO_NET_F_GUEST_USO6, "guest_uso6"],
  [VIRTIO_NET_F_HOST_USO, "host_uso"],
]);

/** Bytes of the header without `num_buffers`: legacy drivers without mergeable buffers. */
export const LEGACY_HEADER_BYTES = 10;
/** Bytes of `struct virtio_net_hdr_v1` (VIRTIO 1.2, 5.1.6). */
export const HEADER_BYTES = 12;

/** A set of features from their bits. */
export function featureSet(...bits: readonly number[]): bigint {
  return bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
}

/** Whether a set holds a feature. */
export function hasFeature(set: bigint, bit: number): boolean {
  return (set >> BigInt(bit) & 1n) === 1n;
}

/** The names of a set's features in the order of their bits; a bit without a name is `bitN`. */
export function featureNames(set: bigint): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (hasFeature(set, bit)) names.push(NAMES.get(bit) ?? `bit${bit}`);
  }
  return names;
}

/**
 * Bytes of the header before each frame (VIRTIO 1.2, 5.1.6 and 5.1.6.1).
 *
 * @param features What the driver accepted.
 * @returns 12, or 10 for a legacy driver without mergeable buffers.
 */
export function headerLength(features: bigint): number {
  const isLong = hasFeature(features, VIRTIO_F_VERSION_1) ||
    hasFeature(features, VIRTIO_NET_F_MRG_RXBUF);
  return isLong ? HEADER_BYTES : LEGACY_HEADER_BYTES;
}

/** What a feature is worth nothing without (VIRTIO 1.2, 2.2.1 and 5.1.3.1): one of these. */
const REQUIREMENTS: readonly (readonly [feature: number, ...oneOf: number[]])[] = [
  [VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6],
  [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM],
  [VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM],
  [VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM],
  [VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6],
  [VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1],
];

/**
 * Leaves out what a driver may not accept, since what it requires is not there.
 *
 * VIRTIO_NET_F_MQ stays without its control queue: over vhost-user the front-end has that queue itself.
 *
 * @param features What both sides know.
 * @returns What may be accepted.
 */
export function acceptable(features: bigint): bigint {
  return REQUIREMENTS.reduce(
    (set, [feature, ...oneOf]) =>
      oneOf.some((required) => hasFeature(set, required)) ? set : set & ~featureSet(feature),
    features,
  );
}
