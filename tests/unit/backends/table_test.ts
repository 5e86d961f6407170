import { deepStrictEqual, match, ok } from "node:assert/strict";
import type { ProbeReport } from "../../../src/probe/probe.ts";
import { CHECKS } from "../../../src/probe/checks/all.ts";
import { type Column, tableJson, tableText } from "../../backends/table.ts";

const OFFER = { features: 1n, protocolFeatures: 0n, queuePairs: null, memorySlots: null };
const [FIRST] = CHECKS;

function column(title: string, verdict: "ok" | "deviates"): Column {
  const { id, title: what, clause } = FIRST!;
  const results = [{ id, title: what, clause, verdict, detail: "seen" }];
  const report: ProbeReport = { offer: OFFER, results };
  return { title, reason: null, report };
}

const MISSING: Column = { title: "third", reason: "third is not installed", report: null };

Deno.test("tableText has a line for each check and a column for each back-end", () => {
  const text = tableText([column("one", "ok"), column("two", "deviates"), MISSING]);
  match(text, /^ {2}CHECK +CLAUSE +one +two +third$/m);
  match(text, new RegExp(`^ {2}${FIRST!.title} +${FIRST!.clause} +ok +deviates +-$`, "m"));
  for (const { title } of CHECKS) ok(text.includes(title));
});

Deno.test("tableText says what was seen where something deviates, and what was not probed", () => {
  const text = tableText([column("one", "ok"), column("two", "deviates"), MISSING]);
  match(text, new RegExp(`^two:\\n(  .*\\n)+  deviates: ${FIRST!.title}: seen$`, "m"));
  match(text, /^third: not probed: third is not installed$/m);
});

Deno.test("tableJson has the results by check and back-end", () => {
  const { checks, missing, offers } = JSON.parse(tableJson([column("one", "ok"), MISSING]));
  deepStrictEqual(checks[0].results, { one: { verdict: "ok", detail: "seen" } });
  deepStrictEqual(offers.one.features, { bits: "0x1", names: ["csum"] });
  deepStrictEqual([checks.length, missing], [CHECKS.length, { third: "third is not installed" }]);
});
