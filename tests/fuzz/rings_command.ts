/**
 * Fuzzes the data plane's rings for a long time:
 *
 *     deno task fuzz rings --inputs 1000000 --seed 7
 *
 * The first difference ends it with exit code 1 and a line that runs just that input again.
 *
 * @module
 */
import type { Command } from "commander";
import { drawSeed, parseCount } from "../support/options.ts";
import { Difference, kindOf, RingFuzz } from "./ring_fuzz.ts";

const INPUTS_PER_REPORT = 100_000;

/** What the command line says. */
interface Options {
  readonly inputs: number;
  readonly first: number;
  readonly seed: number;
}

/** Adds the command `rings`, which is meant when none is named. */
export function addRingsCommand(program: Command): void {
  program.command("rings", { isDefault: true })
    .description("Compares the data plane with a model on random rings.")
    .option("--inputs <count>", "how many inputs to run", parseCount, 10_000_000)
    .option("--first <number>", "the first input", parseCount, 0)
    .option("--seed <number>", "32 bits; drawn when left out", parseCount, drawSeed())
    .action(async (options: Options) => Deno.exit(await fuzz(options)));
}

async function fuzz({ inputs, first, seed }: Options): Promise<number> {
  console.log(`seed ${seed}`);
  const fuzzer = await RingFuzz.create();
  const start = performance.now();
  let compared = 0;
  for (let done = 0; done < inputs; done++) {
    try {
      if (fuzzer.run(seed, first + done) === "compared") compared++;
    } catch (error) {
      return report(error, seed, first + done);
    }
    if ((done + 1) % INPUTS_PER_REPORT === 0 || done + 1 === inputs) {
      const rate = Math.round((done + 1) / (performance.now() - start) * 1000);
      const share = Math.round(100 * compared / (done + 1));
      console.log(`${done + 1} inputs, ${share} % compared in full, ${rate} inputs/s`);
    }
  }
  return 0;
}

function report(error: unknown, seed: number, index: number): number {
  const what = error instanceof Difference ? error.message : String(error);
  console.error(`input ${index} of seed ${seed}: ${what}`);
  console.error(`again: deno task fuzz rings --seed ${seed} --first ${index} --inputs 1`);
  console.error(`fixture: ${JSON.stringify({ seed, index, ...kindOf(index), expected: "none" })}`);
  return 1;
}
