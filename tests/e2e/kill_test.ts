/**
 * The switch is killed at random instants under traffic and started again, a hundred times altogether.
 * Nothing may be lost for ever: no queue, no guest, no TCP connection, no buffer. The OOM killer sends
 * the same signal (X18).
 *
 * What is printed first repeats the instants: they are drawn from the seed.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { runKills } from "../fuzz/kills/kills.ts";
import type { LoadKind } from "../fuzz/kills/load.ts";
import { divideKills, GUEST_LOADS, LASTING_LOADS, TESTPMD_LOADS } from "../fuzz/kills/plan.ts";
import { addReports, type KillReport, renderReport } from "../fuzz/kills/report.ts";
import { countDescriptors } from "../support/leaks.ts";
import { testWith } from "../support/test_with.ts";

const SEED = crypto.getRandomValues(new Uint32Array(1))[0]!;

testKills("labswitch loses no queue of testpmd", 60, TESTPMD_LOADS);
testKills(
  "labswitch loses no frame and no buffer that it has given back (F74)",
  20,
  LASTING_LOADS,
);
testKills("labswitch loses no guest and no TCP connection (X28)", 20, GUEST_LOADS);

function testKills(what: string, kills: number, kinds: readonly LoadKind[]): void {
  const missing = () => kinds.map((kind) => kind.missing()).find((name) => name !== undefined);
  testWith(missing, `${what} in ${kills} kills (X06, X07, X18)`, async () => {
    console.log(`seed ${SEED}`);
    const before = countDescriptors();
    const reports: KillReport[] = [];
    for (const [run, planned] of divideKills(kills, kinds).entries()) {
      const report = await runKills({ ...planned, seed: SEED, run });
      console.log(renderReport(planned.kind.name, report));
      reports.push(report);
    }
    const all = addReports(reports);
    console.log(renderReport("together", all));
    strictEqual(all.kills, kills);
    deepStrictEqual(all.stuckQueues, []);
    strictEqual(all.guestsLost, 0);
    strictEqual(all.connectionsLost, 0);
    strictEqual(countDescriptors(), before);
  });
}
