import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Board } from "../../soak/board.ts";
import { bucketOf, BUCKETS, difference, middleOf, quantile } from "../../soak/histogram.ts";

Deno.test("bucketOf and middleOf are at most 5 % apart from the duration", () => {
  for (let ns = 2; ns < 60e9; ns = ns * 1.3 + 1) {
    const error = Math.abs(middleOf(bucketOf(ns)) - ns) / ns;
    ok(error < 0.05, `${ns} ns becomes ${middleOf(bucketOf(ns))} ns`);
  }
});

Deno.test("bucketOf takes every number", () => {
  deepStrictEqual([-1, 0, 1, Infinity].map(bucketOf), [0, 0, 0, BUCKETS - 1]);
});

Deno.test("quantile finds the duration that a share of all does not exceed", () => {
  const board = new Board("steady");
  const record = board.recorder("roundTrip");
  strictEqual(quantile(board.histogram("roundTrip"), 0.5), null);
  for (let i = 0; i < 98; i++) record(1000);
  for (let i = 0; i < 2; i++) record(1_000_000);
  const counts = board.histogram("roundTrip");
  strictEqual(quantile(counts, 0.5), middleOf(bucketOf(1000)));
  strictEqual(quantile(counts, 0.98), middleOf(bucketOf(1000)));
  strictEqual(quantile(counts, 0.99), middleOf(bucketOf(1_000_000)));
});

Deno.test("difference leaves what was counted between two looks", () => {
  const board = new Board("steady");
  const record = board.recorder("wakeUp");
  record(1000);
  const earlier = board.histogram("wakeUp");
  record(5000);
  const between = difference(board.histogram("wakeUp"), earlier);
  strictEqual(between.reduce((sum, count) => sum + count, 0), 1);
  strictEqual(between[bucketOf(5000)], 1);
});

Deno.test("Board shows counters and each group's end to all boards over the same memory", () => {
  const churn = new Board("churn");
  const other = new Board("steady", churn.buffer);
  other.add("visits", 3);
  other.add("visits");
  strictEqual(churn.value("visits"), 4);
  churn.stop();
  deepStrictEqual([churn.isStopped, other.isStopped], [true, false]);
});
