/**
 * Checks what a guest claims in a frame's virtio-net header.
 *
 * The fields are claims: they are compared with the features the guest negotiated and with the bytes
 * really there. What passes is kept in the frame record in a canonical form, so that everything
 * behind this may rely on it:
 *
 * - NEEDS_CSUM: the checksum's place lies inside the frame, behind the Ethernet header;
 * - a GSO type: one that the guest negotiated, with NEEDS_CSUM and a size;
 * - everything else is zero.
 *
 * Source: VIRTIO 1.2, 5.1.6.2.1 ("Driver Requirements: Packet Transmission").
 */
import {
  C_DROP_BAD_OFFLOAD,
  FRAME_HEADER,
  FRAME_HEADERS,
  FRAME_LENGTH,
  MIN_FRAME_BYTES,
  PORT_F_CSUM,
  PORT_F_GUEST_CSUM,
  PORT_F_GUEST_ECN,
  PORT_F_GUEST_TSO4,
  PORT_F_GUEST_TSO6,
  PORT_F_GUEST_USO4,
  PORT_F_GUEST_USO6,
  PORT_F_HOST_ECN,
  PORT_F_HOST_TSO4,
  PORT_F_HOST_TSO6,
  PORT_F_HOST_USO,
  PORT_FLAGS,
} from "../state_layout.ts";
import { networkHeaderAt } from "./network.ts";

/** VIRTIO_NET_HDR_F_NEEDS_CSUM (VIRTIO 1.2, 5.1.6). */
export const HDR_F_NEEDS_CSUM: u32 = 1;
/** VIRTIO_NET_HDR_GSO_TCPV4 (VIRTIO 1.2, 5.1.6). */
export const GSO_TCPV4: u32 = 1;
/** VIRTIO_NET_HDR_GSO_TCPV6 (VIRTIO 1.2, 5.1.6). */
export const GSO_TCPV6: u32 = 4;
/** VIRTIO_NET_HDR_GSO_UDP_L4 (VIRTIO 1.3, 5.1.6). */
export const GSO_UDP_L4: u32 = 5;
/** VIRTIO_NET_HDR_GSO_ECN (VIRTIO 1.2, 5.1.6), beside a type. */
export const GSO_ECN: u32 = 0x80;

/** Offsets in the virtio-net header (VIRTIO 1.2, 5.1.6). */
const FLAGS: u32 = FRAME_HEADER;
const GSO_TYPE: u32 = FRAME_HEADER + 1;
const HDR_LEN: u32 = FRAME_HEADER + 2;
const GSO_SIZE: u32 = FRAME_HEADER + 4;
const CSUM_START: u32 = FRAME_HEADER + 6;
const CSUM_OFFSET: u32 = FRAME_HEADER + 8;
const NUM_BUFFERS: u32 = FRAME_HEADER + 10;

/** GSO type of a frame, ECN bit included; 0 for none. */
export function gsoTypeOf(f: u32): u32 {
  return load<u8>(f + GSO_TYPE);
}

/** Payload bytes of each piece of a super-packet. */
export function gsoSizeOf(f: u32): u32 {
  return load<u16>(f + GSO_SIZE);
}

/** Where in a frame the sum of its open checksum starts. */
export function csumStartOf(f: u32): u32 {
  return load<u16>(f + CSUM_START);
}

/** Where in a frame its open checksum is. */
export function csumPlaceOf(f: u32): u32 {
  return csumStartOf(f) + load<u16>(f + CSUM_OFFSET);
}

/**
 * Checks the claims and puts the header into its canonical form.
 *
 * @param p Address of the sender's port record.
 * @param f Address of the frame record; FRAME_HEADER is what the guest wrote.
 * @returns The offset of a counter when the frame must be dropped, else 0.
 */
export function checkClaims(p: u32, f: u32): u32 {
  const features = load<u32>(p + PORT_FLAGS);
  const gsoType = gsoTypeOf(f);
  // DATA_VALID and RSC_INFO are for received frames; num_buffers says nothing here.
  if ((load<u8>(f + FLAGS) & HDR_F_NEEDS_CSUM) === 0) {
    store<u64>(f + FRAME_HEADER, 0);
    store<u32>(f + FRAME_HEADER + 8, 0);
    return gsoType === 0 ? 0 : C_DROP_BAD_OFFLOAD;
  }
  if ((features & PORT_F_CSUM) === 0) return C_DROP_BAD_OFFLOAD;
  const start = csumStartOf(f);
  if (start < <u32> MIN_FRAME_BYTES || csumPlaceOf(f) + 2 > load<u32>(f + FRAME_LENGTH)) {
    return C_DROP_BAD_OFFLOAD;
  }
  if (gsoType === 0) store<u16>(f + GSO_SIZE, 0);
  else if (gsoSizeOf(f) === 0 || !maySend(features, gsoType)) return C_DROP_BAD_OFFLOAD;
  // A hint for the receiver's memory management, which must not lead it behind the frame.
  if (load<u16>(f + HDR_LEN) > load<u32>(f + FRAME_LENGTH)) store<u16>(f + HDR_LEN, 0);
  store<u8>(f + FLAGS, <u8> HDR_F_NEEDS_CSUM);
  store<u16>(f + NUM_BUFFERS, 0);
  return 0;
}

function maySend(features: u32, gsoType: u32): bool {
  if ((gsoType & GSO_ECN) !== 0 && (features & PORT_F_HOST_ECN) === 0) return false;
  const type = gsoType & ~GSO_ECN;
  if (type === GSO_TCPV4) return (features & PORT_F_HOST_TSO4) !== 0;
  if (type === GSO_TCPV6) return (features & PORT_F_HOST_TSO6) !== 0;
  return gsoType === GSO_UDP_L4 && (features & PORT_F_HOST_USO) !== 0;
}

/**
 * Whether a receiver takes a super-packet whole.
 *
 * @param features The receiver's PORT_FLAGS.
 * @param f Address of the frame record.
 */
export function takesWhole(features: u32, f: u32): bool {
  if ((features & PORT_F_GUEST_CSUM) === 0) return false;
  const gsoType = gsoTypeOf(f);
  if ((gsoType & GSO_ECN) !== 0 && (features & PORT_F_GUEST_ECN) === 0) return false;
  const type = gsoType & ~GSO_ECN;
  if (type === GSO_TCPV4) return (features & PORT_F_GUEST_TSO4) !== 0;
  if (type === GSO_TCPV6) return (features & PORT_F_GUEST_TSO6) !== 0;
  const frame = load<u32>(f + FRAME_HEADERS);
  const network = networkHeaderAt(frame);
  const isIpv6 = network !== 0 && <u32> load<u8>(frame + network) >> 4 === 6;
  return (features & (isIpv6 ? PORT_F_GUEST_USO6 : PORT_F_GUEST_USO4)) !== 0;
}
