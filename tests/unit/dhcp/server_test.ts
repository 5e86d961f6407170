/**
 * The DHCP server's answers to what clients do (RFC 2131); its clock is a number.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { OFFER_SECONDS } from "../../../src/dhcp/leases.ts";
import { BOOT_REPLY, type DhcpMessage, MessageType } from "../../../src/dhcp/message.ts";
import { Option } from "../../../src/dhcp/options.ts";
import { type DhcpEvent, DhcpServer } from "../../../src/dhcp/server.ts";
import { formatIpv4, parseIpv4 } from "../../../src/ethernet/ipv4.ts";
import { dhcpMessage } from "../../support/host_frames.ts";

const { DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE } = MessageType;
const SERVER = parseIpv4("10.0.1.1");
const LEASE_SECONDS = 3600;

/** A server with three addresses, and what it reported. */
function server(router: string | null = null): { dhcp: DhcpServer; events: DhcpEvent[] } {
  const events: DhcpEvent[] = [];
  const dhcp = new DhcpServer({
    ip: SERVER,
    prefixBits: 24,
    first: parseIpv4("10.0.1.100"),
    last: parseIpv4("10.0.1.102"),
    leaseSeconds: LEASE_SECONDS,
    router: router === null ? null : parseIpv4(router),
  }, (event) => events.push(event));
  return { dhcp, events };
}

function macOf(number: number): Uint8Array {
  return Uint8Array.of(0x52, 0x54, 0, 0, 0, number);
}

/** Options that hold addresses. */
function addresses(options: Readonly<Record<number, string>>): Pick<DhcpMessage, "options"> {
  const entries = Object.entries(options)
    .map(([kind, text]) => [Number(kind), parseIpv4(text)] as const);
  return { options: new Map(entries) };
}

/** Kind of an answer, and the address in it. */
function said(answer: DhcpMessage | null): [number, string] | null {
  return answer === null ? null : [answer.type, formatIpv4(answer.yourIp)];
}

function discover(dhcp: DhcpServer, client: number, now = 0): [number, string] | null {
  return said(dhcp.answer(dhcpMessage(macOf(client), DISCOVER), now));
}

function select(dhcp: DhcpServer, client: number, wanted: string, now = 0, of = "10.0.1.1") {
  const options = addresses({ [Option.SERVER]: of, [Option.REQUESTED_ADDRESS]: wanted });
  return said(dhcp.answer(dhcpMessage(macOf(client), REQUEST, options), now));
}

function reboot(dhcp: DhcpServer, client: number, wanted: string, now = 0) {
  const options = addresses({ [Option.REQUESTED_ADDRESS]: wanted });
  return said(dhcp.answer(dhcpMessage(macOf(client), REQUEST, options), now));
}

function renew(dhcp: DhcpServer, client: number, used: string, now = 0) {
  const message = dhcpMessage(macOf(client), REQUEST, { clientIp: parseIpv4(used) });
  return said(dhcp.answer(message, now, "us"));
}

function rebind(dhcp: DhcpServer, client: number, used: string, now = 0) {
  const message = dhcpMessage(macOf(client), REQUEST, { clientIp: parseIpv4(used) });
  return said(dhcp.answer(message, now, "all"));
}

/** Gets an address from the first message to the last. */
function lease(dhcp: DhcpServer, client: number, now = 0): string {
  const [, ip] = discover(dhcp, client, now)!;
  deepStrictEqual(select(dhcp, client, ip, now), [ACK, ip]);
  return ip;
}

Deno.test("DhcpServer offers an address and acknowledges it with all that a client needs", () => {
  const { dhcp, events } = server("10.0.1.254");
  const message = dhcpMessage(macOf(1), DISCOVER, { transaction: 77, flags: 0x8000 });
  const offer = dhcp.answer(message, 0)!;
  strictEqual(offer.op, BOOT_REPLY);
  deepStrictEqual([offer.transaction, offer.flags, offer.mac], [77, 0x8000, macOf(1)]);
  deepStrictEqual(said(offer), [OFFER, "10.0.1.100"]);
  deepStrictEqual(events, []);
  const options = addresses({
    [Option.SERVER]: "10.0.1.1",
    [Option.REQUESTED_ADDRESS]: "10.0.1.100",
  });
  const ack = dhcp.answer(dhcpMessage(macOf(1), REQUEST, options), 0)!;
  deepStrictEqual(said(ack), [ACK, "10.0.1.100"]);
  for (const answer of [offer, ack]) {
    deepStrictEqual([...answer.options.get(Option.SUBNET_MASK)!], [255, 255, 255, 0]);
    deepStrictEqual([...answer.options.get(Option.LEASE_SECONDS)!], [0, 0, 0x0e, 0x10]);
    deepStrictEqual(answer.options.get(Option.SERVER), SERVER);
    deepStrictEqual(answer.options.get(Option.ROUTER), parseIpv4("10.0.1.254"));
  }
  deepStrictEqual(events, [{ kind: "leased", mac: macOf(1), ip: parseIpv4("10.0.1.100") }]);
});

Deno.test("DhcpServer names no router unless it was told one", () => {
  const { dhcp } = server();
  strictEqual(dhcp.answer(dhcpMessage(macOf(1), DISCOVER), 0)!.options.has(Option.ROUTER), false);
});

Deno.test("DhcpServer gives a client its name for itself back (RFC 6842)", () => {
  const { dhcp } = server();
  const options = new Map([[Option.CLIENT, Uint8Array.of(1, 2, 3)]]);
  const offer = dhcp.answer(dhcpMessage(macOf(1), DISCOVER, { options }), 0)!;
  deepStrictEqual(offer.options.get(Option.CLIENT), Uint8Array.of(1, 2, 3));
});

Deno.test("DhcpServer gives each client an address of its own, and the same one again", () => {
  const { dhcp, events } = server();
  deepStrictEqual([1, 2, 3].map((client) => lease(dhcp, client)), [
    "10.0.1.100",
    "10.0.1.101",
    "10.0.1.102",
  ]);
  strictEqual(lease(dhcp, 2, 10), "10.0.1.101");
  strictEqual(lease(dhcp, 2, 10 * LEASE_SECONDS), "10.0.1.101");
  strictEqual(events.length, 4, "a lease that goes on is no news");
});

Deno.test("DhcpServer offers the address that a client wants if it is free", () => {
  const { dhcp } = server();
  const want = (client: number, ip: string) => {
    const options = addresses({ [Option.REQUESTED_ADDRESS]: ip });
    return said(dhcp.answer(dhcpMessage(macOf(client), DISCOVER, options), 0))![1];
  };
  strictEqual(want(1, "10.0.1.101"), "10.0.1.101");
  strictEqual(want(2, "10.0.1.101"), "10.0.1.100");
  strictEqual(want(3, "10.0.1.1"), "10.0.1.102");
});

Deno.test("DhcpServer renews a lease for its full time", () => {
  const { dhcp } = server();
  const ip = lease(dhcp, 1);
  lease(dhcp, 2);
  lease(dhcp, 3);
  deepStrictEqual(renew(dhcp, 1, ip, LEASE_SECONDS - 1), [ACK, ip]);
  strictEqual(discover(dhcp, 4, 2 * LEASE_SECONDS - 2)?.[1], "10.0.1.101", "the oldest that ended");
  deepStrictEqual(renew(dhcp, 1, ip, 2 * LEASE_SECONDS - 2), [ACK, ip]);
});

Deno.test("DhcpServer refuses an address that it did not offer to this client", () => {
  const { dhcp } = server();
  const ip = lease(dhcp, 1);
  deepStrictEqual(select(dhcp, 2, ip), [NAK, "0.0.0.0"]);
  discover(dhcp, 2);
  deepStrictEqual(select(dhcp, 2, ip), [NAK, "0.0.0.0"]);
  deepStrictEqual(select(dhcp, 2, "10.0.1.102"), [NAK, "0.0.0.0"]);
});

Deno.test("DhcpServer refuses addresses of other networks (RFC 2131, 4.3.2)", () => {
  const { dhcp, events } = server();
  deepStrictEqual(reboot(dhcp, 1, "192.168.0.7"), [NAK, "0.0.0.0"]);
  deepStrictEqual(renew(dhcp, 1, "192.168.0.7"), [NAK, "0.0.0.0"]);
  deepStrictEqual(rebind(dhcp, 1, "192.168.0.7"), [NAK, "0.0.0.0"]);
  deepStrictEqual(select(dhcp, 1, "192.168.0.7"), [NAK, "0.0.0.0"]);
  const nak = dhcp.answer(dhcpMessage(macOf(1), REQUEST, { clientIp: parseIpv4("192.0.2.1") }), 0)!;
  deepStrictEqual([...nak.options.keys()], [Option.SERVER]);
  deepStrictEqual(nak.clientIp, new Uint8Array(4));
  deepStrictEqual(events, []);
});

Deno.test("DhcpServer answers a client that comes back with the address it had, and no other", () => {
  const { dhcp } = server();
  const ip = lease(dhcp, 1);
  deepStrictEqual(reboot(dhcp, 1, ip, 5), [ACK, ip]);
  deepStrictEqual(reboot(dhcp, 1, "10.0.1.102", 5), [NAK, "0.0.0.0"]);
  strictEqual(reboot(dhcp, 2, "10.0.1.102", 5), null, "it knows nothing of this client");
});

Deno.test("DhcpServer that was started again lets clients keep free addresses", () => {
  const { dhcp, events } = server();
  deepStrictEqual(renew(dhcp, 1, "10.0.1.101"), [ACK, "10.0.1.101"]);
  deepStrictEqual(renew(dhcp, 2, "10.0.1.101"), [NAK, "0.0.0.0"]);
  deepStrictEqual(renew(dhcp, 3, "10.0.1.1"), [NAK, "0.0.0.0"]);
  strictEqual(lease(dhcp, 2), "10.0.1.100");
  strictEqual(lease(dhcp, 3), "10.0.1.102");
  strictEqual(events.length, 3);
});

Deno.test("DhcpServer takes its offer back when the client chose another server", () => {
  const { dhcp } = server();
  discover(dhcp, 1);
  strictEqual(select(dhcp, 1, "10.0.1.100", 0, "10.0.1.2"), null);
  for (const client of [2, 3, 4]) ok(discover(dhcp, client) !== null);
});

Deno.test("DhcpServer takes a lease back when its client chose another server", () => {
  const { dhcp } = server();
  const ip = lease(dhcp, 1);
  strictEqual(select(dhcp, 1, "10.0.1.50", 1, "10.0.1.2"), null);
  for (const client of [2, 3]) lease(dhcp, client, 1);
  deepStrictEqual(discover(dhcp, 4, 2), [OFFER, ip]);
});

Deno.test("DhcpServer says nothing to a client of another server that comes back (RFC 2131, 4.3.2)", () => {
  const { dhcp } = server();
  const theirs = "10.0.1.50";
  discover(dhcp, 1);
  strictEqual(reboot(dhcp, 1, theirs), null, "was offered an address");
  select(dhcp, 1, theirs, 0, "10.0.1.2");
  strictEqual(reboot(dhcp, 1, theirs), null, "did not take it");
  lease(dhcp, 2);
  select(dhcp, 2, theirs, 1, "10.0.1.2");
  strictEqual(reboot(dhcp, 2, theirs, 1), null, "was ours before");
  lease(dhcp, 3);
  strictEqual(reboot(dhcp, 3, theirs, LEASE_SECONDS), null, "its lease is over");
});

Deno.test("DhcpServer says nothing to a client of another server that asks all to renew", () => {
  const { dhcp } = server();
  strictEqual(rebind(dhcp, 1, "10.0.1.50"), null);
  deepStrictEqual(renew(dhcp, 1, "10.0.1.50"), [NAK, "0.0.0.0"], "asks us, who never gave it");
  discover(dhcp, 2);
  strictEqual(rebind(dhcp, 2, "10.0.1.50"), null);
});

Deno.test("DhcpServer refuses a client that asks all to renew what only we give out", () => {
  const { dhcp } = server();
  const ip = lease(dhcp, 1);
  deepStrictEqual(rebind(dhcp, 1, ip, 1), [ACK, ip]);
  deepStrictEqual(rebind(dhcp, 1, "10.0.1.50", 1), [NAK, "0.0.0.0"], "beside its lease");
  deepStrictEqual(rebind(dhcp, 2, ip, 1), [NAK, "0.0.0.0"], "another's");
  deepStrictEqual(rebind(dhcp, 2, "10.0.1.1", 1), [NAK, "0.0.0.0"], "our own");
  deepStrictEqual(rebind(dhcp, 2, "10.0.1.102", 1), [ACK, "10.0.1.102"], "free");
});

Deno.test("DhcpServer lets a client keep a free address although it was offered another one", () => {
  const { dhcp } = server();
  discover(dhcp, 1);
  deepStrictEqual(rebind(dhcp, 1, "10.0.1.102"), [ACK, "10.0.1.102"]);
  deepStrictEqual(discover(dhcp, 1, 1), [OFFER, "10.0.1.102"]);
  lease(dhcp, 2, 1);
  deepStrictEqual(discover(dhcp, 3, OFFER_SECONDS), [OFFER, "10.0.1.100"], "the offer has ended");
});

Deno.test("DhcpServer says once that its range is exhausted, and goes on when an address is free", () => {
  const { dhcp, events } = server();
  for (const client of [1, 2, 3]) lease(dhcp, client);
  const exhaustions = () => events.filter(({ kind }) => kind === "exhausted-range").length;
  for (const client of [4, 5, 4]) strictEqual(discover(dhcp, client, 1), null);
  strictEqual(exhaustions(), 1);
  deepStrictEqual(discover(dhcp, 1, 1), [OFFER, "10.0.1.100"], "known clients are served");
  strictEqual(discover(dhcp, 4, 1), null);
  strictEqual(exhaustions(), 1);
  const release = dhcpMessage(macOf(2), RELEASE, { clientIp: parseIpv4("10.0.1.101") });
  strictEqual(dhcp.answer(release, 2), null);
  strictEqual(lease(dhcp, 4, 2), "10.0.1.101");
  strictEqual(discover(dhcp, 5, 3), null);
  strictEqual(exhaustions(), 2);
});

Deno.test("DhcpServer keeps a released address for its client until another one needs it", () => {
  const { dhcp } = server();
  lease(dhcp, 1);
  dhcp.answer(dhcpMessage(macOf(1), RELEASE, { clientIp: parseIpv4("10.0.1.100") }), 1);
  deepStrictEqual(discover(dhcp, 2, 2), [OFFER, "10.0.1.101"]);
  deepStrictEqual(discover(dhcp, 1, 2), [OFFER, "10.0.1.100"]);
});

Deno.test("DhcpServer lets nobody release or decline what another client has", () => {
  const { dhcp } = server();
  for (const client of [1, 2, 3]) lease(dhcp, client);
  const clientIp = parseIpv4("10.0.1.100");
  dhcp.answer(dhcpMessage(macOf(9), RELEASE, { clientIp }), 1);
  dhcp.answer(dhcpMessage(macOf(2), RELEASE, { clientIp }), 1);
  const options = addresses({ [Option.REQUESTED_ADDRESS]: "10.0.1.100" });
  dhcp.answer(dhcpMessage(macOf(2), DECLINE, options), 1);
  strictEqual(discover(dhcp, 4, 2), null);
  deepStrictEqual(renew(dhcp, 1, "10.0.1.100", 2), [ACK, "10.0.1.100"]);
});

Deno.test("DhcpServer gives nobody an address that was declined, for the time of a lease", () => {
  const { dhcp } = server();
  lease(dhcp, 1);
  const options = addresses({ [Option.REQUESTED_ADDRESS]: "10.0.1.100" });
  strictEqual(dhcp.answer(dhcpMessage(macOf(1), DECLINE, options), 1), null);
  strictEqual(lease(dhcp, 1, 1), "10.0.1.101");
  strictEqual(lease(dhcp, 2, 1), "10.0.1.102");
  strictEqual(discover(dhcp, 3, LEASE_SECONDS), null);
  deepStrictEqual(discover(dhcp, 3, LEASE_SECONDS + 1), [OFFER, "10.0.1.100"]);
});

Deno.test("DhcpServer gives an offer that nobody took to the next client", () => {
  const { dhcp } = server();
  for (const client of [1, 2, 3]) discover(dhcp, client);
  strictEqual(discover(dhcp, 4, OFFER_SECONDS - 1), null);
  deepStrictEqual(discover(dhcp, 4, OFFER_SECONDS), [OFFER, "10.0.1.100"]);
  deepStrictEqual(select(dhcp, 1, "10.0.1.100", OFFER_SECONDS), [NAK, "0.0.0.0"]);
});

Deno.test("DhcpServer answers no message that is not a client's on this link", () => {
  const { dhcp } = server();
  const message = dhcpMessage(macOf(1), DISCOVER);
  const bad: Partial<DhcpMessage>[] = [
    { op: BOOT_REPLY },
    { type: OFFER },
    { type: 99 },
    { relayIp: parseIpv4("10.9.9.9") },
    { mac: new Uint8Array(6) },
    { mac: new Uint8Array(6).fill(0xff) },
    { type: REQUEST },
  ];
  for (const more of bad) strictEqual(dhcp.answer({ ...message, ...more }, 0), null);
});

Deno.test("DhcpServer takes an address option of another length for none", () => {
  const { dhcp } = server();
  const options = new Map([[Option.REQUESTED_ADDRESS, Uint8Array.of(10, 0, 1)]]);
  const offer = dhcp.answer(dhcpMessage(macOf(1), DISCOVER, { options }), 0);
  deepStrictEqual(said(offer), [OFFER, "10.0.1.100"]);
  const short = new Map([[Option.SERVER, new Uint8Array(0)]]);
  strictEqual(dhcp.answer(dhcpMessage(macOf(1), REQUEST, { options: short }), 0), null);
});
