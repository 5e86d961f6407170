import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { internetChecksum } from "../../../src/ethernet/checksum.ts";
import {
  decodeIpv4,
  encodeIpv4,
  formatIpv4,
  IPV4,
  parseIpv4,
  PROTOCOL_ICMP,
} from "../../../src/ethernet/ipv4.ts";

/** From 192.168.0.1 to 192.168.0.199: a UDP header without data (RFC 791, 3.1; RFC 768). */
const PACKET = Uint8Array.of(
  ...[0x45, 0x00, 0x00, 0x1c, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0xb8],
  ...[0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7],
  ...[0x04, 0x00, 0x00, 0x35, 0x00, 0x08, 0x00, 0x00],
);

const packet = {
  source: Uint8Array.of(192, 168, 0, 1),
  destination: Uint8Array.of(192, 168, 0, 199),
  protocol: 17,
  payload: Uint8Array.of(0x04, 0x00, 0x00, 0x35, 0x00, 0x08, 0x00, 0x00),
};

/** The fixture with other bytes, and with a header checksum that is right again. */
function changed(bytes: Record<number, number>): Uint8Array {
  const data = PACKET.slice();
  for (const [at, byte] of Object.entries(bytes)) data[Number(at)] = byte;
  data.set([0, 0], 10);
  const sum = internetChecksum(data.subarray(0, IPV4.size));
  data.set([sum >> 8, sum & 0xff], 10);
  return data;
}

Deno.test("encodeIpv4 makes the bytes of a packet", () => {
  deepStrictEqual([...encodeIpv4(packet)], [...PACKET]);
});

Deno.test("decodeIpv4 takes a packet apart", () => {
  deepStrictEqual(decodeIpv4(PACKET), packet);
});

Deno.test("decodeIpv4 gives back what encodeIpv4 was given, without padding behind it", () => {
  const address = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const any = fc.record({
    source: address,
    destination: address,
    protocol: fc.nat(255),
    payload: fc.uint8Array({ maxLength: 100 }),
  }, { noNullPrototype: true });
  fc.assert(fc.property(any, fc.nat(46), (expected, padding) => {
    const data = Uint8Array.of(...encodeIpv4(expected), ...new Uint8Array(padding).fill(0xee));
    deepStrictEqual(decodeIpv4(data), expected);
  }));
});

Deno.test("decodeIpv4 reads a packet in the middle of a buffer", () => {
  const frame = Uint8Array.of(...new Uint8Array(14), ...PACKET);
  deepStrictEqual(decodeIpv4(frame.subarray(14)), packet);
});

Deno.test("decodeIpv4 returns null when the header is cut off", () => {
  for (let length = 0; length < IPV4.size; length++) {
    strictEqual(decodeIpv4(PACKET.subarray(0, length)), null, `${length} bytes`);
  }
});

Deno.test("decodeIpv4 returns null when the packet is longer than its data", () => {
  strictEqual(decodeIpv4(PACKET.subarray(0, PACKET.length - 1)), null);
});

Deno.test("decodeIpv4 returns null when a bit of the header is flipped", () => {
  for (let bit = 0; bit < IPV4.size * 8; bit++) {
    const data = PACKET.slice();
    data[bit >> 3]! ^= 1 << (bit & 7);
    strictEqual(decodeIpv4(data), null, `bit ${bit}`);
  }
});

Deno.test("decodeIpv4 returns null for other versions and for options", () => {
  ok(decodeIpv4(changed({})) !== null);
  strictEqual(decodeIpv4(changed({ 0: 0x65 })), null);
  strictEqual(decodeIpv4(changed({ 0: 0x46 })), null);
  strictEqual(decodeIpv4(changed({ 0: 0x44 })), null);
});

Deno.test("decodeIpv4 returns null for the first, a middle and the last fragment", () => {
  strictEqual(decodeIpv4(changed({ 6: 0x20, 7: 0 })), null);
  strictEqual(decodeIpv4(changed({ 6: 0x20, 7: 1 })), null);
  strictEqual(decodeIpv4(changed({ 6: 0x00, 7: 1 })), null);
  ok(decodeIpv4(changed({ 6: 0x00, 7: 0 })) !== null);
});

Deno.test("decodeIpv4 returns null when the total length is shorter than the header", () => {
  strictEqual(decodeIpv4(changed({ 2: 0, 3: 19 })), null);
  strictEqual(decodeIpv4(changed({ 2: 0, 3: 20 }))?.payload.length, 0);
});

Deno.test("decodeIpv4 never throws on random bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (data) => {
    decodeIpv4(data);
  }));
});

Deno.test("parseIpv4 reads four numbers", () => {
  deepStrictEqual(parseIpv4("10.0.0.1"), Uint8Array.of(10, 0, 0, 1));
  deepStrictEqual(parseIpv4("255.255.255.255"), Uint8Array.of(255, 255, 255, 255));
});

Deno.test("parseIpv4 throws at everything else", () => {
  const others = ["", "10.0.0", "10.0.0.1.2", "10.0.0.256", "10.0.0.-1", "10.0.0.", "a.b.c.d"];
  others.push("10.0.0.1e1", "10.0.0. 1", "0x0a.0.0.1", "10.0.0.0001", "::1", "10.0.0.1\n");
  for (const text of others) throws(() => parseIpv4(text), RangeError, JSON.stringify(text));
  throws(() => parseIpv4("me"), new RangeError('Cannot read "me" as an IPv4 address'));
});

Deno.test("parseIpv4 reads what formatIpv4 wrote", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (address) => {
    deepStrictEqual([...parseIpv4(formatIpv4(address))], [...address]);
  }));
});

Deno.test("PROTOCOL_ICMP is 1 on the wire", () => {
  strictEqual(encodeIpv4({ ...packet, protocol: PROTOCOL_ICMP })[9], 1);
});
