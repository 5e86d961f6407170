import { deepStrictEqual, throws } from "node:assert/strict";
import { portTable } from "../../../src/cli/port_table.ts";
import { readCounters } from "../../../src/control/counters.ts";
import { State } from "../../../src/dataplane/state.ts";
import { readPortTable } from "../../soak/port_totals.ts";

Deno.test("readPortTable reads what the switch prints when it stops", () => {
  const none = readCounters(new State(), 0, 1);
  const counters = {
    ...none,
    ...{ receivedFrames: 12, receivedBytes: 720, transmittedFrames: 1_000_000 },
    drops: { ...none.drops, "no buffer": 3, "cannot be segmented": 1 },
  };
  const table = portTable([
    { name: "a", state: "waiting", counters },
    { name: "b-long", state: "up", counters: none },
  ]);
  deepStrictEqual(readPortTable(`ready in 5 ms\nsome line\n\n${table}`), {
    a: {
      ...{ received: 12, transmitted: 1_000_000 },
      drops: { "no buffer": 3, "cannot be segmented": 1 },
    },
    "b-long": { received: 0, transmitted: 0, drops: {} },
  });
});

Deno.test("readPortTable wants a table", () => {
  throws(() => readPortTable("ready in 5 ms\n"), /printed none/);
});
