import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { RunResult } from "../../../src/bench/run.ts";
import {
  closedLoopTable,
  isClean,
  mediansOf,
  openLoopTable,
} from "../../../src/cli/bench_report.ts";

const ROUND: RunResult = {
  ...{ seconds: 1, mpps: 4, gbps: 2, sent: 4_000_000, unsent: 0, stalls: 0, foreign: 0 },
  ...{ lost: 0, reordered: 0, duplicated: 0, corrupted: 0, latency: null },
};
const LATENCY = { p50Ns: 1000, p99Ns: 2000, p999Ns: 3000, maxNs: 4000 };

Deno.test("mediansOf takes the middle round, and the longest latency of all", () => {
  const rounds = [5, 1, 3].map((mpps, i) => ({
    ...ROUND,
    mpps,
    gbps: mpps / 2,
    latency: { ...LATENCY, p50Ns: 100 * (i + 1), maxNs: 4000 + i },
  }));
  deepStrictEqual(mediansOf(rounds), {
    mpps: 3,
    gbps: 1.5,
    latency: { ...LATENCY, p50Ns: 200, maxNs: 4002 },
  });
  strictEqual(mediansOf([ROUND]).latency, null);
});

Deno.test("isClean finds each fault, in any round", () => {
  strictEqual(isClean({ frameBytes: 64, rounds: [ROUND, ROUND] }), true);
  for (const fault of ["lost", "reordered", "duplicated", "corrupted"]) {
    const rounds = [ROUND, { ...ROUND, [fault]: 1 }];
    strictEqual(isClean({ frameBytes: 64, rounds }), false, fault);
  }
});

Deno.test("closedLoopTable shows median, extremes and the sum of what went wrong", () => {
  const rounds = [{ ...ROUND, mpps: 3, lost: 1 }, { ...ROUND, lost: 2 }, { ...ROUND, mpps: 6 }];
  const [heading, row] = closedLoopTable([{ frameBytes: 64, rounds }]).split("\n");
  match(heading!, /FRAME +MPPS +MIN +MAX +GBIT\/S +SENT +LOST +REORDERED +DUPLICATED +CORRUPTED$/);
  match(row!, /^ +64 B +4\.00 +3\.00 +6\.00 +2\.00 +12000000 +3 +0 +0 +0$/);
});

Deno.test("openLoopTable shows latencies in microseconds, and a dash where nothing arrived", () => {
  const table = openLoopTable([
    { frameBytes: 64, rounds: [{ ...ROUND, mpps: 0.1, latency: LATENCY, unsent: 7 }] },
    { frameBytes: 512, rounds: [ROUND] },
  ]);
  const [heading, first, second] = table.split("\n");
  match(heading!, /P50 µs +P99 µs +P99\.9 µs +MAX µs .* UNSENT$/);
  match(first!, /64 B +0\.100 +1\.0 +2\.0 +3\.0 +4\.0 .* 7$/);
  match(second!, /512 B +4\.000 +– +– +– +– /);
});
