import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  counterAt,
  createStateMemory,
  portAt,
  ringAt,
  ringNumber,
  State,
  workerAt,
} from "../../../src/dataplane/state.ts";
import {
  C_RECEIVED_FRAMES,
  COUNTERS,
  MAX_PORTS,
  MAX_WORKERS,
  PORTS,
  RINGS,
  RINGS_PER_PORT,
  WORKERS,
} from "../../../src/dataplane/state_layout.ts";

Deno.test("portAt, ringAt, workerAt and counterAt start where their parts do", () => {
  deepStrictEqual(
    [portAt(0), ringAt(0), workerAt(0), counterAt(0, 0, C_RECEIVED_FRAMES)],
    [PORTS, RINGS, WORKERS, COUNTERS],
  );
});

Deno.test("ringNumber gives every ring of the switch 16 bits of its own", () => {
  strictEqual(ringNumber(0, 1), 1);
  strictEqual(ringNumber(1, 0), RINGS_PER_PORT);
  strictEqual(ringNumber(MAX_PORTS - 1, RINGS_PER_PORT - 1), 65535);
});

Deno.test("counterAt separates Workers and ports", () => {
  const places = new Set<number>();
  for (let worker = 0; worker < MAX_WORKERS; worker++) {
    for (let port = 0; port < MAX_PORTS; port++) places.add(counterAt(worker, port, 0));
  }
  strictEqual(places.size, MAX_WORKERS * MAX_PORTS);
});

Deno.test("State reads what it wrote in every width", () => {
  const state = new State();
  const at = portAt(3);
  state.set64(at, 0x8899_aabb_ccdd_eeffn);
  strictEqual(state.get64(at), 0x8899_aabb_ccdd_eeffn);
  strictEqual(state.get32(at), 0xccddeeff);
  strictEqual(state.getSigned32(at), 0xccddeeff | 0);
  strictEqual(state.get16(at + 2), 0xccdd);
  state.set8(at + 1, 0);
  state.set16(at + 6, 1);
  state.set32(at + 8, -1);
  strictEqual(state.get64(at), 0x0001_aabb_ccdd_00ffn);
  strictEqual(state.load32(at + 8), 0xffffffff);
  state.setFloat(at + 16, 2.5);
  strictEqual(state.getFloat(at + 16), 2.5);
});

Deno.test("State.add32 returns the value before and wraps", () => {
  const state = new State();
  state.store32(portAt(0), 0xffffffff);
  strictEqual(state.add32(portAt(0), 2), 0xffffffff);
  strictEqual(state.load32(portAt(0)), 1);
});

Deno.test("State.clear clears its range only", () => {
  const state = new State();
  for (const at of [0, 4, 8]) state.set32(portAt(0) + at, 7);
  state.clear(portAt(0) + 4, 4);
  deepStrictEqual([0, 4, 8].map((at) => state.get32(portAt(0) + at)), [7, 0, 7]);
});

Deno.test("State.counter sums over all Workers unless told otherwise", () => {
  const state = new State();
  state.set64(counterAt(0, 1, C_RECEIVED_FRAMES), 1n);
  state.set64(counterAt(MAX_WORKERS - 1, 1, C_RECEIVED_FRAMES), 2n);
  strictEqual(state.counter(1, C_RECEIVED_FRAMES), 3n);
  strictEqual(state.counter(1, C_RECEIVED_FRAMES, 1), 1n);
});

Deno.test("State.pause returns at once when the value differs already", () => {
  const state = new State();
  state.store32(portAt(0), 5);
  state.pause(portAt(0), 4);
});

Deno.test("State sees what another State on the same memory wrote", () => {
  const memory = createStateMemory();
  new State(memory).store32(portAt(0), 9);
  strictEqual(new State(memory).load32(portAt(0)), 9);
});
