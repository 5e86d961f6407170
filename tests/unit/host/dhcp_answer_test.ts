/**
 * Where a host sends its DHCP answers (RFC 2131, 4.1).
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { FLAG_BROADCAST, MessageType } from "../../../src/dhcp/message.ts";
import { Option } from "../../../src/dhcp/options.ts";
import { DhcpServer } from "../../../src/dhcp/server.ts";
import { ETHERNET, parseMac } from "../../../src/ethernet/frame.ts";
import { formatIpv4, parseIpv4 } from "../../../src/ethernet/ipv4.ts";
import { Station } from "../../../src/host/station.ts";
import { dhcpFrame, dhcpMessage, dhcpOf, headerOf, ipv4Of } from "../../support/host_frames.ts";

const { DISCOVER, REQUEST, RELEASE, DECLINE, ACK, NAK, OFFER } = MessageType;
const MAC = parseMac("52:54:00:00:00:01");
const CLIENT = parseMac("52:54:00:00:00:02");
const OTHER = parseMac("52:54:00:00:00:03");

function station(): Station {
  const ip = parseIpv4("10.0.1.1");
  const [first, last] = [parseIpv4("10.0.1.100"), parseIpv4("10.0.1.200")];
  const dhcp = new DhcpServer({
    ...{ ip, prefixBits: 24, first, last, leaseSeconds: 60, router: null },
  });
  return new Station({ mac: MAC, ipv4: ip, ipv6: [], dhcp });
}

/** Kind of the answer and the address that its packet is sent to. */
function sentTo(answer: Uint8Array | null): [number, string] {
  deepStrictEqual(headerOf(answer!).destination, CLIENT);
  deepStrictEqual(headerOf(answer!).source, MAC);
  return [dhcpOf(answer!).type, formatIpv4(ipv4Of(answer!).destination)];
}

Deno.test("Station sends an offer to the address that it offers", () => {
  const answer = station().answer(dhcpFrame(dhcpMessage(CLIENT, DISCOVER)), 0);
  deepStrictEqual(sentTo(answer), [OFFER, "10.0.1.100"]);
});

Deno.test("Station sends an offer to all in a frame for one when the client asks for that", () => {
  const message = dhcpMessage(CLIENT, DISCOVER, { flags: FLAG_BROADCAST });
  deepStrictEqual(sentTo(station().answer(dhcpFrame(message), 0)), [OFFER, "255.255.255.255"]);
});

Deno.test("Station sends a renewal to the address in use, and a refusal to all in a frame for one", () => {
  const us = station();
  const clientIp = parseIpv4("10.0.1.150");
  const renewal = dhcpFrame(dhcpMessage(CLIENT, REQUEST, { clientIp }));
  deepStrictEqual(sentTo(us.answer(renewal, 0)), [ACK, "10.0.1.150"]);
  const options = new Map([[Option.REQUESTED_ADDRESS, parseIpv4("192.168.1.1")]]);
  const refused = dhcpFrame(dhcpMessage(CLIENT, REQUEST, { options }));
  deepStrictEqual(sentTo(us.answer(refused, 0)), [NAK, "255.255.255.255"]);
});

Deno.test("Station refuses an unknown address to a client that asks it alone, not to one that asks all", () => {
  const message = dhcpMessage(CLIENT, REQUEST, { clientIp: parseIpv4("10.0.1.50") });
  strictEqual(station().answer(dhcpFrame(message), 0), null);
  const toUs = dhcpFrame(message, parseIpv4("10.0.1.1"));
  deepStrictEqual(sentTo(station().answer(toUs, 0)), [NAK, "255.255.255.255"]);
});

Deno.test("Station hears nobody who speaks for another client", () => {
  const us = station();
  const clientIp = parseIpv4("10.0.1.100");
  const own = dhcpFrame(dhcpMessage(CLIENT, REQUEST, { clientIp }));
  deepStrictEqual(sentTo(us.answer(own, 0)), [ACK, "10.0.1.100"]);
  const options = new Map([[Option.REQUESTED_ADDRESS, clientIp]]);
  for (const type of [DISCOVER, REQUEST, RELEASE, DECLINE]) {
    const frame = dhcpFrame(dhcpMessage(CLIENT, type, { clientIp, options }));
    frame.set(OTHER, ETHERNET.offset.source);
    strictEqual(us.answer(frame, 0), null);
  }
  const wish = dhcpFrame(dhcpMessage(OTHER, DISCOVER, { options }));
  strictEqual(formatIpv4(dhcpOf(us.answer(wish, 0)!).yourIp), "10.0.1.101", "the lease goes on");
});

Deno.test("Station without a server answers no DHCP", () => {
  const us = new Station({ mac: MAC, ipv4: parseIpv4("10.0.1.1"), ipv6: [], dhcp: null });
  strictEqual(us.answer(dhcpFrame(dhcpMessage(CLIENT, DISCOVER)), 0), null);
});

Deno.test("Station answers no DHCP message whose datagram is damaged or for another port", () => {
  const good = dhcpFrame(dhcpMessage(CLIENT, DISCOVER));
  const changes = { port: [14 + 20 + 3, 68], checksum: [14 + 20 + 8 + 4, 9] } as const;
  for (const [what, [at, value]] of Object.entries(changes)) {
    const bad = good.slice();
    bad[at] = value;
    strictEqual(station().answer(bad, 0), null, what);
  }
});
