/**
 * Fuzzes the data plane's rings for a long time:
 *
 *     deno task fuzz --inputs 1000000 --seed 7
 *
 * The first difference ends it with exit code 1 and a line that runs just that input again.
 *
 * @module
 */
import { Command, InvalidArgumentError } from "commander";
import { Difference, kindOf, RingFuzz } from "./ring_fuzz.ts";

const INPUTS_PER_REPORT = 100_000;

/** What the command line says. */
interface Options {
  readonly inputs: number;
  readonly first: number;
  readonly seed: number;
}

if (import.meta.main) {
  const program = new Command("fuzz")
    .description("Compares the data plane with a model on random rings.")
    .option("--inputs <count>", "how many inputs to run", parseCount, 10_000_000)
    .option("--first <number>", "the first input", parseCount, 0)
    .option("--seed <number>", "32 bits; drawn when left out", parseCount, drawSeed());
  Deno.exit(await fuzz(program.parse(["deno", "fuzz", ...Deno.args]).opts<Options>()));
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
  console.error(`again: deno task fuzz --seed ${seed} --first ${index} --inputs 1`);
  console.error(`fixture: ${JSON.stringify({ seed, index, ...kindOf(index), expected: "none" })}`);
  return 1;
}

function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError("not a whole number.");
  }
  return value;
}

function drawSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
