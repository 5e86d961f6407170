import { deepStrictEqual, ok } from "node:assert/strict";
import { parseProcessors, thisMachine } from "../../../config/machine.ts";

Deno.test("parseProcessors reads numbers and ranges as Linux writes them", () => {
  const numbers = (text: string) => [...parseProcessors(text)];
  deepStrictEqual(numbers("0\n"), [0]);
  deepStrictEqual(numbers("0-3\n"), [0, 1, 2, 3]);
  deepStrictEqual(numbers("0-1,4,8-9\n"), [0, 1, 4, 8, 9]);
});

Deno.test("thisMachine has at least one processor", () => {
  const { parallelism, processors } = thisMachine();
  ok(parallelism >= 1);
  ok(processors !== null && processors.size >= 1);
});
