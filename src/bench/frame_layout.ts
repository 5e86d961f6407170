/**
 * What a frame of the generator carries, as offsets from its buffer, whose first 12 bytes are the
 * virtio-net header. All of it lies in one cache line, the first of the frame.
 *
 * @module
 */

/** u32, the start of the destination address; see {@linkcode ADDRESS_WORD}. */
export const DESTINATION = 12;
/** u16, big endian: the flow's number, the end of the destination address. */
export const DESTINATION_FLOW = 16;
/** u32, the start of the source address. */
export const SOURCE = 18;
/** u16, big endian: the flow's number, the end of the source address. */
export const SOURCE_FLOW = 22;
/** u64: EtherType, run and {@linkcode MAGIC}, read at once. */
export const KIND_AT = 24;
/** u32, the frame's number in its flow. */
export const SEQUENCE = 32;
/** u32, flow and, in the highest bit, direction. */
export const FLOW = 36;
/** f64, open loop: the instant at which it was due, in nanoseconds. */
export const DUE = 40;
/** u32, a check sum of the three before. */
export const SEAL = 48;
/** From here on every frame has the same bytes. */
export const BODY = 56;

/** 02:6c:62, a locally administered address; the port's number follows, and the flow's. */
export const ADDRESS_WORD = 0x626c02;
/** The bit of the port in an address's first word. */
export const ADDRESS_PORT_SHIFT = 24;
/** EtherType 0x88b5 (IEEE 802-2014, 9.2.4: for experiments) as a little-endian machine reads it. */
export const ETHERTYPE_WORD = 0xb588;
/** Bits behind the EtherType where the run's number lies. */
export const RUN_SHIFT = 16;
/** Bits behind the EtherType where the magic number lies. */
export const MAGIC_SHIFT = 32;
/** Tells frames of the generator from others of the same EtherType: "labs". */
export const MAGIC = 0x7362616c;
/** The bit of the direction in the flow's word. */
export const DIRECTION_SHIFT = 31;
/** Of so many frames of a flow, one is compared to its last byte; a power of two. */
export const BODY_CHECK_INTERVAL = 64;
/** Frames with a header up to this length are all compared to their last byte. */
export const SHORT_BYTES = 140;
