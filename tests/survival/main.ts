/**
 * `deno task survival`: runs the tests that carry ids of the catalogue of bad input and faults and prints, row by
 * row, what was tried and what survived.
 *
 * It exits with 0 only if every row that can be tried was tried and survived.
 *
 * @module
 */
import { join } from "node:path";
import { Command } from "commander";
import { runTests } from "../support/test_run.ts";
import { CATALOGUE } from "./catalogue.ts";
import { isComplete, outcomes, summaryLines, tableLines, totals } from "./outcome.ts";
import { QUICK_FOLDERS, SLOW_FOLDERS, TESTS } from "./scan.ts";

interface Options {
  readonly json?: true;
  readonly quick?: true;
  readonly only: readonly string[];
}

if (import.meta.main) {
  const program = new Command("survival")
    .description("What the switch survives: every row of the catalogue of bad input, tested")
    .option("--quick", "without the end-to-end tests")
    .option("--only <ids>", "only rows whose ids begin so: F, or G1,F04", split, [
      "G",
      "F",
      "B",
      "L",
      "X",
    ])
    .option("--json", "print JSON instead of a table, and nothing of the tests");
  Deno.exit(await run(program.parse(Deno.args, { from: "user" }).opts<Options>()));
}

async function run({ json, quick, only }: Options): Promise<number> {
  const rows = CATALOGUE.filter(({ id }) => only.some((begin) => id.startsWith(begin)));
  if (rows.length === 0) throw new RangeError(`Cannot find a row that begins with ${only}`);
  const folders = [...QUICK_FOLDERS, ...(quick ? [] : SLOW_FOLDERS)];
  const { success, results } = await runTests([
    `--filter=${filterOf(only)}`,
    ...folders.map((folder) => join(TESTS, folder)),
  ], { quiet: json === true });
  // A run can also die outside of a test; then nothing that it says is worth much.
  const isWhole = success || results.some(({ outcome }) => outcome === "failed");
  const found = outcomes(rows, results);
  const isGood = isWhole && isComplete(found);
  if (json) console.log(JSON.stringify({ isGood, totals: totals(found), rows: found }, null, 2));
  else console.log(["", ...tableLines(found), "", ...summaryLines(found)].join("\n"));
  if (!isWhole) console.error("The run of the tests failed outside of a test");
  return isGood ? 0 : 1;
}

/** Tests that carry such an id, or a span of ids of which one may be meant. */
function filterOf(only: readonly string[]): string {
  return `/\\([^()]*\\b(?:(?:${only.join("|")})\\d*\\b|[GFBLX]\\d+\\s?[–-])/`;
}

function split(text: string): string[] {
  return text.split(",");
}
