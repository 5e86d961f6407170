/**
 * The sequence checker of the generator's WebAssembly.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Generator } from "../../../src/bench/generator.ts";
import {
  DIRECTIONS,
  FLOW_EXPECTED,
  FLOW_NEXT,
  FLOWS,
  HISTORY,
} from "../../../src/bench/memory_layout.ts";

/** Numbers that have left, more than arrive in any test. */
const SENT = 4 * HISTORY;

/** Lets numbers arrive; returns how many were new, of those late, and how many came once more. */
async function arrivals(numbers: readonly number[], expected = 0) {
  return arrivalsAt(await Generator.load(), numbers, expected);
}

function arrivalsAt(
  generator: Generator,
  numbers: readonly number[],
  expected: number,
  sent = SENT,
) {
  generator.begin({ frameBytes: 64, flows: 1 });
  const memory = new Uint32Array(generator.memory.buffer);
  memory[(FLOWS + FLOW_EXPECTED) >> 2] = expected;
  memory[(FLOWS + FLOW_NEXT) >> 2] = expected + sent;
  for (const number of numbers) generator.module.arrive(DIRECTIONS, FLOWS, number);
  const { received, reordered, duplicated } = generator.tally(0);
  return { received, reordered, duplicated };
}

Deno.test("sequence checker has nothing to say about frames in order", async () => {
  deepStrictEqual(await arrivals([0, 1, 2, 3]), { received: 4, reordered: 0, duplicated: 0 });
});

Deno.test("sequence checker does not count a lost frame as received", async () => {
  deepStrictEqual(await arrivals([0, 1, 3, 4]), { received: 4, reordered: 0, duplicated: 0 });
});

Deno.test("sequence checker finds a reordered frame and counts it as received", async () => {
  deepStrictEqual(await arrivals([0, 2, 1, 3]), { received: 4, reordered: 1, duplicated: 0 });
});

Deno.test("sequence checker finds a duplicated frame, at once and later", async () => {
  deepStrictEqual(await arrivals([0, 1, 1, 2]), { received: 3, reordered: 0, duplicated: 1 });
  deepStrictEqual(await arrivals([0, 1, 2, 3, 1]), { received: 4, reordered: 0, duplicated: 1 });
});

Deno.test("sequence checker finds a frame that is late and then comes once more", async () => {
  deepStrictEqual(await arrivals([0, 2, 1, 1]), { received: 3, reordered: 1, duplicated: 1 });
});

Deno.test("sequence checker remembers as many numbers as its history is long", async () => {
  deepStrictEqual(await arrivals([HISTORY, 1]), { received: 2, reordered: 1, duplicated: 0 });
  deepStrictEqual(await arrivals([HISTORY, 0]), { received: 1, reordered: 0, duplicated: 1 });
});

Deno.test("sequence checker forgets a loss after its history", async () => {
  const numbers = Array.from({ length: 3 * HISTORY }, (_, i) => i).filter((i) => i !== 5);
  // Where 5 stood now stands 5 + HISTORY, which has arrived.
  deepStrictEqual(await arrivals([...numbers, 5 + 2 * HISTORY]), {
    received: 3 * HISTORY - 1,
    reordered: 0,
    duplicated: 1,
  });
});

Deno.test("sequence checker goes on when numbers wrap", async () => {
  const numbers = [0xfffffffe, 0, 0xffffffff, 1, 1];
  deepStrictEqual(await arrivals(numbers, 0xfffffffe), {
    received: 4,
    reordered: 1,
    duplicated: 1,
  });
});

Deno.test("sequence checker takes a number that has not left yet for no frame of ours", async () => {
  for (const expected of [0, 0xffffffff]) {
    const at = (numbers: number[]) => numbers.map((number) => (expected + number) >>> 0);
    const generator = await Generator.load();
    const counts = arrivalsAt(generator, at([0, 4, 3, 5, 1000, 2 ** 31 - 1, 2]), expected, 4);
    deepStrictEqual(counts, { received: 3, reordered: 1, duplicated: 0 });
    strictEqual(generator.tally(0).corrupted, 4);
  }
});

Deno.test("sequence checker says the same as a list of all numbers that have arrived", async () => {
  const generator = await Generator.load();
  const number = fc.integer({ min: 0, max: HISTORY - 1 });
  fc.assert(fc.property(fc.array(number, { maxLength: 200 }), (numbers) => {
    const seen = new Set<number>();
    const want = { received: 0, reordered: 0, duplicated: 0 };
    let most = -1;
    for (const n of numbers) {
      if (seen.has(n)) want.duplicated++;
      else {
        want.received++;
        if (n < most) want.reordered++;
      }
      seen.add(n);
      most = Math.max(most, n);
    }
    deepStrictEqual(arrivalsAt(generator, numbers, 0), want);
  }));
});
