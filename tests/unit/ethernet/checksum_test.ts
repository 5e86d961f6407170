import { ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  adjustChecksum,
  internetChecksum,
  pseudoHeaderSum,
} from "../../../src/ethernet/checksum.ts";

Deno.test("internetChecksum agrees with the example of RFC 1071", () => {
  const data = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  strictEqual(internetChecksum(data), ~0xddf2 & 0xffff);
});

Deno.test("internetChecksum counts an odd last byte as the high half of a word", () => {
  strictEqual(internetChecksum(Uint8Array.of(0x12)), ~0x1200 & 0xffff);
  strictEqual(internetChecksum(Uint8Array.of(0, 1, 0x12)), ~0x1201 & 0xffff);
});

Deno.test("internetChecksum of no data is all ones", () => {
  strictEqual(internetChecksum(new Uint8Array(0)), 0xffff);
});

Deno.test("internetChecksum carries around twice where once is not enough", () => {
  strictEqual(internetChecksum(Uint8Array.of(0xff, 0xff, 0x00, 0x01)), 0xfffe);
  strictEqual(internetChecksum(new Uint8Array(65536 * 2 + 2).fill(0xff)), 0);
});

Deno.test("internetChecksum over data with its own checksum is 0", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 2, maxLength: 80 }), (data) => {
    data.set([0, 0]);
    const sum = internetChecksum(data);
    ok(sum >= 0 && sum <= 0xffff);
    data.set([sum >> 8, sum & 0xff]);
    strictEqual(internetChecksum(data), 0);
  }));
});

Deno.test("internetChecksum notices every change of a single bit", () => {
  const data = Uint8Array.from({ length: 21 }, (_, i) => i * 37);
  const before = internetChecksum(data);
  for (let bit = 0; bit < data.length * 8; bit++) {
    const changed = data.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    ok(internetChecksum(changed) !== before, `bit ${bit}`);
  }
});

Deno.test("adjustChecksum is what summing up anew would be (RFC 1624)", () => {
  const word = fc.integer({ min: 0, max: 0xffff });
  fc.assert(fc.property(fc.uint8Array({ minLength: 4, maxLength: 40 }), word, (data, after) => {
    const before = data[0]! << 8 | data[1]!;
    const checksum = internetChecksum(data);
    data.set([after >> 8, after & 0xff]);
    const [adjusted, anew] = [adjustChecksum(checksum, before, after), internetChecksum(data)];
    // Zero has two forms; which one comes out depends on the way.
    strictEqual(adjusted % 0xffff, anew % 0xffff);
  }));
});

Deno.test("pseudoHeaderSum adds up addresses, protocol and length", () => {
  strictEqual(
    pseudoHeaderSum(Uint8Array.of(1, 2), Uint8Array.of(3, 4), 17, 9),
    0x0102 + 0x0304 + 26,
  );
});
