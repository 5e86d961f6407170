/**
 * Host ports in topology files: what a good one becomes, and every mistake with its place.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { addressProblem, formatInterface, parseInterface } from "../../../config/addresses.ts";
import { parseTopology } from "../../../config/load.ts";
import type { HostConfig } from "../../../config/topology.ts";
import { parseIpv4 } from "../../../src/ethernet/ipv4.ts";
import { parseIpv6 } from "../../../src/ethernet/ipv6.ts";
import { mistake, mistakes } from "./mistakes.ts";

/** A file with host ports: for each name the rest of its keys. */
function file(...ports: [name: string, keys: string][]): string {
  const lines = ports.map(([name, keys]) => `  ${name}: { type: host, ${keys} }`);
  return ["version: 1", "bridges: { lan: }", "ports:", ...lines, ""].join("\n");
}

function host(keys: string): HostConfig {
  const [port] = parseTopology(file(["gw", keys]), "lab.yaml").ports;
  if (port?.type !== "host") throw new Error("want a host");
  return port;
}

/** Mark, reason and fix of the only mistake in the keys of a host. */
function wrong(keys: string): string[] {
  return mistake(file(["gw", keys])).slice(1);
}

const DHCP = "address: 10.0.1.1/24, dhcp:";

Deno.test("parseTopology fills in what the smallest host port leaves out", () => {
  deepStrictEqual(host("address: 10.0.0.1/24"), {
    name: "gw",
    type: "host",
    bridge: "br0",
    mac: "52:54:00:00:00:01",
    ipv4: { ip: parseIpv4("10.0.0.1"), prefixBits: 24 },
    ipv6: null,
    dhcp: null,
  });
});

Deno.test("parseTopology takes over everything that a host port says", () => {
  const keys = 'address: ["fd00::1/64", 10.0.1.1/24], mac: 52:54:00:AA:00:01, bridge: lan, ' +
    "dhcp: { range: 10.0.1.100 - 10.0.1.200, lease: 12h, router: 10.0.1.254 }";
  deepStrictEqual(host(keys), {
    name: "gw",
    type: "host",
    bridge: "lan",
    mac: "52:54:00:aa:00:01",
    ipv4: { ip: parseIpv4("10.0.1.1"), prefixBits: 24 },
    ipv6: { ip: parseIpv6("fd00::1"), prefixBits: 64 },
    dhcp: {
      first: parseIpv4("10.0.1.100"),
      last: parseIpv4("10.0.1.200"),
      leaseSeconds: 12 * 3600,
      router: parseIpv4("10.0.1.254"),
    },
  });
});

Deno.test("parseTopology leases for an hour unless told otherwise, without a router", () => {
  const { dhcp } = host(`${DHCP} { range: 10.0.1.9-10.0.1.9 }`);
  deepStrictEqual([dhcp?.leaseSeconds, dhcp?.router], [3600, null]);
});

Deno.test("parseTopology says what is wrong with an address of a host", () => {
  const example = "write one like 10.0.0.1/24 or fd00::1/64";
  const cases: [text: string, reason: string, fix: string][] = [
    ["10.0.0.1", "the length of the prefix is missing", "write 10.0.0.1/24"],
    ["10.0.0.256/24", "this is not an address", example],
    ["10.0.0/24", "this is not an address", example],
    ["10.0.0.1/24/8", "this is not an address", example],
    ["here", "this is not an address", example],
    [
      "10.0.0.1/33",
      "this is not the length of a prefix of IPv4",
      "write 10.0.0.1/1 to 10.0.0.1/32",
    ],
    ["10.0.0.1/0", "this is not the length of a prefix of IPv4", "write 10.0.0.1/1 to 10.0.0.1/32"],
    ["10.0.0.1/x", "this is not the length of a prefix of IPv4", "write 10.0.0.1/1 to 10.0.0.1/32"],
    ["10.0.0.0/24", "this is the address of the network itself", "write 10.0.0.1/24"],
    ["10.0.0.255/24", "this is the broadcast address of the network", "write 10.0.0.1/24"],
    ["127.0.0.1/8", "no host can have this address", example],
    ["224.0.0.1/24", "no host can have this address", example],
    ["0.0.0.1/8", "no host can have this address", example],
  ];
  for (const [text, reason, fix] of cases) {
    deepStrictEqual(wrong(`address: ${text}`), [text, reason, fix]);
  }
  const more: [text: string, reason: string, fix: string][] = [
    ["fd00::1", "the length of the prefix is missing", "write fd00::1/64"],
    ["fd00::1/064", "this is not the length of a prefix of IPv6", "write fd00::1/1 to fd00::1/128"],
    ["fd00::1/129", "this is not the length of a prefix of IPv6", "write fd00::1/1 to fd00::1/128"],
    ["fd00::1::2/64", "this is not an address", example],
    ["ff02::1/64", "no host can have this address", example],
    ["::1/128", "no host can have this address", example],
    ["::/64", "no host can have this address", example],
  ];
  for (const [text, reason, fix] of more) {
    deepStrictEqual(wrong(`address: "${text}"`), [`"${text}"`, reason, fix]);
  }
});

Deno.test("parseTopology refuses numbers with leading zeros in addresses of IPv4", () => {
  const reason = "other programs read a number with a leading zero as octal";
  const cases = [
    ["address: ", "010.0.0.1/24", "10.0.0.1/24"],
    ["address: ", "10.0.0.08/24", "10.0.0.8/24"],
    ["address: ", "10.00.0.1/024", "10.0.0.1/24"],
    [`${DHCP} { range: `, "10.0.1.010-10.0.1.020", "10.0.1.10-10.0.1.20"],
    [`${DHCP} { range: 10.0.1.9-10.0.1.10, router: `, "10.0.01.1", "10.0.1.1"],
  ] as const;
  for (const [keys, text, plain] of cases) {
    const close = "}".repeat(keys.split("{").length - 1);
    deepStrictEqual(wrong(`${keys}${text} ${close}`), [text, reason, `write ${plain}`]);
  }
  strictEqual(addressProblem("fd00:0001::01/64"), null);
});

Deno.test("parseTopology marks the address that is wrong in a list", () => {
  deepStrictEqual(mistake(file(["gw", 'address: [10.0.0.1/24, "fd00::1"]'])), [
    "4:44",
    '"fd00::1"',
    "the length of the prefix is missing",
    "write fd00::1/64",
  ]);
  deepStrictEqual(wrong("address: [10.0.0.1/24, 10.0.0.2/24]"), [
    "10.0.0.2/24",
    "a host has one IPv4 address",
    "give this one to a host of its own",
  ]);
  const four = file(["gw", 'address: [10.0.0.1/24, "fd00::1/64", 10.0.0.3/24, "fd00::2/64"]']);
  deepStrictEqual(mistakes(four).map(([, marked]) => marked), ["10.0.0.3/24", '"fd00::2/64"']);
  for (const none of ["[]", "7", "{ ip: 10.0.0.1/24 }"]) {
    deepStrictEqual(wrong(`address: ${none}`).slice(1), [
      "this is not an address",
      "write one like 10.0.0.1/24",
    ]);
  }
});

Deno.test("parseTopology takes the addresses at the ends of networks without a broadcast address", () => {
  for (const text of ["10.0.0.0/31", "10.0.0.1/31", "10.0.0.7/32"]) {
    strictEqual(addressProblem(text), null, text);
  }
});

Deno.test("parseTopology suggests the key of a host port that was meant", () => {
  deepStrictEqual(wrong("address: 10.0.0.1/24, dchp: {}"), [
    "dchp",
    'the key "dchp" is not known here',
    'did you mean "dhcp"?',
  ]);
  deepStrictEqual(wrong("address: 10.0.0.1/24, socket: a.sock"), [
    "socket",
    'the key "socket" is not known here',
    "use one of: type, address, mac, dhcp, bridge",
  ]);
  deepStrictEqual(wrong(`${DHCP} { range: 10.0.1.9-10.0.1.10, leese: 1h }`), [
    "leese",
    'the key "leese" is not known here',
    'did you mean "lease"?',
  ]);
});

Deno.test("parseTopology says which keys of a host port are missing", () => {
  deepStrictEqual(mistake("version: 1\nports:\n  h1: { type: host }\n"), [
    "3:3",
    "h1",
    '"address" is missing',
    "write one like 10.0.0.1/24",
  ]);
  deepStrictEqual(wrong(`${DHCP} {}`), [
    "dhcp",
    '"range" is missing',
    "write one like 10.0.0.100-10.0.0.200",
  ]);
});

Deno.test("parseTopology says what is wrong with a range", () => {
  const outside = "this range is not inside the network 10.0.1.0/24";
  const inside = "use addresses from 10.0.1.1 to 10.0.1.254";
  const none = "this is not a range of IPv4 addresses";
  const example = "write one like 10.0.0.100-10.0.0.200";
  const cases: [text: string, reason: string, fix: string][] = [
    ["10.0.1.100", none, example],
    ["10.0.1.100-", none, example],
    ["10.0.1.1-10.0.1.2-10.0.1.3", none, example],
    ["10.0.1.20-10.0.1.10", "this range ends before it begins", "write 10.0.1.10-10.0.1.20"],
    ["10.0.2.100-10.0.2.200", outside, inside],
    ["10.0.1.100-10.0.2.1", outside, inside],
    ["10.0.1.0-10.0.1.50", outside, inside],
    ["10.0.1.250-10.0.1.255", outside, inside],
    [
      "10.0.1.1-10.0.1.50",
      "this range contains the host's own address 10.0.1.1",
      "leave it out, or give the host an address outside the range",
    ],
    [
      "10.0.0.0-10.1.0.0",
      "this range has 65537 addresses",
      "use a part of it, at most 65536 addresses",
    ],
  ];
  for (const [text, reason, fix] of cases) {
    deepStrictEqual(wrong(`${DHCP} { range: ${text} }`), [text, reason, fix]);
  }
});

Deno.test("parseTopology says what is wrong with a lease and a router", () => {
  const range = "range: 10.0.1.9-10.0.1.10";
  deepStrictEqual(wrong(`${DHCP} { ${range}, lease: soon }`)[1], "this is not a duration");
  deepStrictEqual(wrong(`${DHCP} { ${range}, lease: 0s }`)[1], "this duration is out of range");
  deepStrictEqual(wrong(`${DHCP} { ${range}, router: 10.0.1.1/24 }`), [
    "10.0.1.1/24",
    "this is not an IPv4 address",
    "write one like 10.0.0.1, without a prefix",
  ]);
  deepStrictEqual(wrong(`${DHCP} { ${range}, router: 10.0.2.1 }`), [
    "10.0.2.1",
    "this router is not inside the network 10.0.1.0/24",
    "write an address that guests can reach without a router",
  ]);
});

Deno.test("parseTopology lets no host without an IPv4 address give out such addresses", () => {
  const dhcp = "{ range: 10.0.1.9-10.0.1.10 }";
  deepStrictEqual(wrong(`address: "fd00::1/64", dhcp: ${dhcp}`).slice(1), [
    "a DHCP server needs an IPv4 address of its own",
    'add one to address:, like [10.0.0.1/24, "fd00::1/64"]',
  ]);
  deepStrictEqual(
    wrong(`address: 10.0.0.1/32, dhcp: ${dhcp}`)[1],
    [
      "this range is not inside the network 10.0.0.1/32",
    ][0],
  );
});

Deno.test("parseTopology finds hosts of one bridge with the same address", () => {
  const same = (first: string, second: string) => mistakes(file(["h1", first], ["h2", second]));
  const fix = "give each host of a bridge an address of its own";
  const reason = 'port "h1" has the same address';
  deepStrictEqual(same("address: 10.0.0.1/24", "address: 10.0.0.1/8"), [
    ["5:30", "10.0.0.1/8", reason, fix],
  ]);
  const lists = ['[10.0.0.1/24, "fd00::1/64"]', '[10.0.0.2/24, "fd00:0::1/64"]'];
  deepStrictEqual(same(`address: ${lists[0]}`, `address: ${lists[1]}`), [
    ["5:44", '"fd00:0::1/64"', reason, fix],
  ]);
  deepStrictEqual(same("address: 10.0.0.1/24", "address: 10.0.0.1/24, bridge: lan"), []);
});

Deno.test("parseTopology finds ranges with addresses of other hosts of the bridge", () => {
  const server = "address: 10.0.1.1/24, dhcp: { range: 10.0.1.100-10.0.1.200 }";
  deepStrictEqual(mistakes(file(["gw", server], ["h2", "address: 10.0.1.150/24"])), [
    [
      "4:58",
      "10.0.1.100-10.0.1.200",
      'this range contains the address of port "h2"',
      "leave it out of the range",
    ],
  ]);
  const other = "address: 10.0.1.2/24, dhcp: { range: 10.0.1.200-10.0.1.220 }";
  const overlaps = mistakes(file(["gw", server], ["h2", other])).map(([, , reason]) => reason);
  deepStrictEqual(overlaps, [
    'port "h2" gives out some of the same addresses',
    'port "gw" gives out some of the same addresses',
  ]);
  deepStrictEqual(mistakes(file(["gw", server], ["h2", `${other}, bridge: lan`])), []);
});

Deno.test("parseTopology lets hosts and guests have no Ethernet address twice", () => {
  const text = file(["h1", "address: 10.0.0.1/24, mac: 52:54:00:00:00:09"]) +
    "  vm1: { type: vhost-user, socket: a.sock, mac: 52:54:00:00:00:09 }\n";
  deepStrictEqual(mistake(text).slice(1, 3), [
    "52:54:00:00:00:09",
    'port "h1" has the same address',
  ]);
});

Deno.test("formatInterface writes what parseInterface reads", () => {
  for (const text of ["10.0.0.1/24", "fd00::1/64", "fe80::5054:ff:fe00:1/64", "::ffff:0:1/96"]) {
    strictEqual(formatInterface(parseInterface(text)), text);
  }
});
