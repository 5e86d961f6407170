import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { MAX_QUEUE_SIZE, ringParts } from "../../../src/virtio/layouts.ts";
import {
  EVENT_SUPPRESS,
  PACKED_DESC,
  placePackedRing,
} from "../../../src/virtio/packed_layouts.ts";

Deno.test("PACKED_DESC is little-endian: address, length, buffer id, flags (2.8.13)", () => {
  const data = new Uint8Array(16);
  PACKED_DESC.write(new DataView(data.buffer), 0, {
    addr: 0x0102030405060708n,
    len: 0x5f4,
    id: 0x101,
    flags: 0x8082,
  });
  deepStrictEqual([...data], [8, 7, 6, 5, 4, 3, 2, 1, 0xf4, 5, 0, 0, 1, 1, 0x82, 0x80]);
});

Deno.test("EVENT_SUPPRESS has the position first, then the flags (2.8.14)", () => {
  const data = Uint8Array.of(0x03, 0x80, 2, 0);
  deepStrictEqual(EVENT_SUPPRESS.read(new DataView(data.buffer)), { off_wrap: 0x8003, flags: 2 });
});

Deno.test("placePackedRing gives every part the size and alignment that a device asks for", () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.integer({ min: 1, max: MAX_QUEUE_SIZE }), (block, size) => {
      const start = block * 16;
      const { desc, avail, used, end } = placePackedRing(start, size);
      const parts = ringParts(size, true);
      strictEqual(desc, start);
      ok(avail >= desc + parts.desc.bytes && avail % parts.avail.align === 0);
      ok(used >= avail + parts.avail.bytes && used % parts.used.align === 0);
      strictEqual(end, used + parts.used.bytes);
    }),
  );
});
