import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { excerpt } from "../../../config/excerpt.ts";

Deno.test("excerpt shows a line of usual length as it is", () => {
  deepStrictEqual(excerpt("ports: none", 8, 4), ["ports: none", "       ^^^^"]);
  const line = "x".repeat(160);
  strictEqual(excerpt(line, 160, 1)[0], line);
});

Deno.test("excerpt cuts a long line around the place", () => {
  const line = `${"a".repeat(2000)}WRONG${"z".repeat(3000)}`;
  const [source, mark] = excerpt(line, 2001, 5);
  strictEqual(source, `…${"a".repeat(40)}WRONG${"z".repeat(115)}…`);
  strictEqual(mark, `${" ".repeat(41)}^^^^^`);
});

Deno.test("excerpt cuts a long line at one end when the place is near the other", () => {
  const line = "a".repeat(5000);
  strictEqual(excerpt(line, 3, 1)[0], `${"a".repeat(160)}…`);
  const [source, mark] = excerpt(line, 5000, 1);
  strictEqual(source, `…${"a".repeat(160)}`);
  strictEqual(mark.length, source.length);
});

Deno.test("excerpt cuts the mark with the line", () => {
  const [source, mark] = excerpt("a".repeat(5000), 1001, 3000);
  ok(mark.length < source.length);
  strictEqual(mark.trim().length, 120);
});

Deno.test("excerpt keeps the mark below its place behind what is escaped", () => {
  deepStrictEqual(excerpt("\u001b\tvm1: \u0007", 3, 3), [
    String.raw`\x1b vm1: \x07`,
    "     ^^^",
  ]);
});
