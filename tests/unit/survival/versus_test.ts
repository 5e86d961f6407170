import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { CATALOGUE } from "../../survival/catalogue.ts";
import { INPUTS } from "../../survival/versus/inputs/all.ts";
import { calmer, tableJson, tableText, whatOf } from "../../survival/versus/report.ts";
import type { Judgement, Verdict } from "../../survival/versus/verdict.ts";

const judged = (verdict: Verdict, ...notes: string[]): Judgement => ({ verdict, notes });
const INPUTS_OF_A_TABLE = [
  { id: "F04", variant: "" },
  { id: "F45", variant: "a memfd" },
  { id: "F45", variant: "a tmpfs file" },
];
const TABLE = [
  { title: "one", judgements: [judged("survived"), judged("survived"), judged("leaked", "two")] },
  { title: "other", judgements: [judged("hung"), judged("died"), judged("survived")] },
];

Deno.test("INPUTS act out rows that can be tried, each under a name of its own", () => {
  const rows = new Map(CATALOGUE.map((row) => [row.id, row]));
  for (const { id } of INPUTS) ok(rows.get(id)?.reason === undefined && rows.has(id), id);
  strictEqual(new Set(INPUTS.map(whatOf)).size, INPUTS.length);
});

Deno.test("calmer takes the better of two judgements and notes the worse one", () => {
  const calm = judged("survived", "answers");
  const bad = judged("hung", "others wait");
  for (const pair of [[calm, bad], [bad, calm]] as const) {
    deepStrictEqual(calmer(...pair), judged("survived", "answers", "once hung: others wait"));
  }
  deepStrictEqual(calmer(judged("hung", "once"), bad), bad);
});

Deno.test("tableText counts inputs, and rows by the worst of their inputs", () => {
  const text = tableText(INPUTS_OF_A_TABLE, TABLE);
  match(text, /^ {2}F45 .*: a tmpfs file +leaked +survived$/m);
  const [, inputs, rows] = text.split("\n\n");
  for (const line of [/survived +2 +1$/m, /leaked +1 +0$/m, /died +0 +1$/m, /all +3 +3$/m]) {
    match(inputs!, line);
  }
  for (const line of [/survived +1 +0$/m, /leaked +1 +0$/m, /hung +0 +1$/m, /died +0 +1$/m]) {
    match(rows!, line);
  }
});

Deno.test("tableJson has every judgement with its notes", () => {
  const rows = JSON.parse(tableJson(INPUTS_OF_A_TABLE, TABLE));
  deepStrictEqual(rows[2].one, { verdict: "leaked", notes: ["two"] });
  strictEqual(rows[0].id, "F04");
});
