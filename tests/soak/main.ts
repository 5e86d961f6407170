/**
 * Runs a switch under a mixed load for a long time, and looks for what grows or slows down:
 *
 *     deno task soak --minutes 60 --seed 7
 *
 * Exit code 1 when something does. With `--json` everything that was seen is printed, too.
 *
 * @module
 */
import { Command, InvalidArgumentError } from "commander";
import { drawSeed } from "../support/options.ts";
import { renderVerdict } from "./report.ts";
import { soak } from "./soak.ts";
import { judge } from "./verdict.ts";

/** What the command line says. */
interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly workers?: number;
  readonly lazyCollector: boolean;
  readonly json: boolean;
}

if (import.meta.main) {
  const program = new Command("soak")
    .description("Runs a switch under a mixed load and looks for what grows or slows down.")
    .option("--minutes <count>", "how long, warm-up included", parsePositive, 60)
    .option("--seed <number>", "what the guests' doings follow from", parsePositive, drawSeed())
    .option("--workers <count>", "poll Workers; by default what the switch takes", parsePositive)
    .option(
      "--lazy-collector",
      "collect when V8 likes, as users do; its saw teeth may look like growth",
      false,
    )
    .option("--json", "print every sample as JSON instead of the table", false);
  Deno.exit(await run(program.parse(Deno.args, { from: "user" }).opts<Options>()));
}

async function run({ minutes, seed, workers, lazyCollector, json }: Options): Promise<number> {
  if (!json) console.log(`${minutes} minutes, seed ${seed}`);
  const result = await soak({
    ...{ minutes, seed, isCollectorLazy: lazyCollector },
    ...workers !== undefined && { workers },
  });
  const verdict = judge(result);
  console.log(json ? JSON.stringify({ seed, ...verdict, result }) : renderVerdict(verdict));
  return verdict.faults.length === 0 ? 0 : 1;
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) {
    throw new InvalidArgumentError("not a number above 0.");
  }
  return value;
}
