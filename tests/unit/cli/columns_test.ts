import { deepStrictEqual } from "node:assert/strict";
import { columns } from "../../../src/cli/columns.ts";

Deno.test("columns aligns cells to the left, two spaces apart and two from the left", () => {
  deepStrictEqual(columns([["PORT", "STATE"], ["vm1", "up"], ["router", "waiting"]]), [
    "  PORT    STATE",
    "  vm1     up",
    "  router  waiting",
  ]);
});

Deno.test("columns aligns the columns given to the right", () => {
  deepStrictEqual(
    columns([["PORT", "BYTES", "X"], ["vm1", "7", "a"], ["vm2", "123456", "b"]], [1]),
    [
      "  PORT   BYTES  X",
      "  vm1        7  a",
      "  vm2   123456  b",
    ],
  );
});

Deno.test("columns leaves no blanks at the end of a line", () => {
  deepStrictEqual(columns([["PORT", "STATE"], ["vm1", ""], ["", ""]]), [
    "  PORT  STATE",
    "  vm1",
    "",
  ]);
});

Deno.test("columns takes rows of different lengths, and none", () => {
  deepStrictEqual(columns([["a"], ["long", "b"]]), ["  a", "  long  b"]);
  deepStrictEqual(columns([]), []);
});

Deno.test("columns aligns cells with control characters, which it writes as escapes", () => {
  deepStrictEqual(columns([["a\nb", "c"], ["d", "e"]]), [String.raw`  a\x0ab  c`, "  d       e"]);
});
