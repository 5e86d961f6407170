/**
 * Numbers of the vhost-user protocol beyond those that the switch itself needs.
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

/** Messages. */
export const More = {
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
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
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
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

/** Dirty logging (VHOST_F_LOG_ALL). */
export const VHOST_F_LOG_ALL = 26;
