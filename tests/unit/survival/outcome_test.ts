import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { TestResult } from "../../support/test_run.ts";
import {
  hasSurvived,
  isComplete,
  isUntested,
  outcomes,
  summaryLines,
  tableLines,
  totals,
} from "../../survival/outcome.ts";
import { type Row, rowsOf } from "../../survival/row.ts";

const ROWS: readonly Row[] = rowsOf([
  ["G01", "a jump", "R2"],
  ["G02", "a step", "OK"],
  ["F01", "silence", "OK"],
  ["B01", "a lie", "R3", "nobody asks"],
]);
const passed = (name: string): TestResult => ({ name, outcome: "passed" });
const failed = (name: string): TestResult => ({ name, outcome: "failed" });
const skipped = (name: string): TestResult => ({ name, outcome: "skipped" });
const ALL = [passed("It jumps (G01, G02)"), passed("It is silent (F01)"), passed("It is")];

Deno.test("outcomes counts the tests that carry a row's id", () => {
  const tests = [...ALL, failed("It steps (G02)"), skipped("It steps with gcc (G02)")];
  const found = outcomes(ROWS, tests).map(({ id, tried }) => `${id} ${tried}`);
  deepStrictEqual(found, ["G01 1", "G02 2", "F01 1", "B01 0"]);
  const step = outcomes(ROWS, tests)[1]!;
  deepStrictEqual([step.failed, step.skipped], [["It steps (G02)"], ["It steps with gcc (G02)"]]);
});

Deno.test("isComplete wants a test that passed for every row without a reason", () => {
  ok(isComplete(outcomes(ROWS, ALL)));
  strictEqual(isComplete(outcomes(ROWS, ALL.slice(1))), false);
  strictEqual(isComplete(outcomes(ROWS, [...ALL, failed("It is silent (F01)")])), false);
});

Deno.test("isComplete takes a skipped test for none and a failed one seriously, reason or not", () => {
  const silent = ALL.filter(({ name }) => !name.includes("F01"));
  strictEqual(isComplete(outcomes(ROWS, [...silent, skipped("It is silent (F01)")])), false);
  strictEqual(isComplete(outcomes(ROWS, [...ALL, failed("It lies (B01)")])), false);
});

Deno.test("hasSurvived and isUntested tell a row that failed from one that was not tried", () => {
  const [jump, step, silence, lie] = outcomes(ROWS, [passed("(G01)"), failed("(G02)")]);
  deepStrictEqual([jump, step, silence, lie].map((row) => hasSurvived(row!)), [
    ...[true, false, false, false],
  ]);
  deepStrictEqual([jump, step, silence, lie].map((row) => isUntested(row!)), [
    ...[false, false, true, false],
  ]);
});

Deno.test("totals sums each group that has rows, and all", () => {
  const sums = totals(outcomes(ROWS, [passed("(G01)"), failed("(G02)")]));
  deepStrictEqual(sums.map((total) => Object.values(total)), [
    ["G guests", 2, 2, 1, 0, 0],
    ["F front-ends", 1, 0, 0, 0, 1],
    ["B back-ends", 1, 0, 0, 1, 0],
    ["all", 4, 2, 1, 1, 1],
  ]);
});

Deno.test("tableLines says of each row whether it survived", () => {
  const lines = tableLines(outcomes(ROWS, [passed("(G01)"), failed("(G02)")]));
  strictEqual(lines.length, 1 + ROWS.length);
  for (const [i, end] of ["survived", "1  yes", "1  no", "0  no test"].entries()) {
    ok(lines[i]!.endsWith(end), lines[i]!);
  }
  ok(lines[4]!.endsWith("not applicable"));
});

Deno.test("summaryLines names what is missing, skipped, lost and not applicable", () => {
  const tests = [failed("It jumps (G01)"), skipped("It steps (G02)")];
  const text = summaryLines(outcomes(ROWS, tests)).join("\n");
  match(text, /^not applicable, nobody asks: B01$/m);
  match(text, /^without a test: F01$/m);
  match(text, /^skipped: G02: It steps \(G02\)$/m);
  match(text, /^did not survive: G01: It jumps \(G01\)$/m);
});
