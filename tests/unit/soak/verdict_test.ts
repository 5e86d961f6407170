import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type Counter, COUNTERS } from "../../soak/board.ts";
import { bucketOf, BUCKETS } from "../../soak/histogram.ts";
import { renderVerdict } from "../../soak/report.ts";
import type { Holdings, Sample } from "../../soak/sample.ts";
import type { SoakResult } from "../../soak/soak.ts";
import { judge } from "../../soak/verdict.ts";

const MEBIBYTE = 2 ** 20;
const LOOKS = 60;
const LOOK_MS = 5000;
const WARM_UP_MS = 60_000;
const TRIPS_PER_LOOK = 1000;
const HOLDINGS: Holdings = {
  ...{ residentBytes: 160 * MEBIBYTE, anonymousBytes: 100 * MEBIBYTE },
  ...{ descriptors: 71, mappings: 490, threads: 9 },
};

/** What may differ from look to look; the number is the look's. */
interface Series {
  readonly residentMiB?: (look: number) => number;
  readonly mappings?: (look: number) => number;
  readonly threads?: (look: number) => number;
  readonly p50Us?: (look: number) => number;
  readonly p99Us?: (look: number) => number;
  readonly wakeUpUs?: (look: number) => number;
  readonly visits?: (look: number) => number;
}

function countersOf(value: number): Record<Counter, number> {
  const counters = Object.fromEntries(COUNTERS.map((name) => [name, value]));
  return { ...counters, roundTripsLost: 0 } as Record<Counter, number>;
}

/** A run of five minutes; flat unless told otherwise. */
function run(series: Series = {}, more: Partial<SoakResult> = {}): SoakResult {
  const { residentMiB, mappings, threads, p50Us, p99Us, wakeUpUs, visits } = series;
  const [roundTrips, wakeUps] = [new Uint32Array(BUCKETS), new Uint32Array(BUCKETS)];
  const samples = Array.from({ length: LOOKS }, (_, look): Sample => {
    roundTrips[bucketOf(1000 * (p50Us?.(look) ?? 300))]! += TRIPS_PER_LOOK * 0.98;
    roundTrips[bucketOf(1000 * (p99Us?.(look) ?? 2000))]! += TRIPS_PER_LOOK * 0.02;
    wakeUps[bucketOf(1000 * (wakeUpUs?.(look) ?? 1000))]! += TRIPS_PER_LOOK;
    return {
      ...HOLDINGS,
      ...{ atMs: (look + 1) * LOOK_MS, processorSeconds: look, logCharacters: 100 * look },
      residentBytes: (residentMiB?.(look) ?? 160) * MEBIBYTE,
      mappings: mappings?.(look) ?? HOLDINGS.mappings,
      threads: threads?.(look) ?? HOLDINGS.threads,
      counters: { ...countersOf(look * 100), visits: visits?.(look) ?? look * 100 },
      ...{ roundTrips: roundTrips.slice(), wakeUps: wakeUps.slice() },
    };
  });
  const port = { received: 6000, transmitted: 6000, drops: {} };
  return {
    ...{ samples, warmUpMs: WARM_UP_MS, before: HOLDINGS, after: HOLDINGS, mappingsLeft: 0 },
    ...{ counters: countersOf(6000), visits: {}, logLines: 1000, faults: [] },
    ports: { latency1: port, latency2: port, bulk1: port, bulk2: port },
    ...more,
  };
}

/** Requires exactly one fault. */
function requireFault(result: SoakResult, pattern: RegExp): void {
  const { faults } = judge(result);
  strictEqual(faults.length, 1, faults.join("\n"));
  match(faults[0]!, pattern);
}

Deno.test("judge finds nothing wrong with a flat run, and shows four quarters", () => {
  const verdict = judge(run());
  deepStrictEqual(verdict.faults, []);
  strictEqual(verdict.quarters.length, 4);
  for (const quarter of verdict.quarters) {
    strictEqual(quarter.residentBytes, 160 * MEBIBYTE);
    ok(Math.abs(quarter.p99Ns - 2_000_000) < 100_000, `${quarter.p99Ns}`);
    strictEqual(quarter.visits, 1200);
    strictEqual(quarter.processorShare, 0.2);
  }
});

Deno.test("judge forgives what grows in the warm-up", () => {
  deepStrictEqual(judge(run({ residentMiB: (look) => 100 + Math.min(look, 11) * 5 })).faults, []);
});

Deno.test("judge forgives the collector's saw teeth, wherever they fall", () => {
  for (let shift = 0; shift < 26; shift++) {
    const residentMiB = (look: number) => 165 - 38 * Math.max(0, 1 - (look + shift) % 26 / 5);
    deepStrictEqual(judge(run({ residentMiB })).faults, [], `shifted by ${shift}`);
  }
});

Deno.test("judge finds memory that leaks, also under saw teeth", () => {
  const leak = (look: number) => 160 + look * 0.25;
  requireFault(run({ residentMiB: leak }), /memory grows: by \d+\.\d MiB/);
  const residentMiB = (look: number) => leak(look) - 38 * Math.max(0, 1 - look % 26 / 5);
  requireFault(run({ residentMiB }), /memory grows/);
});

Deno.test("judge finds memory that grew once for ever", () => {
  requireFault(run({ residentMiB: (look) => look < 40 ? 160 : 170 }), /memory grows/);
});

Deno.test("judge forgives memory that was given back and comes again", () => {
  const residentMiB = (look: number) => look >= 24 && look < 36 ? 150 : 160;
  deepStrictEqual(judge(run({ residentMiB })).faults, []);
});

Deno.test("judge finds mappings and threads that become more", () => {
  requireFault(run({ mappings: (look) => 400 + 3 * look }), /mappings grow: by 7\d/);
  requireFault(run({ threads: (look) => 8 + look }), /threads grow: by 24/);
});

Deno.test("judge finds a p99 that drifts", () => {
  requireFault(run({ p99Us: (look) => look < 48 ? 2000 : 6000 }), /p99 drifts: 3\.\d times/);
  requireFault(run({ p99Us: (look) => 1000 + 10 * look * look }), /p99 drifts/);
});

Deno.test("judge finds a p50 that drifts", () => {
  requireFault(run({ p50Us: (look) => look < 48 ? 300 : 900 }), /p50 drifts: 3\.\d times/);
});

Deno.test("judge forgives a p99 of single looks, and what the machine does to it", () => {
  deepStrictEqual(judge(run({ p99Us: (look) => look % 3 === 0 ? 50_000 : 2000 })).faults, []);
  const p99Us = (look: number) => look < 48 ? 2000 : 7000;
  deepStrictEqual(judge(run({ p99Us, wakeUpUs: (look) => look < 48 ? 1000 : 3000 })).faults, []);
});

Deno.test("judge finds a load that has come to a standstill", () => {
  requireFault(run({ visits: (look) => Math.min(look, 40) * 100 }), /nothing moves in quarter 4/);
});

Deno.test("judge finds descriptors and mappings that visitors have left", () => {
  requireFault(run({}, { after: { ...HOLDINGS, descriptors: 72 } }), /1 descriptors are left/);
  requireFault(run({}, { mappingsLeft: 2 }), /2 mappings/);
});

Deno.test("judge finds frames that no counter explains", () => {
  const lost = { ...countersOf(6000), bulkReceivedSecond: 5997, roundTripsLost: 2 };
  const { ports } = run();
  const dropping = (drops: number) => ({
    ...ports.bulk1!,
    drops: { "no buffer": drops },
  });
  const faults = (more: SoakResult["ports"]) =>
    judge(run({}, { counters: lost, ports: { ...ports, ...more } })).faults;
  deepStrictEqual(faults({}), [
    "frames to bulk1: 3 lost, of which counters explain 0",
    "round trips: 2 lost, of which counters explain 0",
  ]);
  deepStrictEqual(faults({ bulk1: dropping(3), latency2: dropping(2) }), []);
  deepStrictEqual(faults({ bulk1: dropping(2), latency1: dropping(2) }), [
    "frames to bulk1: 3 lost, of which counters explain 2",
  ]);
});

Deno.test("judge finds frames that the switch has not seen", () => {
  const { ports } = run();
  const bulk2 = { ...ports.bulk2!, received: 5999 };
  requireFault(
    run({}, { ports: { ...ports, bulk2 } }),
    /bulk2 sent 6000 frames, the switch saw 5999/,
  );
});

Deno.test("judge finds a log without bounds", () => {
  requireFault(run({}, { logLines: 70_000 }), /the log has 70000 lines/);
});

Deno.test("judge passes on what the loads say", () => {
  requireFault(run({}, { faults: ["bulk_load: frame 7 is damaged"] }), /frame 7 is damaged/);
});

Deno.test("judge says nothing good of a run that is too short", () => {
  const { samples } = run();
  requireFault(run({}, { samples: samples.slice(0, 20) }), /too short/);
  requireFault(run({}, { samples: [] }), /too short/);
});

Deno.test("renderVerdict shows a line for each quarter, and every fault", () => {
  const good = renderVerdict(judge(run())).split("\n");
  strictEqual(good.length, 7);
  match(good[1]!, /^ {8}1 +160\.0 +490 +71 +9 +20 +\d+ +\d+ +\d+ +4800 +1200$/);
  match(good.at(-1)!, /^nothing grows/);
  const bad = renderVerdict(judge(run({}, { mappingsLeft: 2, faults: ["one"] })));
  match(bad, /\nfault: one\nfault: 2 mappings/);
});
