import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, seals } from "../../../ffi/memory.ts";
import { ETHERNET } from "../../../src/ethernet/frame.ts";
import { type Shape, slotAt, writeFrame } from "../../../src/probe/frames.ts";
import {
  BUFFER_BYTES,
  GUEST_ADDRESS,
  ProbeMemory,
  SECOND_REGION_AT,
} from "../../../src/probe/memory.ts";
import { QUEUE_SIZE } from "../../../src/probe/ring.ts";
import { MEMORY_REGION, MEMORY_TABLE_HEAD } from "../../../src/vhost_user/layouts.ts";

const HEADER_BYTES = 12;

function shaped(memory: ProbeMemory, shape: Shape) {
  return writeFrame(memory, 3, HEADER_BYTES, shape).map(({ address, length }) => {
    return { at: address - GUEST_ADDRESS, length };
  });
}

Deno.test("ProbeMemory describes regions that are adjacent in guest addresses", () => {
  using memory = new ProbeMemory();
  const view = new DataView(memory.table(2).buffer);
  strictEqual(MEMORY_TABLE_HEAD.read(view, 0).nregions, 2);
  const [first, second] = [0, 1].map((i) =>
    MEMORY_REGION.read(view, MEMORY_TABLE_HEAD.size + i * MEMORY_REGION.size)
  );
  strictEqual(first!.guest_phys_addr + first!.memory_size, second!.guest_phys_addr);
  ok(first!.userspace_addr !== first!.guest_phys_addr);
  ok(second!.mmap_offset > 0n);
  strictEqual(memory.table(1).length, MEMORY_TABLE_HEAD.size + MEMORY_REGION.size);
});

Deno.test("ProbeMemory hands out files that nobody can cut off", () => {
  using memory = new ProbeMemory();
  for (const file of memory.files) {
    strictEqual(seals(file), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  }
});

Deno.test("ProbeMemory has room for all buffers of both rings in its first region", () => {
  ok(slotAt(QUEUE_SIZE + QUEUE_SIZE / 2) <= SECOND_REGION_AT);
});

Deno.test("writeFrame lays a frame into one buffer, two, two regions, or across their boundary", () => {
  using memory = new ProbeMemory();
  const at = slotAt(3);
  deepStrictEqual(shaped(memory, "plain"), [{ at, length: 72 }]);
  deepStrictEqual(shaped(memory, "chain"), [{ at, length: 12 }, { at: at + 12, length: 60 }]);
  deepStrictEqual(shaped(memory, "regions"), [
    { at, length: 12 },
    { at: SECOND_REGION_AT, length: 60 },
  ]);
  const [across] = shaped(memory, "straddling");
  ok(across!.at < SECOND_REGION_AT && across!.at + across!.length > SECOND_REGION_AT);
  deepStrictEqual(shaped(memory, "second"), [{ at: SECOND_REGION_AT, length: 72 }]);
});

Deno.test("writeFrame addresses its frame to itself", () => {
  using memory = new ProbeMemory();
  const { at } = shaped(memory, "plain")[0]!;
  ok(memory.bytes.subarray(at, at + HEADER_BYTES).every((byte) => byte === 0));
  const view = new DataView(memory.bytes.buffer);
  const { destination, source } = ETHERNET.read(view, at + HEADER_BYTES);
  deepStrictEqual(destination, source);
  // Locally administered, and of a single station.
  strictEqual(source[0]! & 3, 2);
  ok(at + BUFFER_BYTES <= SECOND_REGION_AT);
});
