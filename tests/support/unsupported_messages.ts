/**
 * Messages of the specification that a labswitch port does not offer, as a front-end would send them
 * and as it should not.
 *
 * Source: "Vhost-user Protocol" in QEMU's documentation, "Front-end message types".
 *
 * @module
 */
import { struct, u16le, u32le, u64le, u8 } from "../../src/layout/struct.ts";
import { MAX_PAYLOAD_BYTES } from "../../src/vhost_user/numbers.ts";
import { NOTHING } from "./vhost_messages.ts";

/** One message. */
export interface UnsupportedMessage {
  /** Its name, and what is odd about it. */
  readonly name: string;
  /** Its number. */
  readonly request: number;
  /** What follows the header. */
  readonly payload: Uint8Array;
  /** How many descriptors come along; none unless given. */
  readonly fds?: number;
}

/** Messages that belong to one feature. */
export interface UnsupportedFeature {
  /** Identifiers of the catalogue of bad inputs. */
  readonly ids: string;
  /** What they are about. */
  readonly what: string;
  /** The messages. */
  readonly messages: readonly UnsupportedMessage[];
}

/** "An IOTLB message": I/O virtual address, size, user address, permission, type. */
const IOTLB = struct("struct vhost_iotlb_msg", 32, {
  iova: u64le,
  size: u64le,
  user_addr: u64le,
  permissions: u8,
  type: u8,
  padding: u16le,
  padding2: u32le,
});
const IOTLB_TYPES = { miss: 1, update: 2, invalidate: 3, "access failure": 4, nonsense: 255 };

/** "Virtio device config space": offset, size and flags before the bytes. */
const CONFIG_HEAD_BYTES = 12;
/** The most bytes of configuration that front-ends know (QEMU: VHOST_USER_MAX_CONFIG_SIZE). */
const MAX_CONFIG_BYTES = 256;

/** "Inflight description": size and offset of the buffer, number and size of the queues. */
const INFLIGHT = struct("struct vhost_user_inflight", 24, {
  mmap_size: u64le,
  mmap_offset: u64le,
  num_queues: u16le,
  queue_size: u16le,
  padding: u32le,
});

function inflight(queues: number, entries: number, sizeBytes = 0n, offsetBytes = 0n): Uint8Array {
  const data = new Uint8Array(INFLIGHT.size);
  INFLIGHT.write(new DataView(data.buffer), 0, {
    mmap_size: sizeBytes,
    mmap_offset: offsetBytes,
    num_queues: queues,
    queue_size: entries,
    padding: 0,
  });
  return data;
}

function iotlb(type: number): Uint8Array {
  const data = new Uint8Array(IOTLB.size);
  const fields = { iova: 2n ** 64n - 1n, size: 2n ** 63n, user_addr: 0n, permissions: 3, type };
  IOTLB.write(new DataView(data.buffer), 0, { ...fields, padding: 0, padding2: 0 });
  return data;
}

function config(claimedBytes: number, bytes: number): Uint8Array {
  const data = new Uint8Array(CONFIG_HEAD_BYTES + bytes);
  new DataView(data.buffer).setUint32(4, claimedBytes, true);
  return data;
}

/** Every feature that is not offered, with its messages. */
export const UNSUPPORTED: readonly UnsupportedFeature[] = [
  {
    ids: "F89",
    what: "a channel for requests of the back-end",
    messages: [
      { name: "SET_BACKEND_REQ_FD", request: 21, payload: NOTHING, fds: 1 },
      { name: "SET_BACKEND_REQ_FD without a descriptor", request: 21, payload: NOTHING },
    ],
  },
  {
    ids: "F90, F91",
    what: "in-flight descriptors",
    messages: [
      { name: "GET_INFLIGHT_FD", request: 31, payload: inflight(2, 256) },
      { name: "GET_INFLIGHT_FD of all there can be", request: 31, payload: inflight(65535, 65535) },
      { name: "SET_INFLIGHT_FD", request: 32, payload: inflight(2, 256, 65536n), fds: 1 },
      {
        name: "SET_INFLIGHT_FD of too many queues",
        request: 32,
        payload: inflight(65535, 65535, 65536n),
        fds: 1,
      },
      {
        name: "SET_INFLIGHT_FD of a wrong size",
        request: 32,
        payload: inflight(2, 256, 2n ** 64n - 1n, 2n ** 63n),
        fds: 1,
      },
    ],
  },
  {
    ids: "F93",
    what: "messages of an IOMMU",
    messages: Object.entries(IOTLB_TYPES).map(([name, type]) => {
      return { name: `IOTLB_MSG ${name}`, request: 22, payload: iotlb(type) };
    }),
  },
  {
    ids: "F95",
    what: "the device configuration",
    messages: [
      {
        name: "GET_CONFIG",
        request: 24,
        payload: config(MAX_CONFIG_BYTES, MAX_CONFIG_BYTES),
      },
      { name: "GET_CONFIG that claims too much", request: 24, payload: config(0xffffffff, 0) },
      { name: "SET_CONFIG", request: 25, payload: config(8, 8) },
      {
        name: "SET_CONFIG that is as long as a message may be",
        request: 25,
        payload: config(0xffffffff, MAX_PAYLOAD_BYTES - CONFIG_HEAD_BYTES),
      },
    ],
  },
  {
    ids: "F96",
    what: "post-copy migration",
    messages: [
      { name: "POSTCOPY_ADVISE", request: 28, payload: NOTHING },
      { name: "POSTCOPY_LISTEN", request: 29, payload: NOTHING },
      { name: "POSTCOPY_END", request: 30, payload: NOTHING },
    ],
  },
];
