/**
 * Numbers of the vhost-user protocol: requests, header flags, protocol features.
 *
 * Source: "Vhost-user Protocol" in QEMU's documentation, section in brackets.
 *
 * @module
 */

/** Front-end messages ("Front-end message types"). */
export const Request = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
} as const;

/** The number of a front-end message that is implemented. */
export type RequestNumber = typeof Request[keyof typeof Request];

/** The protocol's version, bits 0 and 1 of the header's flags ("Header"). */
export const VERSION = 1;
/** Mask of the version in the header's flags ("Header"). */
export const VERSION_MASK = 3;
/** The message is a reply ("Header"). */
export const FLAG_REPLY = 4;
/** The sender wants an acknowledgement ("REPLY_ACK"). */
export const FLAG_NEED_REPLY = 8;

/** Several queue pairs ("Multiple queue support"). */
export const VHOST_USER_PROTOCOL_F_MQ = 0;
/** Acknowledgements on demand ("VHOST_USER_PROTOCOL_F_REPLY_ACK"). */
export const VHOST_USER_PROTOCOL_F_REPLY_ACK = 3;

/** Bits 0 to 7 of the payload of KICK, CALL and ERR are the ring's index ("Message types"). */
export const VRING_INDEX_MASK = 0xffn;
/** Bit 8 of the same: no descriptor comes along ("Message types"). */
export const VRING_NO_FD = 0x100n;

/** Most regions in one SET_MEM_TABLE ("Memory regions description"). */
export const MAX_TABLE_REGIONS = 8;
/** Most bytes of a payload: ours, well above the largest message. */
export const MAX_PAYLOAD_BYTES = 4096;
/** Most descriptors of a message. */
export const MAX_MESSAGE_DESCRIPTORS = 32;
