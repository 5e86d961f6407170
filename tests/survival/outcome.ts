/**
 * What the tests say about the rows: the table and its totals.
 *
 * @module
 */
import { columns } from "../../src/cli/columns.ts";
import type { TestResult } from "../support/test_run.ts";
import { GROUPS, idsIn, type Row } from "./row.ts";

/** What came of a row. */
export interface RowOutcome extends Row {
  /** Tests that ran. */
  readonly tried: number;
  /** Names of those that failed. */
  readonly failed: readonly string[];
  /** Names of those that were skipped. */
  readonly skipped: readonly string[];
}

/** Sums of a group. */
export interface Total {
  /** Letter and title, or `all`. */
  readonly group: string;
  /** Rows that were looked at. */
  readonly rows: number;
  /** Rows with a test that ran. */
  readonly tried: number;
  /** Tried rows that survived. */
  readonly survived: number;
  /** Rows that no test can act out. */
  readonly notApplicable: number;
  /** Rows that should have a test that runs and have none. */
  readonly untested: number;
}

/** Columns of numbers in the totals. */
const NUMBERS = [1, 2, 3, 4, 5];

/**
 * Gives every row the tests that carry its id.
 *
 * @param rows The rows.
 * @param results What came of the tests; those without an id do not matter.
 */
export function outcomes(rows: readonly Row[], results: readonly TestResult[]): RowOutcome[] {
  const ofId = Map.groupBy(
    results.flatMap((result) => [...idsIn(result.name)].map((id) => ({ id, ...result }))),
    ({ id }) => id,
  );
  return rows.map((row) => {
    const tests = ofId.get(row.id) ?? [];
    const named = (outcome: TestResult["outcome"]) =>
      tests.filter((test) => test.outcome === outcome).map(({ name }) => name);
    const [failed, skipped] = [named("failed"), named("skipped")];
    return { ...row, tried: tests.length - skipped.length, failed, skipped };
  });
}

/** Whether a row was tried and no test of it failed. */
export function hasSurvived({ tried, failed }: RowOutcome): boolean {
  return tried > 0 && failed.length === 0;
}

/** Whether a row should have been tried and was not. */
export function isUntested({ tried, reason }: RowOutcome): boolean {
  return tried === 0 && reason === undefined;
}

/** Whether nothing is missing: each row that can be tried was tried, and no test failed. */
export function isComplete(rows: readonly RowOutcome[]): boolean {
  return rows.every((row) => hasSurvived(row) || (row.tried === 0 && row.reason !== undefined));
}

/** Sums of the groups that have rows, and of all. */
export function totals(rows: readonly RowOutcome[]): Total[] {
  const groups = GROUPS.map(({ letter, title }) =>
    totalOf(`${letter} ${title}`, rows.filter(({ id }) => id.startsWith(letter)))
  );
  return [...groups.filter((total) => total.rows > 0), totalOf("all", rows)];
}

/** The table: id, what, answer, number of tests, whether the row survived. */
export function tableLines(rows: readonly RowOutcome[]): string[] {
  const cells = rows.map((row) => [
    row.id,
    row.what,
    row.answer,
    String(row.tried),
    verdict(row),
  ]);
  return columns([["id", "what", "answer", "tried", "survived"], ...cells], [3]);
}

/** The totals, then what is missing and why. */
export function summaryLines(rows: readonly RowOutcome[]): string[] {
  const cells = totals(rows).map((total) => Object.values(total).map(String));
  const heading = ["group", "rows", "tried", "survived", "not applicable", "without a test"];
  const reasons = Map.groupBy(
    rows.filter(({ tried, reason }) => tried === 0 && reason !== undefined),
    ({ reason }) => reason!,
  );
  const untested = rows.filter(isUntested);
  const missing = untested.filter(({ skipped }) => skipped.length === 0);
  return [
    ...columns([heading, ...cells], NUMBERS),
    "",
    ...[...reasons].map(([why, of]) => `not applicable, ${why}: ${list(of)}`),
    ...(missing.length === 0 ? [] : [`without a test: ${list(missing)}`]),
    ...untested.filter(({ skipped }) => skipped.length > 0)
      .map(({ id, skipped }) => `skipped: ${id}: ${skipped.join("; ")}`),
    ...rows.flatMap(({ id, failed }) => failed.map((name) => `did not survive: ${id}: ${name}`)),
  ];
}

function verdict(row: RowOutcome): string {
  if (hasSurvived(row)) return "yes";
  if (row.tried > 0) return "no";
  return row.reason === undefined ? "no test" : "not applicable";
}

function totalOf(group: string, rows: readonly RowOutcome[]): Total {
  const tried = rows.filter((row) => row.tried > 0);
  const untried = rows.length - tried.length;
  const untested = rows.filter(isUntested).length;
  return {
    group,
    rows: rows.length,
    tried: tried.length,
    survived: tried.filter(hasSurvived).length,
    notApplicable: untried - untested,
    untested,
  };
}

function list(rows: readonly RowOutcome[]): string {
  return rows.map(({ id }) => id).join(" ");
}
