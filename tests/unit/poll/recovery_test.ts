import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { ringAt, ringNumber, State, workerAt } from "../../../src/dataplane/state.ts";
import {
  MAX_PORTS,
  RING_LOCK,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  W_DESTINATION_COUNT,
  W_EPOCH,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
  W_MASKS,
  W_MORE,
  W_POLLS,
  W_SLEEPING,
  W_TAKEN,
} from "../../../src/dataplane/state_layout.ts";
import { recover } from "../../../src/poll/recovery.ts";
import { makeFrame, stationAddress } from "../../support/frames.ts";
import { SwitchSim } from "../../support/guest_sim.ts";

const WORKER = 3;
const AT = workerAt(WORKER);

/** A ring from which two chains were taken that were not given back. */
function takeTwo(state: State, ring: number, lock = 0): void {
  const at = ringAt(ring);
  state.set32(at + RING_NEXT_USED, 100);
  state.set32(at + RING_NEXT_AVAIL, 102);
  state.set32(at + RING_LOCK, lock);
}

/** What is taken next, and who holds the lock. */
function ringState(state: State, ring: number): [number, number] {
  return [state.get32(ringAt(ring) + RING_NEXT_AVAIL), state.get32(ringAt(ring) + RING_LOCK)];
}

Deno.test("recover takes the chains of the Worker's own rings again, and of no others", () => {
  const state = new State();
  const rings = [ringNumber(0, 1), ringNumber(7, 5), ringNumber(9, 1)];
  for (const ring of rings) takeTwo(state, ring);
  rings.slice(0, 2).forEach((ring, i) => state.set16(AT + W_LIST + 2 * i, ring));
  state.set32(AT + W_LIST_COUNT, 2);
  recover(state, WORKER);
  deepStrictEqual(rings.map((ring) => ringState(state, ring)), [[100, 0], [100, 0], [102, 0]]);
});

Deno.test("recover unlocks the receive ring that the Worker was filling, and no other", () => {
  const state = new State();
  const [own, others, last] = [ringNumber(0, 0), ringNumber(1, 4), ringNumber(MAX_PORTS - 1, 254)];
  takeTwo(state, own, WORKER + 1);
  takeTwo(state, others, WORKER);
  takeTwo(state, last, WORKER + 1);
  recover(state, WORKER);
  deepStrictEqual([own, others, last].map((ring) => ringState(state, ring)), [
    [100, 0],
    [102, WORKER],
    [100, 0],
  ]);
});

Deno.test("recover forgets the burst, and nothing that control wrote", () => {
  const state = new State();
  const burst = [W_TAKEN, W_DESTINATION_COUNT, W_MORE, W_MASKS, W_MASKS + (MAX_PORTS - 1) * 8];
  const kept = [W_EPOCH, W_LIST_GENERATION, W_LIST_COUNT, W_POLLS];
  for (const place of [...burst, ...kept]) state.set32(AT + place, 1);
  recover(state, WORKER);
  deepStrictEqual(burst.map((place) => state.get32(AT + place)), burst.map(() => 0));
  deepStrictEqual(kept.map((place) => state.get32(AT + place)), kept.map(() => 1));
  strictEqual(state.get32(AT + W_SLEEPING), 1);
});

Deno.test("recover lets the next loop deliver what the broken turn has taken", async () => {
  const sim = await SwitchSim.create([{}, {}]);
  const [one, two] = sim.guests;
  const frame = makeFrame(stationAddress(2), stationAddress(1));
  one!.send(frame);
  // A turn that ends behind `receive`.
  const at = ringAt(ringNumber(0, 1));
  sim.state.set32(at + RING_NEXT_AVAIL, 1);
  sim.settle();
  strictEqual(two!.receive().length, 0);
  recover(sim.state, 0);
  sim.settle();
  deepStrictEqual(two!.receive().map((received) => received.frame), [frame]);
  strictEqual(one!.takeSent().length, 1);
});

Deno.test("recover changes nothing the second time", () => {
  const state = new State();
  takeTwo(state, ringNumber(0, 0), WORKER + 1);
  recover(state, WORKER);
  // Another Worker has gone on meanwhile.
  takeTwo(state, ringNumber(0, 0), WORKER + 2);
  recover(state, WORKER);
  deepStrictEqual(ringState(state, ringNumber(0, 0)), [102, WORKER + 2]);
});
