import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { internetChecksum } from "../../../src/ethernet/checksum.ts";
import {
  decodeEcho,
  encodeEcho,
  ICMP_ECHO,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
} from "../../../src/ethernet/icmp.ts";

/** Echo request 9 of conversation 1 with the data "abcd" (RFC 792). */
const REQUEST = [8, 0, 0x33, 0x2f, 0, 1, 0, 9, 0x61, 0x62, 0x63, 0x64];

const request = {
  type: ICMP_ECHO_REQUEST,
  identifier: 1,
  sequence: 9,
  data: new TextEncoder().encode("abcd"),
};

/** The fixture with another type and code, and with a checksum that is right again. */
function typed(type: number, code: number): Uint8Array {
  const data = Uint8Array.from(REQUEST);
  data.set([type, code, 0, 0]);
  const sum = internetChecksum(data);
  data.set([sum >> 8, sum & 0xff], 2);
  return data;
}

Deno.test("encodeEcho makes the bytes of a request", () => {
  deepStrictEqual([...encodeEcho(request)], REQUEST);
});

Deno.test("decodeEcho takes a request apart", () => {
  deepStrictEqual(decodeEcho(Uint8Array.from(REQUEST)), request);
});

Deno.test("decodeEcho gives back what encodeEcho was given", () => {
  const any = fc.record({
    type: fc.constantFrom(ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST),
    identifier: fc.nat(0xffff),
    sequence: fc.nat(0xffff),
    data: fc.uint8Array({ maxLength: 65 }),
  }, { noNullPrototype: true });
  fc.assert(fc.property(any, (echo) => deepStrictEqual(decodeEcho(encodeEcho(echo)), echo)));
});

Deno.test("decodeEcho accepts a reply of zeros only with its checksum of ones", () => {
  const reply = { type: ICMP_ECHO_REPLY, identifier: 0, sequence: 0, data: new Uint8Array(0) };
  deepStrictEqual([...encodeEcho(reply)], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
  deepStrictEqual(decodeEcho(encodeEcho(reply)), reply);
  strictEqual(decodeEcho(new Uint8Array(8)), null);
});

Deno.test("decodeEcho returns null when the header is cut off", () => {
  for (let length = 0; length < ICMP_ECHO.size; length++) {
    strictEqual(decodeEcho(Uint8Array.from(REQUEST).subarray(0, length)), null, `${length} bytes`);
  }
});

Deno.test("decodeEcho returns null when a bit is flipped", () => {
  for (let bit = 0; bit < REQUEST.length * 8; bit++) {
    const data = Uint8Array.from(REQUEST);
    data[bit >> 3]! ^= 1 << (bit & 7);
    strictEqual(decodeEcho(data), null, `bit ${bit}`);
  }
});

Deno.test("decodeEcho returns null for other types and codes", () => {
  deepStrictEqual(decodeEcho(typed(ICMP_ECHO_REPLY, 0)), { ...request, type: ICMP_ECHO_REPLY });
  strictEqual(decodeEcho(typed(3, 0)), null);
  strictEqual(decodeEcho(typed(13, 0)), null);
  strictEqual(decodeEcho(typed(ICMP_ECHO_REQUEST, 1)), null);
});
