import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  AVAIL_ALIGN,
  availRingBytes,
  DESC_ALIGN,
  descTableBytes,
  MAX_QUEUE_SIZE,
  placeRing,
  USED_ALIGN,
  usedRingBytes,
  VIRTIO_NET_HDR,
  VIRTQ_DESC,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_ELEM,
} from "../../../src/virtio/layouts.ts";

Deno.test("VIRTQ_DESC is little-endian: address, length, flags, next", () => {
  const data = new Uint8Array(16);
  VIRTQ_DESC.write(new DataView(data.buffer), 0, {
    addr: 0x0102030405060708n,
    len: 0x5f4,
    flags: VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE,
    next: 0x101,
  });
  deepStrictEqual([...data], [8, 7, 6, 5, 4, 3, 2, 1, 0xf4, 5, 0, 0, 3, 0, 1, 1]);
});

Deno.test("VIRTQ_USED_ELEM is little-endian: head of the chain, bytes written", () => {
  const data = Uint8Array.of(1, 2, 0, 0, 0xf4, 5, 0, 0);
  deepStrictEqual(VIRTQ_USED_ELEM.read(new DataView(data.buffer)), { id: 0x201, len: 0x5f4 });
});

Deno.test("VIRTIO_NET_HDR has num_buffers in its last two bytes, little-endian", () => {
  const data = Uint8Array.of(1, 4, 66, 0, 0xa8, 5, 34, 0, 16, 0, 1, 0);
  deepStrictEqual(VIRTIO_NET_HDR.read(new DataView(data.buffer)), {
    flags: 1,
    gso_type: 4,
    hdr_len: 66,
    gso_size: 1448,
    csum_start: 34,
    csum_offset: 16,
    num_buffers: 1,
  });
});

Deno.test("ring parts have the sizes of VIRTIO 1.2, 2.7, event indexes included", () => {
  for (const size of [1, 2, 256, MAX_QUEUE_SIZE]) {
    strictEqual(descTableBytes(size), 16 * size);
    strictEqual(availRingBytes(size), 6 + 2 * size);
    strictEqual(usedRingBytes(size), 6 + 8 * size);
  }
});

Deno.test("placeRing puts a ring of 256 where a driver without padding does", () => {
  deepStrictEqual(placeRing(0, 256), { desc: 0, avail: 4096, used: 4616, end: 6670 });
});

Deno.test("placeRing aligns every part and lets none overlap", () => {
  fc.assert(fc.property(fc.nat(1000), fc.integer({ min: 0, max: 15 }), (block, power) => {
    const [start, size] = [block * DESC_ALIGN, 2 ** power];
    const { desc, avail, used, end } = placeRing(start, size);
    strictEqual(desc, start);
    strictEqual(avail % AVAIL_ALIGN, 0);
    strictEqual(used % USED_ALIGN, 0);
    ok(avail >= desc + descTableBytes(size));
    ok(used >= avail + availRingBytes(size));
    strictEqual(end, used + usedRingBytes(size));
  }));
});
