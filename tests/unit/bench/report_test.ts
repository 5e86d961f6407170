import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import type { LoopResult } from "../../bench/loop.ts";
import { renderTable, type Run, spreadOf, summarise } from "../../bench/report.ts";

function result(mpps: number, rest: Partial<LoopResult> = {}): LoopResult {
  return {
    seconds: 1,
    mpps,
    sampleMpps: [mpps],
    stuck: false,
    lostFrames: 0,
    refusedFrames: 0,
    meanFrameSizeBytes: 64,
    workers: [],
    ...rest,
  };
}

function run(round: number, system: Run["system"], mpps: number): Run {
  return { round, frameSizeBytes: 64, system, result: result(mpps) };
}

Deno.test("spreadOf returns the middle of an odd count and the mean of two middles", () => {
  deepStrictEqual(spreadOf([9, 1, 10]), { median: 9, min: 1, max: 10 });
  deepStrictEqual(spreadOf([4, 1, 2, 100]), { median: 3, min: 1, max: 100 });
  throws(() => spreadOf([]), RangeError);
});

Deno.test("summarise takes ratios within a round, not of medians", () => {
  const [summary] = summarise([
    ...[run(1, "labswitch", 10), run(1, "ovs", 5)],
    ...[run(2, "labswitch", 4), run(2, "ovs", 4)],
    ...[run(3, "labswitch", 12), run(3, "ovs", 3)],
  ]);
  deepStrictEqual(summary?.mpps.labswitch, { median: 10, min: 4, max: 12 });
  deepStrictEqual(summary?.labswitchRatio.ovs, { median: 2, min: 1, max: 4 });
  strictEqual(summary?.labswitchRatio.labswitch, undefined);
});

Deno.test("summarise leaves a failed run out of medians and names it as a fault", () => {
  const [summary] = summarise([
    run(1, "labswitch", 10),
    { round: 1, frameSizeBytes: 64, system: "io", error: "no prompt" },
    { ...run(2, "io", 0), result: result(0, { stuck: true }) },
  ]);
  deepStrictEqual(summary?.mpps.io, { median: 0, min: 0, max: 0 });
  deepStrictEqual(summary?.labswitchRatio, {});
  deepStrictEqual(summary?.faults, ["io 64 B round 1: no prompt", "io 64 B round 2: stuck"]);
});

Deno.test("summarise adds up what the poll Workers counted", () => {
  const workers = [{
    polls: 1_000,
    busyPolls: 50,
    frames: 1_600,
    sleeps: 0,
    timedNs: 6_000,
    timedFrames: 100,
  }];
  const runs = [1, 2].map((round) => ({
    ...run(round, "labswitch", 10),
    result: result(10, { workers }),
  }));
  deepStrictEqual(summarise(runs)[0]?.polls, { busyShare: 0.05, frameNs: 60 });
});

Deno.test("renderTable has a row for each size and a column for each measured system", () => {
  const table = renderTable(summarise([
    ...[run(1, "labswitch", 15), run(1, "ovs", 10)],
    { ...run(1, "labswitch", 5), frameSizeBytes: 1514 },
    { round: 1, frameSizeBytes: 1514, system: "ovs", error: "no link" },
  ]));
  strictEqual(
    table,
    [
      "| Frame | labswitch Mpps | OVS-DPDK Mpps | labswitch / OVS-DPDK |",
      "| --- | --- | --- | --- |",
      "| 64 B | 15.00 (15.00–15.00) | 10.00 (10.00–10.00) | 1.50 (1.50–1.50) |",
      "| 1514 B | 5.00 (5.00–5.00) | – | – |",
      "ovs 1514 B round 1: no link",
    ].join("\n"),
  );
});
