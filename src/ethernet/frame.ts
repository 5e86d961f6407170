/**
 * Ethernet frames and addresses.
 *
 * @module
 */
import { bytes, struct, u16be } from "../layout/struct.ts";

/** The header of a frame (IEEE 802.3, 3.1.1). */
export const ETHERNET = struct("struct ethhdr", 14, {
  destination: bytes(6),
  source: bytes(6),
  type: u16be,
});

/** EtherType of IPv4 (IANA, "IEEE 802 Numbers"). */
export const ETHERTYPE_IPV4 = 0x0800;
/** EtherType of ARP (IANA, "IEEE 802 Numbers"). */
export const ETHERTYPE_ARP = 0x0806;
/** EtherType of IPv6 (IANA, "IEEE 802 Numbers"). */
export const ETHERTYPE_IPV6 = 0x86dd;
/** EtherType of reverse ARP (IANA, "IEEE 802 Numbers"). */
export const ETHERTYPE_RARP = 0x8035;
/** EtherType for experiments on one's own network (IEEE 802-2014, 9.2.4). */
export const ETHERTYPE_EXPERIMENT = 0x88b5;

/** The address of every station (IEEE 802-2014, 8.2.2). */
export const BROADCAST: Uint8Array = new Uint8Array(6).fill(0xff);
/** The shortest frame without its check sequence (IEEE 802.3, 4A.4.2: 64 bytes with it). */
export const MIN_FRAME_BYTES = 60;

/**
 * Reads an address as people write it.
 *
 * @param text Six bytes in hexadecimal, colons between them.
 * @throws {RangeError} When it is something else.
 */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new RangeError(`Cannot read "${text}" as an Ethernet address`);
  }
  return Uint8Array.from(text.split(":"), (byte) => parseInt(byte, 16));
}

/** Writes an address as people read it. */
export function formatMac(mac: Uint8Array): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
