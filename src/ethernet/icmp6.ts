/**
 * ICMPv6: echo (RFC 4443) and neighbour discovery (RFC 4861).
 *
 * @module
 */
import { bytes, struct, u16be, u32be, u8 } from "../layout/struct.ts";
import { internetChecksum, pseudoHeaderSum } from "./checksum.ts";
import {
  HOP_LIMIT_ON_LINK,
  type Ipv6Packet,
  isIpv6Group,
  isUnspecified,
  PROTOCOL_ICMP6,
  solicitedNodeGroup,
} from "./ipv6.ts";

/** What every message starts with (RFC 4443, 2.1). */
export const ICMP6 = struct("struct icmp6_hdr", 4, { type: u8, code: u8, checksum: u16be });

/** A neighbour solicitation or advertisement without options (RFC 4861, 4.3 and 4.4). */
export const NEIGHBOUR = struct("struct nd_neighbor", 24, {
  type: u8,
  code: u8,
  checksum: u16be,
  flags: u32be,
  target: bytes(16),
});

/** Send this back (RFC 4443, 4.1). */
export const ICMP6_ECHO_REQUEST = 128;
/** Answer to an echo request (RFC 4443, 4.2). */
export const ICMP6_ECHO_REPLY = 129;
/** Bytes of an echo before what it carries (RFC 4443, 4.1). */
export const ICMP6_ECHO_BYTES = 8;
/** Who has this address? (RFC 4861, 4.3) */
export const NEIGHBOUR_SOLICITATION = 135;
/** I have. (RFC 4861, 4.4) */
export const NEIGHBOUR_ADVERTISEMENT = 136;
/** The advertisement answers a solicitation (RFC 4861, 4.4, "S"). */
export const FLAG_SOLICITED = 1 << 30;
/** The advertisement is newer than what is remembered (RFC 4861, 4.4, "O"). */
export const FLAG_OVERRIDE = 1 << 29;

/** Ethernet address of the sender (RFC 4861, 4.6.1). */
const OPTION_SOURCE_ADDRESS = 1;
/** Ethernet address of the target (RFC 4861, 4.6.1). */
const OPTION_TARGET_ADDRESS = 2;
/** Options count in this (RFC 4861, 4.6). */
const OPTION_UNIT_BYTES = 8;

/** Whether a packet is an undamaged ICMPv6 message. */
export function isIcmp6({ source, destination, protocol, payload }: Ipv6Packet): boolean {
  if (protocol !== PROTOCOL_ICMP6 || payload.length < ICMP6.size) return false;
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL_ICMP6, payload.length);
  return internetChecksum(payload, pseudo) === 0;
}

/**
 * Takes a neighbour solicitation apart, with every check of RFC 4861, 7.1.1. It must be for the one who
 * has the address, or for the group that RFC 4861, 7.2.2 sends it to: no other group is answered.
 *
 * @param packet An undamaged ICMPv6 message.
 * @returns Whose Ethernet address is asked for, 16 bytes; null when it is no valid solicitation.
 */
export function decodeSolicitation(packet: Ipv6Packet): Uint8Array | null {
  const { source, destination, hopLimit, payload } = packet;
  if (hopLimit !== HOP_LIMIT_ON_LINK || payload.length < NEIGHBOUR.size) return null;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const { type, code, target } = NEIGHBOUR.read(view);
  if (type !== NEIGHBOUR_SOLICITATION || code !== 0 || isIpv6Group(target)) return null;
  const kinds = optionKinds(payload.subarray(NEIGHBOUR.size));
  if (kinds === null) return null;
  const isToGroup = isSame(destination, solicitedNodeGroup(target));
  // Whoever looks whether an address is taken has none yet.
  const isProbe = isUnspecified(source);
  const isValid = isProbe
    ? isToGroup && !kinds.has(OPTION_SOURCE_ADDRESS)
    : isToGroup || isSame(destination, target);
  return isValid ? target : null;
}

/**
 * Makes a neighbour advertisement (RFC 4861, 4.4).
 *
 * @param target The address that is advertised, 16 bytes; also the sender's.
 * @param mac The Ethernet address that has it.
 * @param destination Who is told.
 * @param flags A set of FLAG_*.
 */
export function encodeAdvertisement(
  target: Uint8Array,
  mac: Uint8Array,
  destination: Uint8Array,
  flags: number,
): Ipv6Packet {
  const payload = new Uint8Array(NEIGHBOUR.size + OPTION_UNIT_BYTES);
  payload.set([OPTION_TARGET_ADDRESS, 1, ...mac], NEIGHBOUR.size);
  const view = new DataView(payload.buffer);
  const message = { type: NEIGHBOUR_ADVERTISEMENT, code: 0, checksum: 0, flags, target };
  NEIGHBOUR.write(view, 0, message);
  const pseudo = pseudoHeaderSum(target, destination, PROTOCOL_ICMP6, payload.length);
  NEIGHBOUR.write(view, 0, { ...message, checksum: internetChecksum(payload, pseudo) });
  return {
    ...{ source: target, destination, protocol: PROTOCOL_ICMP6 },
    ...{ hopLimit: HOP_LIMIT_ON_LINK, payload },
  };
}

// Which options follow; null when one has no length or goes beyond the end (RFC 4861, 7.1.1).
function optionKinds(data: Uint8Array): Set<number> | null {
  const kinds = new Set<number>();
  for (let at = 0; at < data.length;) {
    const length = (data[at + 1] ?? 0) * OPTION_UNIT_BYTES;
    if (length === 0 || at + length > data.length) return null;
    kinds.add(data[at]!);
    at += length;
  }
  return kinds;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}
