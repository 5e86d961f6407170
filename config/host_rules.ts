/**
 * What each address of a host port alone allows, but not all together.
 *
 * @module
 */
import { formatIpv4 } from "../src/ethernet/ipv4.ts";
import {
  addressNumber,
  formatInterface,
  formatNumber,
  hostsOf,
  networkOf,
  parseInterface,
  parseRange,
} from "./addresses.ts";
import type { TopologyFile } from "./schema.ts";
import type { DhcpConfig, HostConfig, InterfaceAddress } from "./topology.ts";
import { parseSeconds } from "./units.ts";

/** A host port as the file has it. */
type HostPort = Extract<TopologyFile["ports"][string], { type: "host" }>;

/** A mistake: where, what is wrong, what to write instead. */
export interface Contradiction {
  /** Keys and numbers from the top of the file. */
  readonly path: readonly (string | number)[];
  /** What is wrong. */
  readonly reason: string;
  /** What to write instead. */
  readonly fix: string;
}

/** A host port with its name and its addresses. */
interface Named extends Addresses {
  readonly name: string;
  readonly port: HostPort;
}

/** Addresses of a host. */
type Addresses = Pick<HostConfig, "ipv4" | "ipv6">;

/**
 * Takes the addresses of a host port.
 *
 * @param port Without mistakes.
 */
export function hostAddresses({ address }: HostPort): Addresses {
  const all = listOf(address).map(parseInterface);
  const [ipv4 = null] = all.filter(({ ip }) => ip.length === 4);
  const [ipv6 = null] = all.filter(({ ip }) => ip.length !== 4);
  return { ipv4, ipv6 };
}

/**
 * Takes the DHCP server of a host port; null when it has none.
 *
 * @param port Without mistakes.
 */
export function hostDhcp({ dhcp }: HostPort): DhcpConfig | null {
  if (dhcp === undefined) return null;
  const router = dhcp.router === undefined ? null : parseInterface(`${dhcp.router}/32`).ip;
  return { ...parseRange(dhcp.range), leaseSeconds: parseSeconds(dhcp.lease)!, router };
}

/**
 * Finds what does not go together in host ports.
 *
 * @param ports All ports of the file, each without mistakes of its own.
 */
export function hostContradictions(ports: TopologyFile["ports"]): Contradiction[] {
  const hosts = Object.entries(ports).flatMap(([name, port]): Named[] =>
    port.type === "host" ? [{ name, port, ...hostAddresses(port) }] : []
  );
  return hosts.flatMap((host, i) => [
    ...secondAddress(host),
    ...dhcpMistakes(host),
    ...hosts.slice(0, i).flatMap((other) => twins(host, other)),
    ...hosts.flatMap((other) => other === host ? [] : handedOut(host, other)),
  ]);
}

function secondAddress({ name, port }: Named): Contradiction[] {
  const lengths = listOf(port.address).map((text) => parseInterface(text).ip.length);
  return lengths.flatMap((length, i) => {
    if (lengths.indexOf(length) === i) return [];
    return [{
      path: ["ports", name, "address", i],
      reason: `a host has one ${length === 4 ? "IPv4" : "IPv6"} address`,
      fix: "give this one to a host of its own",
    }];
  });
}

function dhcpMistakes({ name, port, ipv4 }: Named): Contradiction[] {
  if (port.dhcp === undefined) return [];
  const path = ["ports", name, "dhcp"];
  if (ipv4 === null) {
    const reason = "a DHCP server needs an IPv4 address of its own";
    return [{ path, reason, fix: 'add one to address:, like [10.0.0.1/24, "fd00::1/64"]' }];
  }
  const found = rangeMistake(port.dhcp.range, ipv4);
  return [
    ...found === null ? [] : [{ path: [...path, "range"], ...found }],
    ...routerMistakes(port.dhcp.router, ipv4).map((more) => ({
      path: [...path, "router"],
      ...more,
    })),
  ];
}

function rangeMistake(range: string, own: InterfaceAddress): Omit<Contradiction, "path"> | null {
  const [first, last] = rangeNumbers(range);
  const hosts = hostsOf(own);
  if (first < hosts.first || last > hosts.last) {
    const reason = `this range is not inside the network ${network(own)}`;
    const fix = hosts.first > hosts.last
      ? "use a network with room for guests, like 10.0.0.1/24"
      : `use addresses from ${formatNumber(hosts.first)} to ${formatNumber(hosts.last)}`;
    return { reason, fix };
  }
  const number = addressNumber(own.ip);
  if (number < first || number > last) return null;
  return {
    reason: `this range contains the host's own address ${formatIpv4(own.ip)}`,
    fix: "leave it out, or give the host an address outside the range",
  };
}

function routerMistakes(
  router: string | undefined,
  own: InterfaceAddress,
): Omit<Contradiction, "path">[] {
  if (router === undefined) return [];
  const number = addressNumber(parseInterface(`${router}/32`).ip);
  const hosts = hostsOf(own);
  if (number >= hosts.first && number <= hosts.last) return [];
  const reason = `this router is not inside the network ${network(own)}`;
  return [{ reason, fix: "write an address that guests can reach without a router" }];
}

// The same address at two hosts of one bridge.
function twins(host: Named, other: Named): Contradiction[] {
  if (host.port.bridge !== other.port.bridge) return [];
  const texts = listOf(host.port.address);
  return texts.flatMap((text, i) => {
    const { ip } = parseInterface(text);
    const twin = [other.ipv4, other.ipv6].find((theirs) => theirs?.ip.join() === ip.join());
    if (twin === undefined) return [];
    const path = ["ports", host.name, "address"];
    return [{
      path: Array.isArray(host.port.address) ? [...path, i] : path,
      reason: `port "${other.name}" has the same address`,
      fix: "give each host of a bridge an address of its own",
    }];
  });
}

// A range with the address of another host of the bridge, or with addresses that another one gives out.
function handedOut(host: Named, other: Named): Contradiction[] {
  const range = host.port.dhcp?.range;
  if (range === undefined || host.port.bridge !== other.port.bridge) return [];
  const path = ["ports", host.name, "dhcp", "range"];
  const [first, last] = rangeNumbers(range);
  const theirs = other.ipv4 === null ? -1 : addressNumber(other.ipv4.ip);
  if (theirs >= first && theirs <= last) {
    const reason = `this range contains the address of port "${other.name}"`;
    return [{ path, reason, fix: "leave it out of the range" }];
  }
  const [otherFirst, otherLast] = rangeNumbers(other.port.dhcp?.range);
  if (first > otherLast || last < otherFirst) return [];
  const reason = `port "${other.name}" gives out some of the same addresses`;
  return [{ path, reason, fix: "give each server of a bridge a range of its own" }];
}

// No range contains nothing.
function rangeNumbers(range: string | undefined): [first: number, last: number] {
  if (range === undefined) return [Infinity, -Infinity];
  const { first, last } = parseRange(range);
  return [addressNumber(first), addressNumber(last)];
}

function network(own: InterfaceAddress): string {
  const ip = parseInterface(`${formatNumber(networkOf(own).start)}/32`).ip;
  return formatInterface({ ip, prefixBits: own.prefixBits });
}

function listOf(address: HostPort["address"]): readonly string[] {
  return typeof address === "string" ? [address] : address;
}
