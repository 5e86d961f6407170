/**
 * Addresses of hosts as people write them, and what can be wrong with one.
 *
 * A problem is a reason and a fix.
 *
 * @module
 */
import { formatIpv4, parseIpv4 } from "../src/ethernet/ipv4.ts";
import { formatIpv6, isIpv6Group, isUnspecified, parseIpv6 } from "../src/ethernet/ipv6.ts";
import type { InterfaceAddress } from "./topology.ts";

/** What is wrong, and what to write instead. */
export type Problem = readonly [reason: string, fix: string];

/** Addresses from a first to a last one. */
export interface AddressRange {
  /** The first, 4 bytes. */
  readonly first: Uint8Array;
  /** The last, 4 bytes. */
  readonly last: Uint8Array;
}

/** Most addresses of a range. */
export const MAX_RANGE_ADDRESSES = 65_536;
const IPV4_BITS = 32;
const IPV6_BITS = 128;
const EXAMPLES = "write one like 10.0.0.1/24 or fd00::1/64";
/** Shorter networks of IPv4 have no address of their own and no broadcast (RFC 3021). */
const LONGEST_WITH_BROADCAST = 30;

/**
 * Reads an address with the length of its prefix.
 *
 * @param text As in `10.0.0.1/24` or `fd00::1/64`, without a problem.
 */
export function parseInterface(text: string): InterfaceAddress {
  const [ip = "", bits] = text.split("/");
  return { ip: parseAddress(ip)!, prefixBits: Number(bits) };
}

/** Writes an address with the length of its prefix. */
export function formatInterface({ ip, prefixBits }: InterfaceAddress): string {
  return `${ip.length === 4 ? formatIpv4(ip) : formatIpv6(ip)}/${prefixBits}`;
}

/** Says what is wrong with an address of a host; null when nothing is. */
export function addressProblem(text: string): Problem | null {
  const [head = "", bits, ...more] = text.split("/");
  const ip = parseAddress(head);
  if (ip === null || more.length > 0) return ["this is not an address", EXAMPLES];
  const octal = octalProblem(text);
  if (octal !== null) return octal;
  const most = ip.length === 4 ? IPV4_BITS : IPV6_BITS;
  if (bits === undefined) {
    const usual = ip.length === 4 ? 24 : 64;
    return ["the length of the prefix is missing", `write ${text}/${usual}`];
  }
  if (!/^[1-9]\d{0,2}$/.test(bits) || Number(bits) > most) {
    const family = ip.length === 4 ? "IPv4" : "IPv6";
    return [
      `this is not the length of a prefix of ${family}`,
      `write ${head}/1 to ${head}/${most}`,
    ];
  }
  return ip.length === 4 ? hostProblem4(ip, Number(bits)) : hostProblem6(ip);
}

/**
 * Reads a range.
 *
 * @param text As in `10.0.0.100-10.0.0.200`, without a problem.
 */
export function parseRange(text: string): AddressRange {
  const [first, last] = text.split("-").map((end) => parseIpv4(end.trim()));
  return { first: first!, last: last! };
}

/** Says what is wrong with a range on its own; null when nothing is. */
export function rangeProblem(text: string): Problem | null {
  const ends = text.split("-").map((end) => parseAddress(end.trim()));
  const [first = null, last = null] = ends;
  if (ends.length !== 2 || first?.length !== 4 || last?.length !== 4) {
    return ["this is not a range of IPv4 addresses", "write one like 10.0.0.100-10.0.0.200"];
  }
  const octal = octalProblem(text);
  if (octal !== null) return octal;
  const count = addressNumber(last) - addressNumber(first) + 1;
  if (count < 1) {
    return ["this range ends before it begins", `write ${formatIpv4(last)}-${formatIpv4(first)}`];
  }
  if (count <= MAX_RANGE_ADDRESSES) return null;
  return [
    `this range has ${count} addresses`,
    `use a part of it, at most ${MAX_RANGE_ADDRESSES} addresses`,
  ];
}

/** Says what is wrong with the address of a router on its own; null when nothing is. */
export function routerProblem(text: string): Problem | null {
  if (parseAddress(text)?.length === 4) return octalProblem(text);
  return ["this is not an IPv4 address", "write one like 10.0.0.1, without a prefix"];
}

/** An IPv4 address as a number. */
export function addressNumber(ip: Uint8Array): number {
  return ip.reduce((number, byte) => number * 256 + byte, 0);
}

/** The network of an IPv4 address, as numbers: its own address and its broadcast address. */
export function networkOf({ ip, prefixBits }: InterfaceAddress): { start: number; end: number } {
  const size = 2 ** (IPV4_BITS - prefixBits);
  const start = Math.floor(addressNumber(ip) / size) * size;
  return { start, end: start + size - 1 };
}

/**
 * The addresses of an IPv4 network that hosts can have, as numbers.
 *
 * @param address Any of its addresses.
 */
export function hostsOf(address: InterfaceAddress): { first: number; last: number } {
  const { start, end } = networkOf(address);
  if (address.prefixBits > LONGEST_WITH_BROADCAST) return { first: start, last: end };
  return { first: start + 1, last: end - 1 };
}

/** Writes the number of an IPv4 address as people read it. */
export function formatNumber(address: number): string {
  return [24, 16, 8, 0].map((shift) => address >>> shift & 0xff).join(".");
}

function parseAddress(text: string): Uint8Array | null {
  try {
    return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

// C's inet_aton reads 010 as 8, and with it ping, ip and others.
function octalProblem(text: string): Problem | null {
  const plain = text.replaceAll(/(?<!\d)0+(?=\d)/g, "");
  if (plain === text || text.includes(":")) return null;
  return ["other programs read a number with a leading zero as octal", `write ${plain}`];
}

function hostProblem4(ip: Uint8Array, prefixBits: number): Problem | null {
  // RFC 1122, 3.2.1.3: this network, loopback; RFC 1112, 4: groups and what is reserved.
  if (ip[0] === 0 || ip[0] === 127 || ip[0]! >= 224) {
    return ["no host can have this address", EXAMPLES];
  }
  const { first, last } = hostsOf({ ip, prefixBits });
  const number = addressNumber(ip);
  const fix = first > last ? EXAMPLES : `write ${formatNumber(first)}/${prefixBits}`;
  if (number < first) return ["this is the address of the network itself", fix];
  return number > last ? ["this is the broadcast address of the network", fix] : null;
}

function hostProblem6(ip: Uint8Array): Problem | null {
  const isLoopback = isUnspecified(ip.subarray(0, 15)) && ip[15] === 1;
  const isNone = isIpv6Group(ip) || isUnspecified(ip) || isLoopback;
  return isNone ? ["no host can have this address", EXAMPLES] : null;
}
