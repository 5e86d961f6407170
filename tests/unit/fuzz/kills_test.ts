import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { LoadKind } from "../../fuzz/kills/load.ts";
import { divideKills, planKills } from "../../fuzz/kills/plan.ts";
import { addReports, emptyReport, hasLosses, renderReport } from "../../fuzz/kills/report.ts";

function kindOf(name: string): LoadKind {
  return {
    name,
    topology: "",
    bearsEarlyKills: false,
    missing: () => undefined,
    start: () => Promise.reject(new Error("not to be started")),
  };
}

Deno.test("divideKills gives every load its share", () => {
  const kinds = ["a", "b", "c"].map(kindOf);
  const shares = (kills: number) =>
    divideKills(kills, kinds).map((run) => `${run.kind.name} ${run.kills}`);
  deepStrictEqual(shares(3), ["a 1", "b 1", "c 1"]);
  deepStrictEqual(shares(7), ["a 2", "b 2", "c 3"]);
  deepStrictEqual(shares(1), ["c 1"]);
  deepStrictEqual(shares(0), []);
});

Deno.test("divideKills starts loads afresh in a long run", () => {
  const runs = divideKills(250, ["a", "b"].map(kindOf));
  deepStrictEqual(runs.map(({ kind }) => kind.name), ["a", "b", "a", "b", "a", "b"]);
  ok(runs.every(({ kills }) => kills <= 50));
});

for (const kills of [0, 1, 99, 100, 1000]) {
  Deno.test(`planKills plans ${kills} kills, no more and no fewer (X07)`, () => {
    strictEqual(planKills(kills).reduce((sum, run) => sum + run.kills, 0), kills);
  });
}

Deno.test("renderReport shows counts, median and worst", () => {
  const outage = (firstFrameMs: number) => ({ firstFrameMs, allQueuesMs: 900, readyMs: 100 });
  const report = {
    ...emptyReport(),
    kills: 4,
    earlyKills: 1,
    outages: [outage(300), outage(700), outage(400)],
  };
  deepStrictEqual(renderReport("load", report).split("\n"), [
    "load: 4 kills (1 while starting), 0 stuck queues, 0 guests lost, 0 TCP connections lost",
    "  kill to first frame   median 400 ms, worst 700 ms",
    "  kill to all queues    median 900 ms, worst 900 ms",
    "  kill to ready         median 100 ms, worst 100 ms",
    "  ready to first frame  median 300 ms, worst 600 ms",
  ]);
});

Deno.test("renderReport names what is stuck", () => {
  const report = { ...emptyReport(), stuckQueues: ["vm1 receive"] };
  deepStrictEqual(renderReport("load", report).split("\n").slice(1), ["  stuck: vm1 receive"]);
});

Deno.test("hasLosses is true of every kind of loss", () => {
  strictEqual(hasLosses({ ...emptyReport(), kills: 9 }), false);
  for (const loss of [{ stuckQueues: ["a"] }, { guestsLost: 1 }, { connectionsLost: 1 }]) {
    strictEqual(hasLosses({ ...emptyReport(), ...loss }), true);
  }
});

Deno.test("addReports adds everything", () => {
  const one = {
    kills: 1,
    earlyKills: 2,
    outages: [{ firstFrameMs: 1, allQueuesMs: 2, readyMs: 3 }],
    stuckQueues: ["a"],
    guestsLost: 3,
    connectionsLost: 4,
  };
  deepStrictEqual(addReports([one, emptyReport(), one]), {
    kills: 2,
    earlyKills: 4,
    outages: [...one.outages, ...one.outages],
    stuckQueues: ["a", "a"],
    guestsLost: 6,
    connectionsLost: 8,
  });
});
