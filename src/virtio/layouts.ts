/**
 * Structs of the split virtqueue and of virtio-net, and the sizes of a ring's three parts.
 *
 * @module
 */
import { struct, u16le, u32le, u64le, u8 } from "../layout/struct.ts";

/** One descriptor (VIRTIO 1.2, 2.7.5). */
export const VIRTQ_DESC = struct("struct vring_desc", 16, {
  addr: u64le,
  len: u32le,
  flags: u16le,
  next: u16le,
});

/** One element of the used ring (VIRTIO 1.2, 2.7.8). */
export const VIRTQ_USED_ELEM = struct("struct vring_used_elem", 8, { id: u32le, len: u32le });

/** The header before each frame (VIRTIO 1.2, 5.1.6). */
export const VIRTIO_NET_HDR = struct("struct virtio_net_hdr_v1", 12, {
  flags: u8,
  gso_type: u8,
  hdr_len: u16le,
  gso_size: u16le,
  csum_start: u16le,
  csum_offset: u16le,
  num_buffers: u16le,
});

/** The chain goes on in `next` (VIRTIO 1.2, 2.7.5). */
export const VIRTQ_DESC_F_NEXT = 1;
/** The device writes the buffer (VIRTIO 1.2, 2.7.5). */
export const VIRTQ_DESC_F_WRITE = 2;
/** The buffer is a table of descriptors (VIRTIO 1.2, 2.7.5.3). */
export const VIRTQ_DESC_F_INDIRECT = 4;
/** The driver does not want to be called (VIRTIO 1.2, 2.7.6). */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** The device does not want to be kicked (VIRTIO 1.2, 2.7.8). */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Alignment of the descriptor table in bytes (VIRTIO 1.2, 2.7). */
export const DESC_ALIGN = 16;
/** Alignment of the available ring in bytes (VIRTIO 1.2, 2.7). */
export const AVAIL_ALIGN = 2;
/** Alignment of the used ring in bytes (VIRTIO 1.2, 2.7). */
export const USED_ALIGN = 4;
/** The largest split ring (VIRTIO 1.2, 2.7). */
export const MAX_QUEUE_SIZE = 32768;

// Both rings begin with `flags` and `idx` and end with an event index, 16 bits each.
const INDEX_BYTES = 2;
const RING_HEAD_BYTES = 4;
const AVAIL_ELEMENT_BYTES = 2;

/** struct pvirtq_event_suppress (VIRTIO 1.2, 2.8.14). */
const EVENT_SUPPRESSION: RingPart = { bytes: 4, align: 4 };

/** Bytes of the descriptor table of `size` entries. */
export function descTableBytes(size: number): number {
  return VIRTQ_DESC.size * size;
}

/** Bytes of the available ring, `used_event` included. */
export function availRingBytes(size: number): number {
  return RING_HEAD_BYTES + AVAIL_ELEMENT_BYTES * size + INDEX_BYTES;
}

/** Bytes of the used ring, `avail_event` included. */
export function usedRingBytes(size: number): number {
  return RING_HEAD_BYTES + VIRTQ_USED_ELEM.size * size + INDEX_BYTES;
}

/** Bytes and alignment of one part of a ring. */
export interface RingPart {
  /** Bytes. */
  readonly bytes: number;
  /** Bytes, a power of two. */
  readonly align: number;
}

/**
 * What a ring needs of memory.
 *
 * @param size Entries.
 * @param isPacked Whether VIRTIO_F_RING_PACKED was negotiated: then the driver and device areas are
 * event suppression structures of 4 bytes (VIRTIO 1.2, 2.8 and 2.8.14).
 */
export function ringParts(
  size: number,
  isPacked: boolean,
): { readonly desc: RingPart; readonly avail: RingPart; readonly used: RingPart } {
  const desc = { bytes: descTableBytes(size), align: DESC_ALIGN };
  if (isPacked) return { desc, avail: EVENT_SUPPRESSION, used: EVENT_SUPPRESSION };
  return {
    desc,
    avail: { bytes: availRingBytes(size), align: AVAIL_ALIGN },
    used: { bytes: usedRingBytes(size), align: USED_ALIGN },
  };
}

/** Where the parts of a ring lie, as byte offsets in one memory. */
export interface RingPlaces {
  /** Descriptor table. */
  readonly desc: number;
  /** Available ring. */
  readonly avail: number;
  /** Used ring. */
  readonly used: number;
  /** First byte behind the ring. */
  readonly end: number;
}

/**
 * Lays a ring out, its parts one behind the other.
 *
 * @param start Offset of its first byte, a multiple of 16.
 * @param size Entries.
 */
export function placeRing(start: number, size: number): RingPlaces {
  const avail = start + descTableBytes(size);
  const used = Math.ceil((avail + availRingBytes(size)) / USED_ALIGN) * USED_ALIGN;
  return { desc: start, avail, used, end: used + usedRingBytes(size) };
}
