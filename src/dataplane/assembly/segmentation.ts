/**
 * Looks where the headers of a super-packet end, and into how many pieces it is to be cut.
 *
 * Works on the first bytes of the frame in state memory, which the guest cannot change any more.
 * Every offset is checked against them: a packet that is not what its GSO type claims is not cut.
 *
 * Source: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP).
 */
import { FRAME_HEADERS, FRAME_LENGTH, MAX_PIECES, MAX_SNAPSHOT_BYTES } from "../state_layout.ts";
import { networkHeaderAt } from "./network.ts";
import {
  csumPlaceOf,
  csumStartOf,
  GSO_ECN,
  GSO_TCPV4,
  GSO_UDP_L4,
  gsoSizeOf,
  gsoTypeOf,
} from "./offload.ts";

/** Bytes of the headers of the super-packet looked at last. */
export let headerBytes: u32 = 0;
/** Pieces of the super-packet looked at last. */
export let pieces: u32 = 0;

const UDP_HEADER_BYTES: u32 = 8;
const TCP_HEADER_BYTES: u32 = 20;
/** Offset of the data offset in a TCP header, whose high half counts words. */
const TCP_WORDS: u32 = 12;
/** Offset of the checksum in a TCP header. */
const TCP_CHECKSUM: u32 = 16;
/** Offset of the checksum in a UDP header. */
const UDP_CHECKSUM: u32 = 6;

/**
 * Looks at a super-packet.
 *
 * @param f Address of the frame record, whose claims were checked.
 * @returns Whether it can be cut; then `headerBytes` and `pieces` are set.
 */
export function lookAt(f: u32): bool {
  const frame = load<u32>(f + FRAME_HEADERS);
  const length = load<u32>(f + FRAME_LENGTH);
  const known = min<u32>(length, MAX_SNAPSHOT_BYTES);
  const network = networkHeaderAt(frame);
  const transport = csumStartOf(f);
  const gsoType = gsoTypeOf(f) & ~GSO_ECN;
  const isUdp = gsoType === GSO_UDP_L4;
  const least: u32 = isUdp ? UDP_HEADER_BYTES : TCP_HEADER_BYTES;
  if (network === 0 || transport + least > known) return false;
  const version = <u32> load<u8>(frame + network) >> 4;
  if (version === 4) {
    if (gsoType !== GSO_TCPV4 && !isUdp) return false;
    const words = <u32> load<u8>(frame + network) & 15;
    if (words < 5 || network + words * 4 !== transport) return false;
  } else if (version === 6) {
    // Extension headers may stand between the two; they are repeated as they are.
    if (gsoType === GSO_TCPV4 || network + 40 > transport) return false;
  } else return false;
  const place: u32 = isUdp ? UDP_CHECKSUM : TCP_CHECKSUM;
  if (csumPlaceOf(f) !== transport + place) return false;
  const words = <u32> load<u8>(frame + transport + TCP_WORDS) >> 4;
  headerBytes = transport + (isUdp ? UDP_HEADER_BYTES : words * 4);
  if (headerBytes < transport + least || headerBytes > known || headerBytes >= length) return false;
  const size = gsoSizeOf(f);
  pieces = (length - headerBytes + size - 1) / size;
  return pieces <= <u32> MAX_PIECES;
}
