import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { expectedBase, isBase, QUEUE_SIZE } from "../../../src/probe/ring.ts";

Deno.test("expectedBase counts chains of a split ring in 16 bits", () => {
  strictEqual(expectedBase(0, false), 0);
  strictEqual(expectedBase(80, false), 80);
  strictEqual(expectedBase(0x1_0005, false), 5);
});

Deno.test("expectedBase turns the wrap counter of a packed ring with each round", () => {
  strictEqual(expectedBase(0, true), 0x8000);
  strictEqual(expectedBase(QUEUE_SIZE - 1, true), 0x8000 | QUEUE_SIZE - 1);
  strictEqual(expectedBase(QUEUE_SIZE, true), 0);
  strictEqual(expectedBase(QUEUE_SIZE + 3, true), 3);
  strictEqual(expectedBase(2 * QUEUE_SIZE + 1, true), 0x8001);
});

Deno.test("isBase takes a packed ring's base with and without its used position", () => {
  ok(isBase(0x8003, 0x8003, true));
  ok(isBase(0x8003_8003, 0x8003, true));
  ok(!isBase(0x8003_8002, 0x8003, true));
  ok(!isBase(0x0003_8003, 0x8003, true));
  deepStrictEqual([isBase(3, 3, false), isBase(0x3_0003, 3, false)], [true, false]);
});
