/**
 * The histogram: the generator's WebAssembly counts, TypeScript reads.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { Generator } from "../../../src/bench/generator.ts";
import { quantile, upperBound } from "../../../src/bench/histogram.ts";
import { HISTOGRAM_BUCKETS } from "../../../src/bench/memory_layout.ts";

async function histogramOf(latencies: readonly number[]): Promise<Uint32Array> {
  const generator = await Generator.load();
  for (const ns of latencies) generator.module.record(ns);
  return generator.latencies;
}

Deno.test("histogram has nothing to say without latencies", async () => {
  strictEqual(quantile(await histogramOf([]), 0.5), null);
});

Deno.test("histogram keeps the first 128 nanoseconds exactly", async () => {
  for (const ns of [0, 1, 63, 64, 65, 126, 127]) {
    strictEqual(quantile(await histogramOf([ns]), 1), ns);
  }
});

Deno.test("histogram is never too short and at most 1.6 % too long", async () => {
  for (let ns = 128; ns < 2 ** 32; ns = Math.floor(ns * 1.37) + 1) {
    const value = quantile(await histogramOf([ns]), 1)!;
    ok(value >= ns && value <= ns * (1 + 1 / 64), `${ns}: ${value}`);
  }
});

Deno.test("histogram has buckets without a gap up to 2^32 nanoseconds", () => {
  for (let bucket = 1; bucket < HISTOGRAM_BUCKETS; bucket++) {
    ok(upperBound(bucket) > upperBound(bucket - 1), `${bucket}`);
  }
  strictEqual(upperBound(HISTOGRAM_BUCKETS - 1), 2 ** 32 - 1);
});

Deno.test("histogram puts what is too long into its last bucket, and what is negative into its first", async () => {
  const counts = await histogramOf([1e12, -5]);
  strictEqual(counts[HISTOGRAM_BUCKETS - 1], 1);
  strictEqual(counts[0], 1);
});

Deno.test("histogram finds quantiles as counting does", async () => {
  const counts = await histogramOf(Array.from({ length: 1000 }, (_, i) => i < 990 ? 50 : 100));
  strictEqual(quantile(counts, 0.5), 50);
  strictEqual(quantile(counts, 0.99), 50);
  strictEqual(quantile(counts, 0.991), 100);
  strictEqual(quantile(counts, 1), 100);
});
