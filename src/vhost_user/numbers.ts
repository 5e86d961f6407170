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
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
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
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
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
/** A log of dirty pages in a shared file ("Migration"). */
export const VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1;
/** A front-end may have its guest announced ("VHOST_USER_SEND_RARP"). */
export const VHOST_USER_PROTOCOL_F_RARP = 2;
/** Acknowledgements on demand ("VHOST_USER_PROTOCOL_F_REPLY_ACK"). */
export const VHOST_USER_PROTOCOL_F_REPLY_ACK = 3;
/** A front-end tells the largest packet ("VHOST_USER_NET_SET_MTU"). */
export const VHOST_USER_PROTOCOL_F_NET_MTU = 4;
/** The device can be reset ("VHOST_USER_RESET_DEVICE"). */
export const VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13;
/** Regions of memory come and go one by one ("VHOST_USER_ADD_MEM_REG"). */
export const VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15;
/** The device status is told ("VHOST_USER_SET_STATUS"). */
export const VHOST_USER_PROTOCOL_F_STATUS = 16;

/** Bits of the device status (VIRTIO 1.2, 2.1). */
export const DeviceStatus = {
  /** The device was noticed. */
  ACKNOWLEDGE: 1,
  /** There is a driver for it. */
  DRIVER: 2,
  /** The driver is ready: frames may flow. */
  DRIVER_OK: 4,
  /** The features are final. */
  FEATURES_OK: 8,
} as const;

/** Most queue pairs of a device: a ring's index has 8 bits ("Message types"). */
export const MAX_QUEUE_PAIRS = 128;

/** VHOST_VRING_F_LOG: writes to the used ring are to be logged ("A vring address description"). */
export const VRING_F_LOG = 1;

/** Bits 0 to 7 of the payload of KICK, CALL and ERR are the ring's index ("Message types"). */
export const VRING_INDEX_MASK = 0xffn;
/** Bit 8 of the same: no descriptor comes along ("Message types"). */
export const VRING_NO_FD = 0x100n;

/** Most regions in one SET_MEM_TABLE ("Memory regions description"). */
export const MAX_TABLE_REGIONS = 8;
/**
 * Regions that a front-end may add one by one. A front-end that meets fewer after a reconnect than
 * before gives up, so this number never shrinks.
 */
export const MAX_MEMORY_SLOTS = 64;
/** Most bytes of a payload: ours, well above the largest message. */
export const MAX_PAYLOAD_BYTES = 4096;
/** Most descriptors of a message. */
export const MAX_MESSAGE_DESCRIPTORS = 32;
