import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { LineLimiter } from "../../../src/cli/line_limiter.ts";

const BURST = 40;

function takeMany(limiter: LineLimiter, port: string, count: number, now: number) {
  return Array.from({ length: count }, () => limiter.take(port, now));
}

Deno.test("LineLimiter lets a burst of lines through and no more (F99)", () => {
  const taken = takeMany(new LineLimiter(), "vm1", 1000, 5);
  strictEqual(taken.filter((line) => line !== null).length, BURST);
  deepStrictEqual(taken.slice(0, BURST), new Array(BURST).fill(0));
});

Deno.test("LineLimiter says how many lines were left out before the next one (F99)", () => {
  const limiter = new LineLimiter();
  takeMany(limiter, "vm1", BURST + 7, 0);
  strictEqual(limiter.take("vm1", 999), null);
  strictEqual(limiter.take("vm1", 1000), 8);
  strictEqual(limiter.take("vm1", 1000), null);
  strictEqual(limiter.take("vm1", 2500), 1);
});

Deno.test("LineLimiter lets no more than one line a second through in the long run (F99)", () => {
  const limiter = new LineLimiter();
  let lines = 0;
  for (let now = 0; now < 600_000; now += 10) if (limiter.take("vm1", now) !== null) lines++;
  strictEqual(lines, BURST + 599);
});

Deno.test("LineLimiter gives a port its burst back after a while, and never more", () => {
  const limiter = new LineLimiter();
  takeMany(limiter, "vm1", BURST, 0);
  strictEqual(
    takeMany(limiter, "vm1", 1000, 1e9).filter((line) => line !== null).length,
    BURST,
  );
});

Deno.test("LineLimiter counts for each port by itself", () => {
  const limiter = new LineLimiter();
  takeMany(limiter, "vm1", 1000, 0);
  strictEqual(limiter.take("vm2", 0), 0);
});
