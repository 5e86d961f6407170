/**
 * Numbers of the vhost-user protocol beyond those that the switch itself knows.
 *
 * Source: "Vhost-user Protocol" in QEMU's documentation, "Front-end message types" and "Protocol
 * features".
 *
 * @module
 */
import {
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from "../../../src/vhost_user/numbers.ts";
import { featureSet } from "../../../src/virtio/features.ts";

/** Messages that the switch does not know. */
export const More = {
  SET_BACKEND_REQ_FD: 21,
  IOTLB_MSG: 22,
  SET_VRING_ENDIAN: 23,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  POSTCOPY_ADVISE: 28,
  POSTCOPY_LISTEN: 29,
  POSTCOPY_END: 30,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
} as const;

/** The last message that is assigned today is well below. */
export const LAST_REQUEST = 50;

/** Requests that are answered with more than an acknowledgement. */
export const HAS_REPLY: readonly number[] = [1, 11, 15, 17, 24, 31, 36, 40];

/** What every front-end negotiates. */
export const PLAIN_PROTOCOL_FEATURES: bigint = featureSet(
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
);

/** All protocol features there may be; a ring then waits for a status in which the driver is ready. */
export const ALL_PROTOCOL_FEATURES: bigint = (1n << 64n) - 1n;
