import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { BackOff } from "../../../src/cli/back_off.ts";

const EARLY_MS = 9_999;
const LATE_MS = 10_000;

Deno.test("BackOff answers the first death at once and doubles from 100 ms to 5 s", () => {
  const backOff = new BackOff();
  const waits = Array.from({ length: 10 }, () => backOff.wait(EARLY_MS));
  deepStrictEqual(waits, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
});

Deno.test("BackOff never waits longer than 5 s, however often something dies", () => {
  const backOff = new BackOff();
  for (let i = 0; i < 10_000; i++) backOff.wait(0);
  strictEqual(backOff.wait(0), 5000);
});

Deno.test("BackOff forgives everything to what has run for 10 s", () => {
  const backOff = new BackOff();
  for (let i = 0; i < 5; i++) backOff.wait(0);
  deepStrictEqual([LATE_MS, 0, 0, LATE_MS, LATE_MS].map((ran) => backOff.wait(ran)), [
    ...[0, 100, 200],
    ...[0, 0],
  ]);
});
