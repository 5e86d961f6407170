import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Generator, portStart } from "../../../src/bench/generator.ts";
import {
  BUFFER_OFFSET,
  BUFFER_STRIDE,
  MAX_RING_SIZE,
  PORT_BUFFERS,
  PORT_BYTES,
} from "../../../src/bench/memory_layout.ts";

const generator = await Generator.load();
const DESCRIPTOR_BYTES = 16;

/** Where the buffers of each ring begin, in the order of the descriptors. */
function layOut(size: number, isPacked: boolean): number[][] {
  const view = new DataView(generator.memory.buffer);
  return generator.layOut({ size, isPacked }).map(({ desc }) =>
    Array.from(
      { length: size },
      (_, i) => Number(view.getBigUint64(desc + i * DESCRIPTOR_BYTES, true)),
    )
  );
}

for (const isPacked of [false, true]) {
  const ring = isPacked ? "packed" : "split";

  Deno.test(`Generator gives every buffer of a ${ring} ring a place of its own`, () => {
    for (let size = 1; size <= MAX_RING_SIZE; size *= 2) {
      const starts = layOut(size, isPacked);
      strictEqual(new Set(starts.flat()).size, 4 * size, `${size} entries`);
      starts.forEach((buffers, i) => {
        const first = portStart(i >> 1) + PORT_BUFFERS;
        for (const at of buffers) {
          strictEqual((at - first - BUFFER_OFFSET) % BUFFER_STRIDE, 0);
          ok(at >= first && at + BUFFER_STRIDE <= portStart(i >> 1) + PORT_BYTES + BUFFER_OFFSET);
        }
      });
    }
  });

  Deno.test(`Generator puts four buffers of a ${ring} ring beside each other, not more`, () => {
    for (const size of [64, 256, 1024]) {
      for (const buffers of layOut(size, isPacked)) {
        const steps = buffers.slice(1).map((at, i) => (at - buffers[i]!) / BUFFER_STRIDE);
        const within = steps.filter((_, i) => (i + 1) % 4 !== 0);
        const between = steps.filter((_, i) => (i + 1) % 4 === 0);
        ok(within.every((step) => step === 1), `${size} entries`);
        // A few are neighbours by chance, as they would be in a pool.
        ok(between.filter((step) => step === 1).length <= size / 32, `${size} entries`);
        ok(new Set(between).size > 4, `${size} entries: ${[...new Set(between)]}`);
      }
    }
  });
}

Deno.test("Generator lays out the rings of a ring's size in the same way each time", () => {
  deepStrictEqual(layOut(256, false), layOut(256, false));
});
