import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { parseIpv4 } from "../../../src/ethernet/ipv4.ts";
import { decodeUdp, encodeUdp } from "../../../src/ethernet/udp.ts";

const SOURCE = parseIpv4("10.0.0.1");
const DESTINATION = parseIpv4("10.0.0.2");
const DATAGRAM = { sourcePort: 67, destinationPort: 68, payload: Uint8Array.of(1, 2, 3) };

Deno.test("encodeUdp makes the bytes of a datagram with its checksum (RFC 768)", () => {
  const { payload } = encodeUdp(SOURCE, DESTINATION, DATAGRAM);
  // 0a00 0001 0a00 0002 0011 000b 0043 0044 000b 0102 0300 add up to 18b3.
  deepStrictEqual([...payload], [0, 67, 0, 68, 0, 11, 0xe7, 0x4c, 1, 2, 3]);
});

Deno.test("decodeUdp gives back what encodeUdp was given, without padding", () => {
  const port = fc.integer({ min: 0, max: 0xffff });
  const any = fc.record(
    { sourcePort: port, destinationPort: port, payload: fc.uint8Array() },
    { noNullPrototype: true },
  );
  fc.assert(fc.property(any, (datagram) => {
    const packet = encodeUdp(SOURCE, DESTINATION, datagram);
    deepStrictEqual(decodeUdp(packet), datagram);
    const padded = Uint8Array.of(...packet.payload, 0, 0);
    deepStrictEqual(decodeUdp({ ...packet, payload: padded }), datagram);
  }));
});

Deno.test("decodeUdp takes a datagram without a checksum, and none that is damaged", () => {
  const packet = encodeUdp(SOURCE, DESTINATION, DATAGRAM);
  const changed = (...changes: [at: number, value: number][]) => {
    const payload = packet.payload.slice();
    for (const [at, value] of changes) payload[at] = value;
    return decodeUdp({ ...packet, payload });
  };
  deepStrictEqual(changed([6, 0], [7, 0]), DATAGRAM);
  strictEqual(changed([10, 4]), null);
  strictEqual(changed([5, 7]), null, "shorter than its header");
  strictEqual(changed([5, 12]), null, "beyond the end");
  strictEqual(decodeUdp({ ...packet, payload: packet.payload.subarray(0, 7) }), null);
  strictEqual(decodeUdp({ ...packet, protocol: 6 }), null);
});
