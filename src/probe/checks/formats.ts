/**
 * The formats of rings that most checks are asked for.
 *
 * @module
 */
import {
  featureSet,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../virtio/features.ts";
import {
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_STATUS,
} from "../../vhost_user/numbers.ts";
import type { Target } from "../check.ts";
import { Driver, type DriverWish } from "../driver.ts";

/** A format of rings. */
export interface Format {
  /** For ids. */
  readonly id: string;
  /** For titles. */
  readonly name: string;
  /** Virtio features that make it. */
  readonly features: bigint;
  /** Where used buffer notifications are specified. */
  readonly callClause: string;
  /** Where available buffer notifications are specified. */
  readonly kickClause: string;
}

const SPLIT = { callClause: "VIRTIO 1.2, 2.7.7", kickClause: "VIRTIO 1.2, 2.7.10" };
const PACKED = { callClause: "VIRTIO 1.2, 2.8.10", kickClause: "VIRTIO 1.2, 2.8.10" };

/** Split rings without anything else. */
export const PLAIN_SPLIT: Format = {
  ...SPLIT,
  id: "split",
  name: "split",
  features: featureSet(VIRTIO_F_VERSION_1),
};
/** Packed rings without anything else. */
export const PLAIN_PACKED: Format = {
  ...PACKED,
  id: "packed",
  name: "packed",
  features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED),
};
/** All formats. */
export const FORMATS: readonly Format[] = [
  PLAIN_SPLIT,
  {
    ...SPLIT,
    id: "split-event-idx",
    name: "split, event_idx",
    features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX),
  },
  PLAIN_PACKED,
  {
    ...PACKED,
    id: "packed-event-idx",
    name: "packed, event_idx",
    features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX),
  },
];

/** Protocol features of a driver that needs nothing special. */
export const USUAL_PROTOCOL: bigint = featureSet(
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_STATUS,
);

/**
 * Attaches a driver for the time of a check.
 *
 * @param target The back-end.
 * @param wish How; the usual protocol features unless told otherwise.
 * @param use What to do with the driver.
 * @returns What `use` returns.
 */
export async function withDriver<T>(
  target: Target,
  wish: Partial<DriverWish>,
  use: (driver: Driver) => Promise<T>,
): Promise<T> {
  using session = await target.open();
  const usual = { features: PLAIN_SPLIT.features, protocolFeatures: USUAL_PROTOCOL };
  await using driver = await Driver.attach(session, { ...usual, ...wish });
  return await use(driver);
}

/** Ends a check where no ring can be disabled, which needs bit 30 ("VHOST_USER_SET_VRING_ENABLE"). */
export async function requireEnables(target: Target): Promise<void> {
  using session = await target.open();
  session.require(featureSet(VHOST_USER_F_PROTOCOL_FEATURES));
}
