import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { pairwise, product } from "../../support/pairwise.ts";

const CHOICES = { a: [1, 2, 3], b: ["x", "y"], c: [true, false], d: [1, 2, 3, 4] };

Deno.test("product holds every combination once", () => {
  const all = product(CHOICES).map((combination) => JSON.stringify(combination));
  strictEqual(new Set(all).size, 3 * 2 * 2 * 4);
  strictEqual(all.length, 3 * 2 * 2 * 4);
});

Deno.test("pairwise covers every pair of values with few combinations", () => {
  const chosen = pairwise(CHOICES);
  for (const [a, as] of Object.entries(CHOICES)) {
    for (const [b, bs] of Object.entries(CHOICES)) {
      if (a === b) continue;
      for (const x of as) {
        for (const y of bs) {
          const has = chosen.some((one) => {
            const values: Readonly<Record<string, unknown>> = one;
            return values[a] === x && values[b] === y;
          });
          ok(has, `${a}=${x} never meets ${b}=${y}`);
        }
      }
    }
  }
  ok(chosen.length < 20, `${chosen.length} combinations`);
});

Deno.test("pairwise leaves impossible combinations out", () => {
  const chosen = pairwise({ a: [1, 2], b: [1, 2] }, ({ a, b }) => a !== b);
  deepStrictEqual(chosen, [{ a: 1, b: 2 }, { a: 2, b: 1 }]);
});
