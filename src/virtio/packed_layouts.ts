/**
 * Structs and numbers of the packed virtqueue, and where its three parts lie.
 *
 * @module
 */
import { struct, u16le, u32le, u64le } from "../layout/struct.ts";
import { type RingPlaces, VIRTQ_DESC } from "./layouts.ts";

/** One descriptor, available or used (VIRTIO 1.2, 2.8.13). */
export const PACKED_DESC = struct("struct vring_packed_desc", 16, {
  addr: u64le,
  len: u32le,
  id: u16le,
  flags: u16le,
});

/** When one side wants to be notified (VIRTIO 1.2, 2.8.14). */
export const EVENT_SUPPRESS = struct("struct vring_packed_desc_event", 4, {
  off_wrap: u16le,
  flags: u16le,
});

/** The driver's mark in a descriptor (VIRTIO 1.2, 2.8.1). */
export const VIRTQ_DESC_F_AVAIL = 1 << 7;
/** The device's mark in a descriptor (VIRTIO 1.2, 2.8.1). */
export const VIRTQ_DESC_F_USED = 1 << 15;

/** Notify about every descriptor (VIRTIO 1.2, 2.8.14). */
export const RING_EVENT_FLAGS_ENABLE = 0;
/** Notify about none (VIRTIO 1.2, 2.8.14). */
export const RING_EVENT_FLAGS_DISABLE = 1;
/** Notify when the named descriptor is reached (VIRTIO 1.2, 2.8.14). */
export const RING_EVENT_FLAGS_DESC = 2;

/** The wrap counter in `off_wrap` and in a position (VIRTIO 1.2, 2.8.14). */
export const WRAP_COUNTER = 1 << 15;

/**
 * Lays a packed ring out, its parts one behind the other.
 *
 * @param start Offset of its first byte, a multiple of 16.
 * @param size Descriptors, 1 to 32768; not only powers of two.
 * @returns `avail` is the driver event suppression structure, `used` the device's.
 */
export function placePackedRing(start: number, size: number): RingPlaces {
  const avail = start + VIRTQ_DESC.size * size;
  const used = avail + EVENT_SUPPRESS.size;
  return { desc: start, avail, used, end: used + EVENT_SUPPRESS.size };
}
