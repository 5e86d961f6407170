/**
 * What a host answers, and what it does not. Frames are arrays; no sockets, no clock.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { ARP_REPLY, REVERSE_ARP_REQUEST } from "../../../src/ethernet/arp.ts";
import { BROADCAST, ETHERTYPE_ARP, parseMac } from "../../../src/ethernet/frame.ts";
import { decodeEcho, encodeEcho, ICMP_ECHO_REPLY } from "../../../src/ethernet/icmp.ts";
import {
  FLAG_OVERRIDE,
  FLAG_SOLICITED,
  ICMP6_ECHO_REPLY,
  isIcmp6,
  NEIGHBOUR,
  NEIGHBOUR_ADVERTISEMENT,
} from "../../../src/ethernet/icmp6.ts";
import { parseIpv4 } from "../../../src/ethernet/ipv4.ts";
import { ALL_NODES, groupMac, linkLocalAddress, parseIpv6 } from "../../../src/ethernet/ipv6.ts";
import { Station } from "../../../src/host/station.ts";
import {
  type Addresses,
  arpOf,
  arpRequest,
  ECHO,
  headerOf,
  icmp6,
  ipv4Of,
  ipv6Of,
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
const LINK_LOCAL = linkLocalAddress(HOST.mac);
const NOBODY = parseIpv6("::");

function station(): Station {
  return new Station({
    ...{ mac: HOST.mac, ipv4: HOST.ip, ipv6: [LINK_LOCAL, HOST.ip6], dhcp: null },
  });
}

function answer(frame: Uint8Array): Uint8Array | null {
  return station().answer(frame, 0);
}

/** The frame with another byte somewhere. */
function changed(frame: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const copy = frame.slice();
  copy.set(bytes, at);
  return copy;
}

Deno.test("Station answers an ARP request for its address to the asker alone", () => {
  const reply = answer(arpRequest(US, HOST.ip))!;
  const header = { destination: US.mac, source: HOST.mac, type: ETHERTYPE_ARP };
  deepStrictEqual(headerOf(reply), header);
  const { operation, senderMac, senderIp, targetMac, targetIp } = arpOf(reply);
  strictEqual(operation, ARP_REPLY);
  deepStrictEqual([senderMac, senderIp], [HOST.mac, HOST.ip]);
  deepStrictEqual([targetMac, targetIp], [US.mac, US.ip]);
  strictEqual(reply.length, 60);
});

Deno.test("Station answers whoever looks whether its IPv4 address is taken (RFC 5227)", () => {
  const reply = answer(arpRequest(US, HOST.ip, { senderIp: new Uint8Array(4) }));
  deepStrictEqual(arpOf(reply!).senderIp, HOST.ip);
});

Deno.test("Station answers no other ARP frame", () => {
  strictEqual(answer(arpRequest(US, US.ip)), null);
  for (const operation of [0, ARP_REPLY, REVERSE_ARP_REQUEST]) {
    strictEqual(answer(arpRequest(US, HOST.ip, { operation })), null);
  }
  for (const more of [{ hardwareType: 6 }, { protocolType: 1 }, { hardwareBytes: 8 }]) {
    strictEqual(answer(arpRequest(US, HOST.ip, more)), null);
  }
  strictEqual(answer(arpRequest(US, HOST.ip).subarray(0, 41)), null);
});

Deno.test("Station answers a ping with what it carried, whole and undamaged", () => {
  const reply = answer(ping4(US, HOST))!;
  const { destination, source } = headerOf(reply);
  deepStrictEqual([destination, source], [US.mac, HOST.mac]);
  const packet = ipv4Of(reply);
  deepStrictEqual([packet.source, packet.destination], [HOST.ip, US.ip]);
  deepStrictEqual(decodeEcho(packet.payload), { ...ECHO, type: ICMP_ECHO_REPLY });
  strictEqual(reply.length, 14 + 20 + 8 + ECHO.data.length);
});

Deno.test("Station answers a ping of any length, and leaves padding out", () => {
  for (const length of [0, 1, 2, 17, 18, 19, 1472]) {
    const data = new Uint8Array(length).fill(0xff);
    const ping = ping4(US, HOST, { payload: encodeEcho({ ...ECHO, data }) });
    const padded = new Uint8Array(Math.max(64, ping.length));
    padded.set(ping);
    const reply = answer(padded)!;
    strictEqual(reply.length, Math.max(60, 42 + length));
    deepStrictEqual(decodeEcho(ipv4Of(reply).payload)?.data, data);
  }
});

Deno.test("Station answers no ping to a group, to a broadcast or to another host", () => {
  for (const address of ["10.0.0.255", "255.255.255.255", "224.0.0.1", "10.0.0.2", "0.0.0.0"]) {
    strictEqual(answer(ping4(US, HOST, { destination: parseIpv4(address) })), null, address);
  }
  strictEqual(answer(ping4(US, { ...HOST, mac: BROADCAST })), null);
  strictEqual(answer(ping4(US, { ...HOST, mac: parseMac("01:00:5e:00:00:01") })), null);
  strictEqual(answer(ping4(US, { ...HOST, mac: US.mac })), null);
});

Deno.test("Station answers no frame for another station, which a switch floods as well", () => {
  const other = parseMac("52:54:00:00:00:03");
  for (const frame of [arpRequest(US, HOST.ip), solicitation(US, HOST.ip6), ping6(US, HOST)]) {
    ok(answer(changed(frame, 0, ...HOST.mac)) !== null);
    strictEqual(answer(changed(frame, 0, ...other)), null);
  }
});

Deno.test("Station answers nobody who is a group", () => {
  for (const address of ["0.0.0.0", "224.0.0.1", "255.255.255.255"]) {
    strictEqual(answer(ping4(US, HOST, { source: parseIpv4(address) })), null, address);
  }
  for (const frame of [ping4(US, HOST), ping6(US, HOST), arpRequest(US, HOST.ip)]) {
    strictEqual(answer(changed(frame, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), null);
  }
  strictEqual(answer(ping6(US, HOST, { source: ALL_NODES })), null);
  strictEqual(answer(ping6(US, HOST, { source: NOBODY })), null);
});

Deno.test("Station answers no damaged ping, no fragment and no answer", () => {
  const ping = ping4(US, HOST);
  strictEqual(answer(changed(ping, 14 + 20 + 8, 0)), null, "checksum of the echo");
  strictEqual(answer(changed(ping, 14 + 8, 1)), null, "checksum of the header");
  strictEqual(answer(changed(ping, 14, 0x46)), null, "options");
  strictEqual(answer(ping.subarray(0, ping.length - 1)), null, "cut short");
  const reply = encodeEcho({ ...ECHO, type: ICMP_ECHO_REPLY });
  strictEqual(answer(ping4(US, HOST, { payload: reply })), null, "reply");
  strictEqual(answer(ping4(US, HOST, { payload: new Uint8Array(7) })), null, "too short");
});

Deno.test("Station answers a ping over IPv6 to either of its addresses", () => {
  for (const ip6 of [HOST.ip6, LINK_LOCAL]) {
    const reply = answer(ping6(US, { ...HOST, ip6 }))!;
    const packet = ipv6Of(reply);
    deepStrictEqual([packet.source, packet.destination], [ip6, US.ip6]);
    ok(isIcmp6(packet));
    deepStrictEqual([...packet.payload.subarray(0, 2)], [ICMP6_ECHO_REPLY, 0]);
    deepStrictEqual(packet.payload.slice(8), ECHO.data);
    deepStrictEqual(headerOf(reply).destination, US.mac);
  }
});

Deno.test("Station answers no ping over IPv6 to a group, to another host or damaged", () => {
  strictEqual(answer(ping6(US, { ...HOST, mac: groupMac(ALL_NODES), ip6: ALL_NODES })), null);
  strictEqual(answer(ping6(US, { ...HOST, ip6: ALL_NODES })), null);
  strictEqual(answer(ping6(US, { ...HOST, mac: groupMac(ALL_NODES) })), null);
  strictEqual(answer(ping6(US, { ...HOST, ip6: US.ip6 })), null);
  const ping = ping6(US, HOST);
  strictEqual(answer(changed(ping, 14 + 40 + 8, 0)), null);
  strictEqual(answer(ping.subarray(0, ping.length - 1)), null);
});

Deno.test("Station advertises its IPv6 addresses to whoever solicits them (RFC 4861, 7.2.4)", () => {
  for (const target of [HOST.ip6, LINK_LOCAL]) {
    const reply = answer(solicitation(US, target))!;
    const packet = ipv6Of(reply);
    ok(isIcmp6(packet));
    strictEqual(packet.hopLimit, 255);
    deepStrictEqual([packet.source, packet.destination], [target, US.ip6]);
    const view = new DataView(packet.payload.buffer, packet.payload.byteOffset);
    const message = NEIGHBOUR.read(view);
    strictEqual(message.type, NEIGHBOUR_ADVERTISEMENT);
    strictEqual(message.flags, FLAG_SOLICITED | FLAG_OVERRIDE);
    deepStrictEqual(message.target, target);
    deepStrictEqual([...packet.payload.subarray(24)], [2, 1, ...HOST.mac]);
    deepStrictEqual(headerOf(reply).destination, US.mac);
  }
});

Deno.test("Station answers a solicitation that is for itself alone, as it is when it is remembered", () => {
  const more = { destination: HOST.ip6, options: [] };
  ok(answer(solicitation(US, HOST.ip6, more)) !== null);
});

Deno.test("Station tells every node when somebody wants to take its address (RFC 4862, 5.4)", () => {
  const reply = answer(solicitation(US, HOST.ip6, { source: NOBODY, options: [] }))!;
  deepStrictEqual(headerOf(reply).destination, groupMac(ALL_NODES));
  const { destination, payload } = ipv6Of(reply);
  deepStrictEqual(destination, ALL_NODES);
  const view = new DataView(payload.buffer, payload.byteOffset);
  strictEqual(NEIGHBOUR.read(view).flags, FLAG_OVERRIDE);
});

Deno.test("Station answers no solicitation that breaks a rule (RFC 4861, 7.1.1)", () => {
  const bad = {
    "passed a router": { hopLimit: 254 },
    "option without length": { options: [1, 0, 0, 0, 0, 0, 0, 0] },
    "option beyond the end": { options: [1, 2, 0, 0, 0, 0, 0, 0] },
    "half an option": { options: [1] },
    "to every node": { destination: ALL_NODES },
    "from nobody, with an address": { source: NOBODY },
    "from nobody, to one node": { source: NOBODY, options: [], destination: HOST.ip6 },
  };
  for (const [what, more] of Object.entries(bad)) {
    strictEqual(answer(solicitation(US, HOST.ip6, more)), null, what);
  }
  strictEqual(answer(solicitation(US, US.ip6)), null, "another's address");
  const short = new Uint8Array(23);
  short[0] = 135;
  strictEqual(answer(icmp6(HOST.mac, US, short, { destination: HOST.ip6 })), null, "too short");
});

Deno.test("Station without an address of a family answers nothing of that family", () => {
  const only6 = new Station({ mac: HOST.mac, ipv4: null, ipv6: [LINK_LOCAL], dhcp: null });
  strictEqual(only6.answer(arpRequest(US, HOST.ip), 0), null);
  strictEqual(only6.answer(ping4(US, HOST), 0), null);
  strictEqual(only6.answer(ping6(US, HOST), 0), null);
  ok(only6.answer(ping6(US, { ...HOST, ip6: LINK_LOCAL }), 0) !== null);
});
