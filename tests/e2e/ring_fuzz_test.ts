/**
 * Random rings against a model, with another seed each time; `deno task fuzz rings` does so for as
 * long as one likes.
 *
 * @module
 */
import { runInputs } from "../fuzz/ring_run.ts";

const INPUTS = 100_000;

Deno.test(`RingFuzz finds no difference in ${INPUTS} inputs of a random seed (G100)`, async () => {
  await runInputs(crypto.getRandomValues(new Uint32Array(1))[0]!, INPUTS);
});
