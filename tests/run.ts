/**
 * Runs every check of the project and closes with one line, `N passed, N failed, N skipped`.
 *
 *     deno task test            everything, packages included
 *     deno task ok              what needs no package and no privilege, under two minutes
 *
 * Each tool counts as one check, each test as one. With CI=true a skipped test counts as failed.
 *
 * @module
 */
import { installPackages } from "./support/packages.ts";
import { runDeno, runTests, type TestResult } from "./support/test_run.ts";
import { CATALOGUE } from "./survival/catalogue.ts";
import { isComplete, outcomes, summaryLines } from "./survival/outcome.ts";

/** What came of one step, or of all. */
interface Tally {
  passed: number;
  failed: string[];
  skipped: string[];
  /** What came of each test. */
  results: readonly TestResult[];
}

/** A command to run; `report` names the file in which a test run leaves its results. */
interface Step {
  readonly name: string;
  readonly args: readonly string[];
  readonly isTestRun?: boolean;
}

const isQuick = Deno.args.includes("--quick");
const TYPED = [
  "mod.ts",
  "src/cli/main.ts",
  "src/poll/worker.ts",
  "src/host/worker.ts",
  "src/bench/worker.ts",
  "src/dataplane/build.ts",
];

const QUICK_STEPS: readonly Step[] = [
  { name: "format", args: ["fmt", "--check", "--quiet"] },
  { name: "lint", args: ["lint", "--quiet"] },
  { name: "types", args: ["check", "--quiet", ...TYPED, "tests"] },
  { name: "documentation", args: ["doc", "--lint", "mod.ts"] },
  { name: "package", args: ["publish", "--dry-run", "--allow-dirty", "--quiet"] },
  { name: "WebAssembly is what its sources build", args: ["task", "build", "--check"] },
  {
    name: "unit and conformance tests",
    args: ["tests/unit", "tests/conformance"],
    isTestRun: true,
  },
  { name: "examples of the documentation", args: ["--doc", "mod.ts"], isTestRun: true },
];
const SLOW_STEPS: readonly Step[] = [
  { name: "end-to-end tests", args: ["tests/e2e"], isTestRun: true },
];

if (import.meta.main) {
  if (!isQuick) await installPackages();
  const total: Tally = { passed: 0, failed: [], skipped: [], results: [] };
  for (const step of isQuick ? QUICK_STEPS : [...QUICK_STEPS, ...SLOW_STEPS]) {
    console.log(`\n── ${step.name} ──`);
    const tally = step.isTestRun ? await runStep(step) : await runTool(step);
    total.passed += tally.passed;
    total.failed.push(...tally.failed);
    total.skipped.push(...tally.skipped);
    total.results = [...total.results, ...tally.results];
  }
  if (!isQuick) checkCatalogue(total);
  Deno.exit(report(total));
}

/** Looks whether each row of the catalogue of bad input was tried and survived. */
function checkCatalogue(total: Tally): void {
  const rows = outcomes(CATALOGUE, total.results);
  console.log(["\n── what the switch survives ──", ...summaryLines(rows)].join("\n"));
  if (isComplete(rows)) total.passed++;
  else total.failed.push("every row of the catalogue of bad input");
}

function report({ passed, failed, skipped }: Tally): number {
  console.log("");
  for (const name of skipped) console.log(`skipped: ${name}`);
  for (const name of failed) console.log(`failed: ${name}`);
  const isCi = Deno.env.get("CI") === "true";
  const failures = failed.length + (isCi ? skipped.length : 0);
  if (isCi && skipped.length > 0) console.log("with CI=true a skip counts as a failure");
  console.log(`${passed} passed, ${failures} failed, ${isCi ? 0 : skipped.length} skipped`);
  return failures === 0 ? 0 : 1;
}

async function runTool({ name, args }: Step): Promise<Tally> {
  const { success } = await runDeno(args);
  return { passed: success ? 1 : 0, failed: success ? [] : [name], skipped: [], results: [] };
}

async function runStep({ name, args }: Step): Promise<Tally> {
  const { success, results } = await runTests(args);
  const named = (outcome: TestResult["outcome"]) =>
    results.filter((result) => result.outcome === outcome).map((result) => result.name);
  const tally = {
    passed: named("passed").length,
    failed: named("failed"),
    skipped: named("skipped"),
    results,
  };
  // A run that dies before its first test, or outside of one, has failed whatever it counted.
  if (results.length === 0) tally.failed.push(`${name} ran no test`);
  else if (!success && tally.failed.length === 0) tally.failed.push(`${name} outside of a test`);
  return tally;
}
