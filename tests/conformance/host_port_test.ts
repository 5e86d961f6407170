/**
 * Host ports of a running switch, asked by a guest on the same bridge.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { MessageType } from "../../src/dhcp/message.ts";
import { Option } from "../../src/dhcp/options.ts";
import { ARP_REPLY } from "../../src/ethernet/arp.ts";
import { ETHERTYPE_EXPERIMENT, formatMac, parseMac } from "../../src/ethernet/frame.ts";
import { decodeEcho, encodeEcho, ICMP_ECHO_REPLY } from "../../src/ethernet/icmp.ts";
import { ICMP6_ECHO_REPLY, NEIGHBOUR_ADVERTISEMENT } from "../../src/ethernet/icmp6.ts";
import { decodeIpv4, formatIpv4, parseIpv4 } from "../../src/ethernet/ipv4.ts";
import { linkLocalAddress, parseIpv6 } from "../../src/ethernet/ipv6.ts";
import { eventually } from "../support/eventually.ts";
import {
  type Addresses,
  arpOf,
  arpRequest,
  dhcpFrame,
  dhcpMessage,
  dhcpOf,
  ECHO,
  frameOf,
  headerOf,
  ipv4Of,
  ipv6Of,
  ping4,
  ping6,
  solicitation,
} from "../support/host_frames.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab, type TestLabOptions } from "../support/test_lab.ts";

const HOST: Addresses = {
  mac: parseMac("52:54:00:00:aa:01"),
  ip: parseIpv4("10.0.1.1"),
  ip6: parseIpv6("fd00::1"),
};
const GUEST: Addresses = {
  mac: parseMac("52:54:00:00:bb:02"),
  ip: parseIpv4("10.0.1.2"),
  ip6: parseIpv6("fd00::2"),
};
const HOSTS = 50;
const KEYS = 'address: [10.0.1.1/24, "fd00::1/64"], mac: 52:54:00:00:aa:01';
const OPTIONS: TestLabOptions = {
  ports: ["a"],
  hosts: { gw: `${KEYS}, dhcp: { range: 10.0.1.100-10.0.1.101, lease: 1h }` },
};

/** Sends a frame and waits for the answer. */
async function ask(guest: TestGuest, frame: Uint8Array): Promise<Uint8Array> {
  guest.send(frame);
  return await guest.receive();
}

async function withGuest(play: (guest: TestGuest, lab: TestLab) => Promise<void>): Promise<void> {
  await using lab = await TestLab.open(OPTIONS);
  await using guest = await TestGuest.attach(lab.path("a"));
  await play(guest, lab);
}

Deno.test("Host port answers ARP and pings of a guest", async () => {
  await withGuest(async (guest) => {
    const { operation, senderMac } = arpOf(await ask(guest, arpRequest(GUEST, HOST.ip)));
    deepStrictEqual([operation, senderMac], [ARP_REPLY, HOST.mac]);
    const reply = await ask(guest, ping4(GUEST, HOST));
    deepStrictEqual(decodeEcho(ipv4Of(reply).payload), { ...ECHO, type: ICMP_ECHO_REPLY });
  });
});

Deno.test("Host port answers neighbour discovery and pings over IPv6 of a guest", async () => {
  await withGuest(async (guest) => {
    for (const ip6 of [HOST.ip6, linkLocalAddress(HOST.mac)]) {
      const advertisement = ipv6Of(await ask(guest, solicitation(GUEST, ip6)));
      strictEqual(advertisement.payload[0], NEIGHBOUR_ADVERTISEMENT);
      deepStrictEqual([...advertisement.payload.subarray(26)], [...HOST.mac]);
      const { payload } = ipv6Of(await ask(guest, ping6(GUEST, { ...HOST, ip6 })));
      strictEqual(payload[0], ICMP6_ECHO_REPLY);
      deepStrictEqual(payload.slice(8), ECHO.data);
    }
  });
});

Deno.test("Host port answers a guest from its sleep as from its work", async () => {
  await withGuest(async (guest, lab) => {
    for (let i = 0; i < 50; i++) {
      const { source } = headerOf(await ask(guest, ping4(GUEST, HOST)));
      deepStrictEqual(source, HOST.mac);
      // Its thread has gone to sleep by then, the next time it has not.
      if (i % 2 === 0) await delay(5);
    }
    strictEqual(lab.report("gw").counters.receivedFrames, 50);
  });
});

Deno.test("Host port leases an address to a guest, renews it and says so once", async () => {
  await withGuest(async (guest, lab) => {
    const { DISCOVER, OFFER, REQUEST, ACK } = MessageType;
    const offer = dhcpOf(await ask(guest, dhcpFrame(dhcpMessage(GUEST.mac, DISCOVER))));
    deepStrictEqual([offer.type, formatIpv4(offer.yourIp)], [OFFER, "10.0.1.100"]);
    const options = new Map([
      [Option.SERVER, HOST.ip],
      [Option.REQUESTED_ADDRESS, offer.yourIp],
    ]);
    const request = dhcpMessage(GUEST.mac, REQUEST, { options });
    const ack = dhcpOf(await ask(guest, dhcpFrame(request)));
    deepStrictEqual([ack.type, ack.yourIp], [ACK, offer.yourIp]);
    deepStrictEqual([...ack.options.get(Option.SUBNET_MASK)!], [255, 255, 255, 0]);
    const renewal = dhcpMessage(GUEST.mac, REQUEST, { clientIp: offer.yourIp });
    deepStrictEqual(dhcpOf(await ask(guest, dhcpFrame(renewal))).type, ACK);
    await eventually("the lease", () => lab.events.find(({ kind }) => kind === "leased") ?? null);
    const news = lab.events.filter(({ port }) => port === "gw");
    deepStrictEqual(news, [
      { kind: "leased", port: "gw", mac: GUEST.mac, ip: parseIpv4("10.0.1.100") },
    ]);
  });
});

Deno.test("Host port refuses a foreign address, and says once that it has no more", async () => {
  await withGuest(async (guest, lab) => {
    const { DISCOVER, REQUEST, NAK } = MessageType;
    const foreign = dhcpMessage(GUEST.mac, REQUEST, { clientIp: parseIpv4("192.0.2.7") });
    strictEqual(dhcpOf(await ask(guest, dhcpFrame(foreign))).type, NAK);
    const discover = (number: number) =>
      dhcpFrame(dhcpMessage(Uint8Array.of(0x52, 0x54, 0, 0, 0xcc, number), DISCOVER));
    // What is for other stations is flooded to this guest as long as nobody knows where they are.
    for (const number of [1, 2]) await ask(guest, discover(number));
    for (const number of [3, 4, 5]) guest.send(discover(number));
    await ask(guest, ping4(GUEST, HOST));
    await eventually(
      "the exhaustion",
      () => lab.events.find(({ kind }) => kind === "exhausted-range") ?? null,
    );
    strictEqual(lab.events.filter(({ kind }) => kind === "exhausted-range").length, 1);
  });
});

Deno.test("Host port hears what its bridge floods, and answers none of it that is not for it", async () => {
  await withGuest(async (guest, lab) => {
    const others = { ...HOST, ip: parseIpv4("10.0.1.77"), ip6: parseIpv6("fd00::77") };
    guest.send(arpRequest(GUEST, others.ip));
    guest.send(ping4(GUEST, { ...others, mac: parseMac("52:54:00:00:cc:03") }));
    guest.send(solicitation(GUEST, others.ip6));
    guest.send(frameOf(HOST.mac, GUEST.mac, ETHERTYPE_EXPERIMENT, new Uint8Array(50)));
    guest.send(new Uint8Array(14).fill(0xff));
    const reply = await ask(guest, ping4(GUEST, HOST));
    strictEqual(decodeEcho(ipv4Of(reply).payload)?.type, ICMP_ECHO_REPLY);
    strictEqual(lab.report("gw").counters.receivedFrames, 1);
  });
});

Deno.test("Host port survives whatever a guest sends, and still answers", async () => {
  const known = [
    arpRequest(GUEST, HOST.ip),
    ping4(GUEST, HOST),
    ping6(GUEST, HOST),
    solicitation(GUEST, HOST.ip6),
    dhcpFrame(dhcpMessage(GUEST.mac, MessageType.DISCOVER)),
  ];
  const change = fc.tuple(fc.nat(320), fc.integer({ min: 0, max: 255 }));
  const garbage = fc.record({
    seed: fc.constantFrom(...known),
    changes: fc.array(change, { maxLength: 6 }),
    length: fc.integer({ min: 14, max: 1500 }),
  }).map(({ seed, changes, length }) => {
    const frame = new Uint8Array(length);
    frame.set(seed.subarray(0, length));
    for (const [at, value] of changes) if (at < length) frame[at] = value;
    // Its own address stays, so that the switch does not learn another one here.
    frame.set(GUEST.mac, 6);
    return frame;
  });
  await withGuest(async (guest, lab) => {
    for (const frame of fc.sample(garbage, 1000)) {
      await eventually("room for a frame", () => guest.send(frame) || null);
      // What comes back is of no interest, but must leave room for the next.
      while (guest.tryReceive() !== null);
    }
    const last = { ...ECHO, sequence: 4711 };
    const ping = ping4(GUEST, HOST, { payload: encodeEcho(last) });
    await eventually("the answer", () => {
      // The answers to garbage may have left no room for the one that counts: it is asked for again.
      guest.send(ping);
      const frame = guest.tryReceive();
      const packet = frame === null ? null : decodeIpv4(frame.subarray(14));
      const echo = packet === null ? null : decodeEcho(packet.payload);
      return echo?.sequence === last.sequence || null;
    });
    strictEqual(lab.report("gw").state, "up");
  });
});

Deno.test("Host ports of one switch are up as soon as it is open, and answer each for itself", async () => {
  const hosts = Object.fromEntries(
    Array.from({ length: HOSTS }, (_, i) => [`h${i}`, `address: 10.0.0.${i + 1}/24`]),
  );
  await using lab = await TestLab.open({ ports: ["a"], hosts });
  for (const name of Object.keys(hosts)) strictEqual(lab.report(name).state, "up");
  await using guest = await TestGuest.attach(lab.path("a"));
  const macs = new Set<string>();
  for (let i = 0; i < HOSTS; i++) {
    const reply = await ask(guest, arpRequest(GUEST, parseIpv4(`10.0.0.${i + 1}`)));
    macs.add(formatMac(arpOf(reply).senderMac));
  }
  strictEqual(macs.size, HOSTS);
  deepStrictEqual(lab.events.filter(({ port }) => port !== "a"), [], "hosts come without a word");
});

Deno.test("Host ports give back every descriptor and mapping when the switch closes", async () => {
  const play = async () => {
    await withGuest(async (guest) => void await ask(guest, ping4(GUEST, HOST)));
  };
  await play(); // What a process opens once and keeps.
  // A thread that has ended closes descriptors of its own a moment later.
  const settled = (what: string, count: () => number, most: number) =>
    eventually(what, () => count() <= most || null);
  const before = countDescriptors();
  for (let i = 0; i < 3; i++) await play();
  await settled("the descriptors", countDescriptors, before);
  await settled("the mappings", () => countMappings(Deno.pid, "memfd:labswitch-host"), 0);
});
