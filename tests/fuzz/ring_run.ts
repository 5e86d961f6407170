/**
 * Runs of the ring fuzzer as tests make them: a difference says which input showed it.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import { type Difference, kindOf, RingFuzz } from "./ring_fuzz.ts";
import type { InputKind } from "./situation.ts";

/** At least this share of the inputs is compared byte for byte. */
const MIN_COMPARED = 0.5;

/**
 * Runs many inputs of a seed.
 *
 * @throws {Difference} At the first difference.
 */
export async function runInputs(seed: number, inputs: number): Promise<void> {
  console.log(`seed ${seed}`);
  const fuzz = await RingFuzz.create();
  let compared = 0;
  for (let index = 0; index < inputs; index++) compared += runInput(fuzz, seed, index) ? 1 : 0;
  ok(compared > MIN_COMPARED * inputs, `only ${compared} inputs were compared`);
}

/**
 * Runs one input.
 *
 * @returns Whether it was compared byte for byte.
 * @throws {Difference} When there is one.
 */
export function runInput(
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
