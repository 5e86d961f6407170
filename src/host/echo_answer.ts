/**
 * How a host answers pings: the frame that came is turned around where it is, because pings come by
 * the hundred thousand. Nobody's group and no broadcast is answered (RFC 1122, 3.2.2.6 and 3.3.6).
 *
 * @module
 */
import { u16be } from "../layout/struct.ts";
import { adjustChecksum, internetChecksum } from "../ethernet/checksum.ts";
import { ETHERNET } from "../ethernet/frame.ts";
import { ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST } from "../ethernet/icmp.ts";
import {
  ICMP6,
  ICMP6_ECHO_BYTES,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
} from "../ethernet/icmp6.ts";
import { IPV4, ipv4Length, PROTOCOL_ICMP } from "../ethernet/ipv4.ts";
import { IPV6, type Ipv6Packet, isIpv6Group, isUnspecified } from "../ethernet/ipv6.ts";
import { cutOrPad, isAt, swapFields, turnAround, viewOf } from "./answers.ts";

/** The first byte of the groups (224.0.0.0/4), of what is reserved, and of broadcasts. */
const FIRST_IPV4_GROUP = 224;
const TIME_TO_LIVE = 64;
const HOP_LIMIT = 64;

/**
 * Answers a ping over IPv4. Copies nothing of a frame unless it is one.
 *
 * @param frame At least an Ethernet header; it becomes the answer.
 * @param mac Our Ethernet address.
 * @param ip Our IPv4 address.
 * @returns The answer, or null when the frame is no undamaged echo request for us.
 */
export function answerEcho4(frame: Uint8Array, mac: Uint8Array, ip: Uint8Array): Uint8Array | null {
  if (!isForStation(frame, mac)) return null;
  const packet = frame.subarray(ETHERNET.size);
  const length = ipv4Length(packet);
  if (length === null || !isAt(packet, IPV4.offset.destination, ip)) return null;
  const payload = packet.subarray(IPV4.size, length);
  const isRequest = packet[IPV4.offset.protocol] === PROTOCOL_ICMP &&
    payload.length >= ICMP_ECHO.size && payload[0] === ICMP_ECHO_REQUEST && payload[1] === 0 &&
    internetChecksum(payload) === 0;
  const sender = packet[IPV4.offset.source]!;
  if (!isRequest || sender === 0 || sender >= FIRST_IPV4_GROUP) return null;
  turnAround(frame, mac);
  const header = packet.subarray(0, IPV4.size);
  swapFields(header, IPV4.offset.source, 4);
  header[IPV4.offset.timeToLive] = TIME_TO_LIVE;
  const view = viewOf(header);
  u16be.set(view, IPV4.offset.checksum, 0);
  u16be.set(view, IPV4.offset.checksum, internetChecksum(header));
  retype(payload, ICMP_ECHO.offset.checksum, ICMP_ECHO_REPLY);
  return cutOrPad(frame, ETHERNET.size + length);
}

/**
 * Answers an IPv6 packet that is for one of our addresses.
 *
 * @param frame The frame; it becomes the answer.
 * @param packet What the frame holds, an undamaged ICMPv6 message.
 * @param mac Our Ethernet address.
 * @returns The answer, or null when the packet is no echo request.
 */
export function answerEcho6(
  frame: Uint8Array,
  { source, payload }: Ipv6Packet,
  mac: Uint8Array,
): Uint8Array | null {
  const isRequest = payload.length >= ICMP6_ECHO_BYTES && payload[0] === ICMP6_ECHO_REQUEST &&
    payload[1] === 0;
  if (!isRequest || isIpv6Group(source) || isUnspecified(source)) return null;
  turnAround(frame, mac);
  const header = frame.subarray(ETHERNET.size, ETHERNET.size + IPV6.size);
  swapFields(header, IPV6.offset.source, 16);
  header[IPV6.offset.hopLimit] = HOP_LIMIT;
  retype(payload, ICMP6.offset.checksum, ICMP6_ECHO_REPLY);
  return cutOrPad(frame, ETHERNET.size + IPV6.size + payload.length);
}

/** Whether an Ethernet frame is for one station, ours; a packet in a broadcast is not answered. */
export function isForStation(frame: Uint8Array, mac: Uint8Array): boolean {
  return isAt(frame, 0, mac);
}

// Type and code share a word of the checksum; the code is 0.
function retype(message: Uint8Array, checksumAt: number, type: number): void {
  const view = viewOf(message);
  const checksum = adjustChecksum(u16be.get(view, checksumAt), message[0]! << 8, type << 8);
  message[0] = type;
  u16be.set(view, checksumAt, checksum);
}
