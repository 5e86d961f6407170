import { strictEqual } from "node:assert/strict";
import { parseRate } from "../../../src/bench/rate.ts";

Deno.test("parseRate reads plain numbers, thousands and millions", () => {
  strictEqual(parseRate("250"), 250);
  strictEqual(parseRate("100k"), 100_000);
  strictEqual(parseRate("1.5M"), 1_500_000);
  strictEqual(parseRate("0.5k"), 500);
  strictEqual(parseRate("100M"), 100_000_000);
});

Deno.test("parseRate refuses everything else", () => {
  for (const text of ["", "k", "-1", "0", "0.9", "1e5", "1K", "1m", "1G", "1 k", "101M", "1.k"]) {
    strictEqual(parseRate(text), null, text);
  }
});
