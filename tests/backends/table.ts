/**
 * The table that compares back-ends.
 *
 * @module
 */
import { columns } from "../../src/cli/columns.ts";
import { CHECKS } from "../../src/probe/checks/all.ts";
import type { ProbeReport } from "../../src/probe/probe.ts";
import { offerJson, offerText } from "../../src/probe/report.ts";
import type { CheckResult, Verdict } from "../../src/probe/verdict.ts";

/** What was found out about one back-end. */
export interface Column {
  /** Its name in the table. */
  readonly title: string;
  /** Why there is no report; null when there is one. */
  readonly reason: string | null;
  /** The report; null when it could not be probed. */
  readonly report: ProbeReport | null;
}

/** What stands in the place of a verdict where there is none. */
const NO_VERDICT = "-";

/** The table: a line for each check, then what was seen where something is wrong, then the offers. */
export function tableText(table: readonly Column[]): string {
  const heading = ["CHECK", "CLAUSE", ...table.map(({ title }) => title)];
  const rows = CHECKS.map(({ id, title, clause }) => [
    title,
    clause,
    ...table.map((column) => resultOf(column, id)?.verdict ?? NO_VERDICT),
  ]);
  const parts = [columns([heading, ...rows]), ...table.map(notesOf)];
  return `${
    parts.filter((lines) => lines.length > 0).map((lines) => lines.join("\n")).join("\n\n")
  }\n`;
}

/** The same for programs. */
export function tableJson(table: readonly Column[]): string {
  const checks = CHECKS.map(({ id, title, clause }) => ({
    ...{ id, title, clause },
    results: Object.fromEntries(table.flatMap((column) => {
      const result = resultOf(column, id);
      return result === null ? [] : [[column.title, {
        verdict: result.verdict,
        detail: result.detail,
      }]];
    })),
  }));
  const missing = table.flatMap(({ title, reason }) => reason === null ? [] : [[title, reason]]);
  const offers = table.flatMap(({ title, report }) =>
    report === null ? [] : [[title, offerJson(report.offer)]]
  );
  const json = {
    offers: Object.fromEntries(offers),
    checks,
    missing: Object.fromEntries(missing),
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

function resultOf({ report }: Column, id: string): CheckResult | null {
  return report?.results.find((result) => result.id === id) ?? null;
}

function notesOf({ title, reason, report }: Column): string[] {
  if (report === null) return [`${title}: not probed: ${reason}`];
  const isWrong = ({ verdict }: { verdict: Verdict }) =>
    verdict === "deviates" || verdict === "no answer";
  const wrong = report.results.filter(isWrong);
  return [
    `${title}:`,
    ...offerText(report.offer).trimEnd().split("\n").map((line) => `  ${line}`),
    ...wrong.map(({ title, verdict, detail }) => `  ${verdict}: ${title}: ${detail}`),
  ];
}
