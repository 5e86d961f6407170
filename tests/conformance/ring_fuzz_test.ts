import { RingFuzz } from "../fuzz/ring_fuzz.ts";
import { runInput, runInputs } from "../fuzz/ring_run.ts";

const FIXTURES = new URL("../fuzz/fixtures/", import.meta.url);
const FIXED_SEED = 20;
const INPUTS = 20_000;

/** An input that once showed a difference; none is expected any more. */
interface Fixture {
  readonly seed: number;
  readonly index: number;
  readonly isPacked: boolean;
  readonly hasOffloads: boolean;
  readonly expected: "none";
  /** What was wrong. */
  readonly showed: string;
}

Deno.test(`RingFuzz finds no difference in ${INPUTS} inputs of the fixed seed (G100)`, async () => {
  await runInputs(FIXED_SEED, INPUTS);
});

Deno.test("RingFuzz finds no difference in inputs that once showed one (G100)", async () => {
  const fuzz = await RingFuzz.create();
  for await (const { name } of Deno.readDir(FIXTURES)) {
    if (!name.endsWith(".json")) continue;
    const text = await Deno.readTextFile(new URL(name, FIXTURES));
    const { seed, index, ...kind } = JSON.parse(text) as Fixture;
    runInput(fuzz, seed, index, kind);
  }
});
