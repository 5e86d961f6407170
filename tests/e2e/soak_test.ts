/**
 * A short soak run. `deno task soak` is the long one.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import process from "node:process";
import { renderVerdict } from "../soak/report.ts";
import { soak } from "../soak/soak.ts";
import { judge } from "../soak/verdict.ts";

/** Where nobody waits for it, the run is long enough to show 1 KiB that is kept of each visit. */
const MINUTES = process.env.CI === "true" ? 5 : 1;
const SEED = 32;

Deno.test(`labswitch neither grows nor slows down in ${MINUTES} min of mixed load (X32)`, async () => {
  const verdict = judge(await soak({ minutes: MINUTES, seed: SEED }));
  console.log(renderVerdict(verdict));
  deepStrictEqual(verdict.faults, []);
});
