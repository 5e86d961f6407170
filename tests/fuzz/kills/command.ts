/**
 * The command that kills the switch for a long time:
 *
 *     kills --kills 1000 --seed 7
 *
 * @module
 */
import type { Command } from "commander";
import { drawSeed, parseCount } from "../../support/options.ts";
import { runKills } from "./kills.ts";
import { planKills, type PlannedRun } from "./plan.ts";
import { addReports, hasLosses, type KillReport, renderReport } from "./report.ts";

/** What the command line says. */
interface Options {
  readonly kills: number;
  readonly seed: number;
}

/**
 * Adds the subcommand `kills`. It sets the exit code to 1 when something was lost.
 *
 * @param program What it is added to.
 */
export function addKillsCommand(program: Command): void {
  program.command("kills")
    .description("Kills the switch at random instants under traffic and starts it again.")
    .option("--kills <count>", "how often", parseCount, 1000)
    .option("--seed <number>", "32 bits; drawn when left out", parseCount, drawSeed())
    .action(async (options: Options) => {
      Deno.exitCode = await killForLong(options);
    });
}

async function killForLong({ kills, seed }: Options): Promise<number> {
  console.log(`seed ${seed}`);
  const plan = planKills(kills);
  const missing = plan.find(({ kind }) => kind.missing() !== undefined);
  if (missing !== undefined) {
    console.error(`Cannot run "${missing.kind.name}": ${missing.kind.missing()} is not installed`);
    return 1;
  }
  const reports: KillReport[] = [];
  for (const [run, planned] of plan.entries()) {
    reports.push(await killUnder(planned, seed, run));
    if (hasLosses(reports.at(-1)!)) break;
  }
  const all = addReports(reports);
  console.log(renderReport("all", all));
  if (!hasLosses(all)) return 0;
  console.error(`again: kills --kills ${kills} --seed ${seed}`);
  return 1;
}

async function killUnder({ kind, kills }: PlannedRun, seed: number, run: number) {
  const report = await runKills({ kind, kills, seed, run, onProgress: console.log });
  console.log(renderReport(kind.name, report));
  return report;
}
