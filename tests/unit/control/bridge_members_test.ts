import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { BridgeMembers } from "../../../src/control/bridge_members.ts";
import { State } from "../../../src/dataplane/state.ts";
import {
  BRIDGE_AGEING_SECONDS,
  BRIDGE_BYTES,
  BRIDGE_COUNT,
  BRIDGE_PORTS,
  BRIDGES,
  MAX_BRIDGES,
  MAX_PORTS,
} from "../../../src/dataplane/state_layout.ts";

function members(state: State, bridge: number): number[] {
  const at = BRIDGES + bridge * BRIDGE_BYTES;
  return Array.from(
    { length: state.get32(at + BRIDGE_COUNT) },
    (_, i) => state.get16(at + BRIDGE_PORTS + i * 2),
  );
}

Deno.test("BridgeMembers.add appends to the list of its bridge only", () => {
  const state = new State();
  const list = new BridgeMembers(state);
  for (const port of [5, 0, 255]) list.add(1, port);
  list.add(MAX_BRIDGES - 1, 7);
  deepStrictEqual(members(state, 1), [5, 0, 255]);
  deepStrictEqual(members(state, MAX_BRIDGES - 1), [7]);
  deepStrictEqual(members(state, 0), []);
});

Deno.test("BridgeMembers.remove puts the last member in the place of the removed one", () => {
  const state = new State();
  const list = new BridgeMembers(state);
  for (const port of [1, 2, 3, 4]) list.add(0, port);
  list.remove(0, 2);
  deepStrictEqual(members(state, 0), [1, 4, 3]);
  list.remove(0, 3);
  deepStrictEqual(members(state, 0), [1, 4]);
  list.remove(0, 1);
  list.remove(0, 4);
  deepStrictEqual(members(state, 0), []);
});

Deno.test("BridgeMembers.remove ignores a port that is not a member", () => {
  const state = new State();
  const list = new BridgeMembers(state);
  list.remove(0, 9);
  list.add(0, 1);
  list.remove(0, 9);
  deepStrictEqual(members(state, 0), [1]);
});

Deno.test("BridgeMembers.add has room for every port of the switch", () => {
  const state = new State();
  const list = new BridgeMembers(state);
  list.add(1, 99);
  for (let port = 0; port < MAX_PORTS; port++) list.add(0, port);
  deepStrictEqual(members(state, 0), Array.from({ length: MAX_PORTS }, (_, port) => port));
  deepStrictEqual(members(state, 1), [99]);
});

Deno.test("BridgeMembers.setAgeing sets the time of one bridge", () => {
  const state = new State();
  new BridgeMembers(state).setAgeing(2, 300);
  const ageing = [1, 2, 3].map((bridge) =>
    state.get32(BRIDGES + bridge * BRIDGE_BYTES + BRIDGE_AGEING_SECONDS)
  );
  deepStrictEqual(ageing, [0, 300, 0]);
  strictEqual(members(state, 2).length, 0);
});
