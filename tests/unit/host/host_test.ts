/**
 * Hosts on wires that are arrays; no sockets, no clock.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { ARP, ARP_ETHERNET_IPV4, ARP_REPLY, ARP_REQUEST } from "../../../src/ethernet/arp.ts";
import {
  BROADCAST,
  ETHERNET,
  ETHERTYPE_ARP,
  ETHERTYPE_EXPERIMENT,
  ETHERTYPE_IPV4,
  parseMac,
} from "../../../src/ethernet/frame.ts";
import {
  decodeEcho,
  type Echo,
  encodeEcho,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
} from "../../../src/ethernet/icmp.ts";
import { decodeIpv4, encodeIpv4, parseIpv4, PROTOCOL_ICMP } from "../../../src/ethernet/ipv4.ts";
import { Host } from "../../../src/host/host.ts";

const OUR_MAC = parseMac("52:54:00:00:00:01");
const OUR_IP = parseIpv4("10.0.0.1");
const PEER_MAC = parseMac("52:54:00:00:00:02");
const PEER_IP = parseIpv4("10.0.0.2");
const OTHER_MAC = parseMac("52:54:00:00:00:03");
const OTHER_IP = parseIpv4("10.0.0.3");

const ping: Echo = {
  type: ICMP_ECHO_REQUEST,
  identifier: 7,
  sequence: 1,
  data: Uint8Array.of(1, 2),
};

/** A host, the frames that it sent and the echo replies that it reported. */
function host(): { host: Host; sent: Uint8Array[]; replies: Echo[] } {
  const sent: Uint8Array[] = [];
  const replies: Echo[] = [];
  const made = new Host({
    mac: OUR_MAC,
    ip: OUR_IP,
    transmit: (frame) => sent.push(frame),
    onEchoReply: (echo) => replies.push(echo),
  });
  return { host: made, sent, replies };
}

function frame(type: number, payload: Uint8Array, destination = OUR_MAC): Uint8Array {
  const data = new Uint8Array(ETHERNET.size + payload.length);
  ETHERNET.write(new DataView(data.buffer), 0, { destination, source: PEER_MAC, type });
  data.set(payload, ETHERNET.size);
  return data;
}

function arp(operation: number, more: Partial<ReturnType<typeof ARP.read>> = {}): Uint8Array {
  const packet = new Uint8Array(ARP.size);
  ARP.write(new DataView(packet.buffer), 0, {
    ...ARP_ETHERNET_IPV4,
    operation,
    senderMac: PEER_MAC,
    senderIp: PEER_IP,
    targetMac: new Uint8Array(6),
    targetIp: OUR_IP,
    ...more,
  });
  return frame(ETHERTYPE_ARP, packet, BROADCAST);
}

function echo(message: Echo, destination = OUR_IP, protocol = PROTOCOL_ICMP): Uint8Array {
  const payload = encodeEcho(message);
  return frame(ETHERTYPE_IPV4, encodeIpv4({ source: PEER_IP, destination, protocol, payload }));
}

function headerOf(data: Uint8Array) {
  return ETHERNET.read(new DataView(data.buffer, data.byteOffset, data.byteLength));
}

function arpOf(data: Uint8Array) {
  return ARP.read(new DataView(data.buffer, data.byteOffset, data.byteLength), ETHERNET.size);
}

Deno.test("Host.resolve asks everyone", () => {
  const { host: us, sent } = host();
  us.resolve(PEER_IP);
  strictEqual(sent.length, 1);
  const header = { destination: BROADCAST, source: OUR_MAC, type: ETHERTYPE_ARP };
  deepStrictEqual(headerOf(sent[0]!), header);
  deepStrictEqual(arpOf(sent[0]!), {
    ...ARP_ETHERNET_IPV4,
    operation: ARP_REQUEST,
    senderMac: OUR_MAC,
    senderIp: OUR_IP,
    targetMac: new Uint8Array(6),
    targetIp: PEER_IP,
  });
});

Deno.test("Host sends no frame shorter than Ethernet allows", () => {
  const { host: us, sent } = host();
  us.resolve(PEER_IP);
  us.receive(arp(ARP_REPLY));
  us.sendEcho(PEER_IP, ping);
  deepStrictEqual(sent.map(({ length }) => length), [60, 60]);
});

Deno.test("Host answers an ARP request for its address to the asker alone", () => {
  const { host: us, sent } = host();
  us.receive(arp(ARP_REQUEST));
  strictEqual(sent.length, 1);
  const header = { destination: PEER_MAC, source: OUR_MAC, type: ETHERTYPE_ARP };
  deepStrictEqual(headerOf(sent[0]!), header);
  deepStrictEqual(arpOf(sent[0]!), {
    ...ARP_ETHERNET_IPV4,
    operation: ARP_REPLY,
    senderMac: OUR_MAC,
    senderIp: OUR_IP,
    targetMac: PEER_MAC,
    targetIp: PEER_IP,
  });
});

Deno.test("Host.neighbour is known after a request and after a reply, and not before", () => {
  for (const operation of [ARP_REQUEST, ARP_REPLY]) {
    const { host: us } = host();
    strictEqual(us.neighbour(PEER_IP), null);
    us.receive(arp(operation));
    deepStrictEqual(us.neighbour(PEER_IP), PEER_MAC);
    strictEqual(us.neighbour(OTHER_IP), null);
  }
});

Deno.test("Host.neighbour follows a host that moved to another address", () => {
  const { host: us } = host();
  us.receive(arp(ARP_REPLY));
  us.receive(arp(ARP_REPLY, { senderMac: OTHER_MAC }));
  deepStrictEqual(us.neighbour(PEER_IP), OTHER_MAC);
});

Deno.test("Host sends nothing in answer to an ARP reply", () => {
  const { host: us, sent } = host();
  us.receive(arp(ARP_REPLY));
  deepStrictEqual(sent, []);
});

Deno.test("Host ignores ARP for others, and ARP that is not about Ethernet and IPv4", () => {
  const { host: us, sent } = host();
  us.receive(arp(ARP_REQUEST, { targetIp: OTHER_IP }));
  us.receive(arp(ARP_REQUEST, { hardwareType: 6 }));
  us.receive(arp(ARP_REQUEST, { protocolBytes: 16 }));
  us.receive(arp(ARP_REQUEST).subarray(0, ETHERNET.size + ARP.size - 1));
  deepStrictEqual(sent, []);
  strictEqual(us.neighbour(PEER_IP), null);
});

Deno.test("Host.sendEcho sends nothing to a host whose address is not known", () => {
  const { host: us, sent } = host();
  strictEqual(us.sendEcho(PEER_IP, ping), false);
  deepStrictEqual(sent, []);
});

Deno.test("Host.sendEcho sends to the neighbour's address", () => {
  const { host: us, sent } = host();
  us.receive(arp(ARP_REPLY));
  strictEqual(us.sendEcho(PEER_IP, ping), true);
  const header = { destination: PEER_MAC, source: OUR_MAC, type: ETHERTYPE_IPV4 };
  deepStrictEqual(headerOf(sent[0]!), header);
  const packet = decodeIpv4(sent[0]!.subarray(ETHERNET.size))!;
  deepStrictEqual([packet.source, packet.destination], [OUR_IP, PEER_IP]);
  deepStrictEqual(decodeEcho(packet.payload), ping);
});

Deno.test("Host answers a ping with the same identifier, sequence and data", () => {
  const { host: us, sent, replies } = host();
  us.receive(arp(ARP_REPLY));
  us.receive(echo(ping));
  const packet = decodeIpv4(sent[0]!.subarray(ETHERNET.size))!;
  deepStrictEqual([packet.source, packet.destination], [OUR_IP, PEER_IP]);
  deepStrictEqual(decodeEcho(packet.payload), { ...ping, type: ICMP_ECHO_REPLY });
  deepStrictEqual(replies, []);
});

Deno.test("Host reports an echo reply and sends nothing", () => {
  const { host: us, sent, replies } = host();
  us.receive(arp(ARP_REPLY));
  us.receive(echo({ ...ping, type: ICMP_ECHO_REPLY }));
  deepStrictEqual(replies, [{ ...ping, type: ICMP_ECHO_REPLY }]);
  deepStrictEqual(sent, []);
});

Deno.test("Host ignores pings for others, other protocols and damaged packets", () => {
  const { host: us, sent } = host();
  us.receive(arp(ARP_REPLY));
  us.receive(echo(ping, OTHER_IP));
  us.receive(echo(ping, OUR_IP, 17));
  const damaged = echo(ping);
  damaged[damaged.length - 1]! ^= 1;
  us.receive(damaged);
  us.receive(echo(ping).subarray(0, 30));
  deepStrictEqual(sent, []);
});

Deno.test("Host sends an experimental frame back to its sender", () => {
  const { host: us, sent } = host();
  us.receive(frame(ETHERTYPE_EXPERIMENT, Uint8Array.of(1, 2, 3)));
  const header = { destination: PEER_MAC, source: OUR_MAC, type: ETHERTYPE_EXPERIMENT };
  deepStrictEqual(headerOf(sent[0]!), header);
  deepStrictEqual([...sent[0]!.subarray(ETHERNET.size)], [1, 2, 3]);
});

Deno.test("Host does not send back an experimental frame that was flooded to it for another", () => {
  const { host: us, sent } = host();
  us.receive(frame(ETHERTYPE_EXPERIMENT, Uint8Array.of(1, 2, 3), OTHER_MAC));
  deepStrictEqual(sent, []);
});

Deno.test("Host ignores other types of frames and what is too short to be one", () => {
  const { host: us, sent } = host();
  us.receive(frame(0x86dd, new Uint8Array(46)));
  const short = frame(ETHERTYPE_EXPERIMENT, new Uint8Array(0));
  for (let length = 0; length < ETHERNET.size; length++) us.receive(short.subarray(0, length));
  deepStrictEqual(sent, []);
});

Deno.test("Host never throws on random payloads of the types that it knows", () => {
  const types = fc.constantFrom(ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_EXPERIMENT);
  fc.assert(fc.property(types, fc.uint8Array({ maxLength: 60 }), (type, payload) => {
    host().host.receive(frame(type, payload));
  }));
});

Deno.test("Host pings another over a wire: resolve, answer, echo, reply", () => {
  const wire: (() => void)[] = [];
  const replies: Echo[] = [];
  const a = new Host({
    mac: OUR_MAC,
    ip: OUR_IP,
    transmit: (data) => wire.push(() => b.receive(data)),
    onEchoReply: (reply) => replies.push(reply),
  });
  const b: Host = new Host({
    mac: PEER_MAC,
    ip: PEER_IP,
    transmit: (data) => wire.push(() => a.receive(data)),
  });
  const settle = () => {
    for (let deliver = wire.shift(); deliver; deliver = wire.shift()) deliver();
  };
  a.resolve(PEER_IP);
  settle();
  ok(a.sendEcho(PEER_IP, ping));
  settle();
  deepStrictEqual(replies, [{ ...ping, type: ICMP_ECHO_REPLY }]);
});
