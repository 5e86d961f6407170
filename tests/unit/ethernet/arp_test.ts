import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  ARP,
  ARP_ETHERNET_IPV4,
  ARP_REPLY,
  ARP_REQUEST,
  encodeReverseArp,
  isEthernetIpv4,
} from "../../../src/ethernet/arp.ts";

/** Who has 10.0.0.2? Tell 10.0.0.1 (RFC 826, "Packet format"). */
const REQUEST = [
  ...[0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01],
  ...[0x52, 0x54, 0x00, 0x00, 0x00, 0x01, 10, 0, 0, 1],
  ...[0, 0, 0, 0, 0, 0, 10, 0, 0, 2],
];

const request = {
  ...ARP_ETHERNET_IPV4,
  operation: ARP_REQUEST,
  senderMac: Uint8Array.of(0x52, 0x54, 0, 0, 0, 1),
  senderIp: Uint8Array.of(10, 0, 0, 1),
  targetMac: new Uint8Array(6),
  targetIp: Uint8Array.of(10, 0, 0, 2),
};

Deno.test("ARP writes a request as it is on the wire", () => {
  const data = new Uint8Array(ARP.size);
  ARP.write(new DataView(data.buffer), 0, request);
  deepStrictEqual([...data], REQUEST);
});

Deno.test("ARP reads a request from the wire", () => {
  deepStrictEqual(ARP.read(new DataView(Uint8Array.from(REQUEST).buffer)), request);
});

Deno.test("isEthernetIpv4 is true for requests and replies about Ethernet and IPv4", () => {
  strictEqual(isEthernetIpv4(request), true);
  strictEqual(isEthernetIpv4({ ...request, operation: ARP_REPLY }), true);
});

Deno.test("isEthernetIpv4 is false when one of the four fields is different", () => {
  strictEqual(isEthernetIpv4({ ...request, hardwareType: 6 }), false);
  strictEqual(isEthernetIpv4({ ...request, protocolType: 0x86dd }), false);
  strictEqual(isEthernetIpv4({ ...request, hardwareBytes: 8 }), false);
  strictEqual(isEthernetIpv4({ ...request, protocolBytes: 16 }), false);
});

/** A station that looks for its own address (RFC 903), padded to 60 bytes. */
const REVERSE_REQUEST = [
  ...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0x12, 0x34, 0x9f, 0x80, 0x35],
  ...[0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x03],
  ...[0x52, 0x54, 0x00, 0x12, 0x34, 0x9f, 0, 0, 0, 0],
  ...[0x52, 0x54, 0x00, 0x12, 0x34, 0x9f, 0, 0, 0, 0],
  ...new Array(18).fill(0),
];

Deno.test("encodeReverseArp makes a broadcast from the station about itself", () => {
  const address = Uint8Array.of(0x52, 0x54, 0x00, 0x12, 0x34, 0x9f);
  deepStrictEqual([...encodeReverseArp(address)], REVERSE_REQUEST);
});

Deno.test("encodeReverseArp keeps nothing of the address that it was given", () => {
  const address = Uint8Array.of(2, 0, 0, 0, 0, 1);
  const frame = encodeReverseArp(address);
  address.fill(0xff);
  deepStrictEqual([...frame.slice(6, 12)], [2, 0, 0, 0, 0, 1]);
});
