/**
 * Whatever a guest sends: no parser of a host throws, and no frame has more than one answer or a longer
 * one than a host may send.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import fc from "fast-check";
import { decodeDhcp, DHCP, MessageType } from "../../../src/dhcp/message.ts";
import { decodeOptions } from "../../../src/dhcp/options.ts";
import { DhcpServer } from "../../../src/dhcp/server.ts";
import { internetChecksum } from "../../../src/ethernet/checksum.ts";
import { parseMac } from "../../../src/ethernet/frame.ts";
import { decodeEcho } from "../../../src/ethernet/icmp.ts";
import { decodeSolicitation, isIcmp6 } from "../../../src/ethernet/icmp6.ts";
import { decodeIpv4, encodeIpv4, parseIpv4 } from "../../../src/ethernet/ipv4.ts";
import { decodeIpv6, linkLocalAddress, parseIpv6 } from "../../../src/ethernet/ipv6.ts";
import { decodeUdp, encodeUdp } from "../../../src/ethernet/udp.ts";
import { Station } from "../../../src/host/station.ts";
import {
  type Addresses,
  arpRequest,
  dhcpFrame,
  dhcpMessage,
  frameOf,
  icmp6,
  ping4,
  ping6,
  solicitation,
} from "../../support/host_frames.ts";

const HOST: Addresses = {
  mac: parseMac("52:54:00:00:00:01"),
  ip: parseIpv4("10.0.0.1"),
  ip6: parseIpv6("fd00::1"),
};
const US: Addresses = {
  mac: parseMac("52:54:00:00:00:02"),
  ip: parseIpv4("10.0.0.2"),
  ip6: parseIpv6("fd00::2"),
};
/** What a receive buffer holds. */
const MAX_FRAME_BYTES = 2036;
/** A DHCP answer with a client's name of 255 bytes. */
const MAX_DHCP_ANSWER_BYTES = 600;
const RUNS = 3000;

const SEEDS = [
  arpRequest(US, HOST.ip),
  ping4(US, HOST),
  ping6(US, HOST),
  solicitation(US, HOST.ip6),
  ...Object.values(MessageType).map((type) => dhcpFrame(dhcpMessage(US.mac, type))),
];

function station(): Station {
  const [first, last] = [parseIpv4("10.0.0.100"), parseIpv4("10.0.0.103")];
  const dhcp = new DhcpServer({
    ...{ ip: HOST.ip, prefixBits: 24, first, last, leaseSeconds: 2, router: HOST.ip },
  });
  const ipv6 = [linkLocalAddress(HOST.mac), HOST.ip6];
  return new Station({ mac: HOST.mac, ipv4: HOST.ip, ipv6, dhcp });
}

/** A frame that a host knows, with some bytes changed, and cut or made longer. */
const mutation = fc.record({
  seed: fc.constantFrom(...SEEDS),
  changes: fc.array(fc.tuple(fc.nat(700), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
  length: fc.option(fc.nat(MAX_FRAME_BYTES)),
}).map(({ seed, changes, length }) => {
  const frame = new Uint8Array(length ?? seed.length);
  frame.set(seed.subarray(0, frame.length));
  for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
  return frame;
});
const garbage = fc.uint8Array({ maxLength: 200 });
/** DHCP with any options, and any field of its head; all checksums are right. */
const dhcp = fc.record({
  type: fc.integer({ min: 0, max: 9 }),
  head: fc.array(fc.tuple(fc.nat(DHCP.size - 5), fc.integer({ min: 0, max: 255 })), {
    maxLength: 4,
  }),
  options: fc.uint8Array({ maxLength: 300 }),
}).map(({ type, head, options }) => {
  const message = new Uint8Array(DHCP.size + 3 + options.length);
  message.set([1, 1, 6, 0]);
  message.set(US.mac, DHCP.offset.chaddr);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, type], DHCP.offset.cookie);
  message.set(options, DHCP.size + 3);
  for (const [at, value] of head) message[at] = value;
  const ports = { sourcePort: 68, destinationPort: 67, payload: message };
  return frameOf(HOST.mac, US.mac, 0x0800, encodeIpv4(encodeUdp(US.ip, HOST.ip, ports)));
});
/** ICMPv6 of any kind with a checksum that is right. */
const icmp = fc.uint8Array({ minLength: 4, maxLength: 80 })
  .map((message) => icmp6(HOST.mac, US, message, { destination: HOST.ip6 }));
/** A neighbour solicitation with any options. */
const neighbour = fc.uint8Array({ maxLength: 40 })
  .map((options) => solicitation(US, HOST.ip6, { options: [...options] }));

Deno.test("Station survives any frames, and says no more than it was told", () => {
  const frame = fc.oneof(garbage, mutation, dhcp, icmp, neighbour);
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 30 }), (frames) => {
      const us = station();
      frames.forEach((one, now) => {
        const length = one.length;
        const answer = us.answer(one, now);
        ok(answer === null || answer.length <= Math.max(length, MAX_DHCP_ANSWER_BYTES));
        ok(answer === null || answer.length >= 60);
      });
    }),
    { numRuns: RUNS / 10 },
  );
});

Deno.test("Station answers whatever is not DHCP with no more bytes than a frame has at least", () => {
  fc.assert(
    fc.property(fc.oneof(garbage, icmp, neighbour), (frame) => {
      const { length } = frame;
      const answer = station().answer(frame, 0);
      ok(answer === null || answer.length <= Math.max(length, 86));
    }),
    { numRuns: RUNS },
  );
});

Deno.test("Parsers of a host return null for what they do not know, and never throw", () => {
  const all: ((data: Uint8Array) => unknown)[] = [decodeDhcp, decodeOptions, decodeEcho];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (data) => {
      for (const parse of all) parse(data);
      const ipv4 = { source: US.ip, destination: HOST.ip, protocol: 17, payload: data };
      decodeUdp(ipv4);
      const ipv6 = { source: US.ip6, destination: HOST.ip6, protocol: 58, hopLimit: 255 };
      isIcmp6({ ...ipv6, payload: data });
      decodeSolicitation({ ...ipv6, payload: data });
    }),
    { numRuns: RUNS },
  );
});

Deno.test("decodeIpv4 and decodeIpv6 hand out nothing beyond the end of a frame", () => {
  const header = fc.tuple(fc.constantFrom(0x45, 0x60), fc.uint8Array({ maxLength: 120 }));
  fc.assert(
    fc.property(header, ([first, rest]) => {
      const data = Uint8Array.of(first, ...rest);
      if (first === 0x45 && data.length >= 20) {
        data.fill(0, 10, 12);
        const checksum = internetChecksum(data.subarray(0, 20));
        data.set([checksum >> 8, checksum & 0xff], 10);
      }
      for (const packet of [decodeIpv4(data), decodeIpv6(data)]) {
        if (packet === null) continue;
        ok(packet.payload.byteOffset + packet.payload.length <= data.length);
      }
    }),
    { numRuns: RUNS },
  );
});
