/**
 * A port that leads to a back-end of somebody else, or to another labswitch: a closed loop of frames
 * goes through both, there and back, and no ring may ever stand still.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { labswitchJoined, labswitchToOvs, labswitchToVhostPmd } from "../bench/joined.ts";
import { measureLoop } from "../bench/loop.ts";
import type { System } from "../bench/systems.ts";
import { findProgram } from "../support/console_process.ts";
import { reserveDpdkMemory } from "../support/hugepages.ts";
import { OVS_MEMORY_MIB } from "../support/ovs.ts";
import { testWith } from "../support/test_with.ts";
import { TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";

/** Each second of a loop must move frames in both directions. */
const LOOP_SECONDS = 5;

function testLoop(system: System, frameBytes: number, queues: number): void {
  const missing = () =>
    ["dpdk-testpmd", "taskset", "stdbuf"].find((name) => findProgram(name) === undefined) ??
      system.missing();
  const what = `${frameBytes}-byte frames over ${queues} queue pair${queues === 1 ? "" : "s"}`;
  testWith(missing, `${system.title} carries ${what} there and back`, async () => {
    using memory = reserveDpdkMemory(2 * TESTPMD_MEMORY_MIB + OVS_MEMORY_MIB);
    const options = { system, queues, segmentSizes: [frameBytes], seconds: LOOP_SECONDS, memory };
    const result = await measureLoop(options);
    strictEqual(result.sampleMpps.length, LOOP_SECONDS);
    ok(!result.stuck, `A ring stood still; Mpps of each second: ${result.sampleMpps}`);
    strictEqual(result.refusedFrames, 0);
    strictEqual(Math.round(result.meanFrameSizeBytes), frameBytes);
    console.log(`${result.mpps.toFixed(2)} Mpps`);
  });
}

for (const system of [labswitchJoined, labswitchToOvs, labswitchToVhostPmd]) {
  testLoop(system, 64, 1);
  testLoop(system, 1514, 1);
}
testLoop(labswitchToVhostPmd, 64, 4);
