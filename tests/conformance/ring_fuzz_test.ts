import { ok } from "node:assert/strict";
import { type Difference, kindOf, RingFuzz } from "../fuzz/ring_fuzz.ts";
import type { InputKind } from "../fuzz/situation.ts";

const FIXTURES = new URL("../fuzz/fixtures/", import.meta.url);
const FIXED_SEED = 20;
const INPUTS = 50_000;
/** At least this share of the inputs is compared byte for byte. */
const MIN_COMPARED = 0.5;

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

/** Runs inputs; a difference says which one it was. */
function runAll(fuzz: RingFuzz, seed: number): number {
  let compared = 0;
  for (let index = 0; index < INPUTS; index++) compared += run(fuzz, seed, index) ? 1 : 0;
  return compared;
}

function run(
  fuzz: RingFuzz,
  seed: number,
  index: number,
  kind: InputKind = kindOf(index),
): boolean {
  try {
    return fuzz.run(seed, index, kind) === "compared";
  } catch (error) {
    (error as Difference).message += ` (input ${index} of seed ${seed})`;
    throw error;
  }
}

function drawSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

for (const [kind, seed] of [["the fixed", FIXED_SEED], ["a random", drawSeed()]] as const) {
  Deno.test(`RingFuzz finds no difference in ${INPUTS} inputs of ${kind} seed (G100)`, async () => {
    console.log(`seed ${seed}`);
    const compared = runAll(await RingFuzz.create(), seed);
    ok(compared > MIN_COMPARED * INPUTS, `only ${compared} inputs were compared`);
  });
}

Deno.test("RingFuzz finds no difference in inputs that once showed one (G100)", async () => {
  const fuzz = await RingFuzz.create();
  for await (const { name } of Deno.readDir(FIXTURES)) {
    if (!name.endsWith(".json")) continue;
    const text = await Deno.readTextFile(new URL(name, FIXTURES));
    const { seed, index, ...kind } = JSON.parse(text) as Fixture;
    run(fuzz, seed, index, kind);
  }
});
