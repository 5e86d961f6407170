/**
 * Writes the headers of one piece of a super-packet: those of the whole, with lengths, numbers and
 * checksums of its own.
 *
 * Works on state memory only. The places were checked by `segmentation.lookAt`.
 *
 * Source: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP), RFC 3168, 6.1.2 (CWR).
 */
import {
  FRAME_HEADERS,
  PLACED_F_CHECKSUM,
  PLACED_F_LAST,
  PLACED_FLAGS,
  PLACED_PIECE_BYTES,
  PLACED_PIECE_HEADERS,
  PLACED_PIECE_NUMBER,
  PLACED_PIECE_START,
} from "../state_layout.ts";
import { add, finish, sumState, swap } from "./checksum.ts";
import { networkHeaderAt } from "./network.ts";
import { csumStartOf, GSO_UDP_L4, gsoTypeOf } from "./offload.ts";

/** Offsets in an IPv4 header. */
const IPV4_LENGTH: u32 = 2;
const IPV4_IDENTIFICATION: u32 = 4;
const IPV4_CHECKSUM: u32 = 10;
const IPV4_ADDRESSES: u32 = 12;
const IPV4_ADDRESSES_BYTES: u32 = 8;
/** Offsets in an IPv6 header. */
const IPV6_LENGTH: u32 = 4;
const IPV6_ADDRESSES: u32 = 8;
const IPV6_ADDRESSES_BYTES: u32 = 32;
const IPV6_HEADER_BYTES: u32 = 40;
/** Offsets in a TCP header. */
const TCP_SEQUENCE: u32 = 4;
const TCP_FLAGS: u32 = 13;
const TCP_CHECKSUM: u32 = 16;
/** FIN and PSH: only the last piece ends or pushes. */
const TCP_FIN_PSH: u32 = 0x09;
/** CWR: only the first piece tells that the window was reduced. */
const TCP_CWR: u32 = 0x80;
/** Offsets in a UDP header. */
const UDP_LENGTH: u32 = 4;
const UDP_CHECKSUM: u32 = 6;
const PROTOCOL_TCP: u32 = 6;
const PROTOCOL_UDP: u32 = 17;

/**
 * Writes the headers.
 *
 * @param placed Address of the placement.
 * @param f Address of the frame record.
 * @param to Where they go, in state memory.
 * @param payload The folded sum of the piece's payload; counts only when its checksum is finished.
 */
export function writePieceHeaders(placed: u32, f: u32, to: u32, payload: u32): void {
  const headerBytes = load<u32>(placed + PLACED_PIECE_HEADERS);
  const bytes = load<u32>(placed + PLACED_PIECE_BYTES);
  const number = load<u32>(placed + PLACED_PIECE_NUMBER);
  memory.copy(to, load<u32>(f + FRAME_HEADERS), headerBytes);
  const transport = csumStartOf(f);
  const network = to + networkHeaderAt(to);
  const isIpv4 = <u32> load<u8>(network) >> 4 === 4;
  if (isIpv4) {
    writeIpv4(network, to + transport - network, to + headerBytes + bytes - network, number);
  } else {store<u16>(
      network + IPV6_LENGTH,
      big(to + headerBytes + bytes - network - IPV6_HEADER_BYTES),
    );}

  const isUdp = gsoTypeOf(f) === GSO_UDP_L4;
  const segment = headerBytes - transport + bytes;
  const header = to + transport;
  if (isUdp) store<u16>(header + UDP_LENGTH, big(segment));
  else writeTcp(header, placed, load<u32>(placed + PLACED_PIECE_START) - headerBytes, number);

  const checksum = header + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
  const pseudo = pseudoHeader(network, isIpv4, isUdp, segment);
  if ((load<u32>(placed + PLACED_FLAGS) & PLACED_F_CHECKSUM) === 0) {
    store<u16>(checksum, <u16> pseudo);
    return;
  }
  store<u16>(checksum, 0);
  const headerSum = sumState(header, headerBytes - transport);
  // The transport header has an even length, so the payload begins at an even byte of it.
  store<u16>(checksum, <u16> finish(add(add(pseudo, headerSum), payload)));
}

function writeIpv4(at: u32, headerBytes: u32, length: u32, number: u32): void {
  store<u16>(at + IPV4_LENGTH, big(length));
  const identification = swap(load<u16>(at + IPV4_IDENTIFICATION)) + number;
  store<u16>(at + IPV4_IDENTIFICATION, big(identification));
  store<u16>(at + IPV4_CHECKSUM, 0);
  store<u16>(at + IPV4_CHECKSUM, <u16> ~sumState(at, headerBytes));
}

function writeTcp(at: u32, placed: u32, offset: u32, number: u32): void {
  store<u32>(at + TCP_SEQUENCE, bswap<u32>(bswap<u32>(load<u32>(at + TCP_SEQUENCE)) + offset));
  let flags = <u32> load<u8>(at + TCP_FLAGS);
  if ((load<u32>(placed + PLACED_FLAGS) & PLACED_F_LAST) === 0) flags &= ~TCP_FIN_PSH;
  if (number > 0) flags &= ~TCP_CWR;
  store<u8>(at + TCP_FLAGS, <u8> flags);
}

// RFC 9293, 3.1 and RFC 8200, 8.1: addresses, protocol and length are summed up too.
function pseudoHeader(network: u32, isIpv4: bool, isUdp: bool, segment: u32): u32 {
  const addresses = isIpv4
    ? sumState(network + IPV4_ADDRESSES, IPV4_ADDRESSES_BYTES)
    : sumState(network + IPV6_ADDRESSES, IPV6_ADDRESSES_BYTES);
  const protocol = big(isUdp ? PROTOCOL_UDP : PROTOCOL_TCP);
  return add(add(addresses, protocol), big(segment));
}

// A 16-bit number in network byte order, as a store writes it.
function big(value: u32): u16 {
  return <u16> swap(value & 0xffff);
}
