import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { readCounters } from "../../../src/control/counters.ts";
import { counterAt, State } from "../../../src/dataplane/state.ts";
import * as layout from "../../../src/dataplane/state_layout.ts";

/** Every counter of the layout, by name. */
const PLACES = Object.entries(layout).filter(([name]) => name.startsWith("C_")) as [
  string,
  number,
][];

/** All numbers of a report in one list. */
function flatten(report: ReturnType<typeof readCounters>): number[] {
  const { drops, ...rest } = report;
  return [...Object.values(rest), ...Object.values(drops)];
}

Deno.test("readCounters reports 0 everywhere in a new state memory", () => {
  ok(flatten(readCounters(new State(), 0, 2)).every((value) => value === 0));
});

Deno.test("readCounters reports every counter of the layout exactly once", () => {
  const state = new State();
  PLACES.forEach(([, place], i) => state.set64(counterAt(0, 7, place), BigInt(i + 1)));
  const values = flatten(readCounters(state, 7, 1)).toSorted((a, b) => a - b);
  deepStrictEqual(values, PLACES.map((_, i) => i + 1));
});

Deno.test("readCounters adds up the Workers it is told of", () => {
  const state = new State();
  for (const worker of [0, 1, 2]) {
    state.set64(counterAt(worker, 3, layout.C_RECEIVED_FRAMES), 10n ** BigInt(worker));
  }
  strictEqual(readCounters(state, 3, 2).receivedFrames, 11);
  strictEqual(readCounters(state, 3, 3).receivedFrames, 111);
});

Deno.test("readCounters keeps ports apart", () => {
  const state = new State();
  state.set64(counterAt(0, 3, layout.C_DROP_RUNT), 5n);
  strictEqual(readCounters(state, 3, 1).drops.runt, 5);
  strictEqual(readCounters(state, 2, 1).drops.runt, 0);
  strictEqual(readCounters(state, 4, 1).drops.runt, 0);
});

Deno.test("readCounters is exact up to 2^53", () => {
  const state = new State();
  state.set64(counterAt(0, 0, layout.C_TRANSMITTED_BYTES), 2n ** 53n - 1n);
  strictEqual(readCounters(state, 0, 1).transmittedBytes, Number.MAX_SAFE_INTEGER);
});
