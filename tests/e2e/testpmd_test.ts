/**
 * DPDK's virtio-user driver against labswitch: frames travel in a closed loop between two of its
 * ports, and no ring may ever stand still. A missed notification or a wrong index stops the loop
 * for good, which no test with a few frames shows.
 *
 * Needs testpmd; huge pages are used where they are granted and are not needed.
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { labswitch } from "../bench/systems.ts";
import { type LoopOptions, measureLoop } from "../bench/loop.ts";
import { findProgram } from "../support/console_process.ts";
import { reserveDpdkMemory } from "../support/hugepages.ts";
import { testWith } from "../support/test_with.ts";
import { TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";

/** How long each loop runs; each second of it must move frames in both directions. */
const LOOP_SECONDS = 10;

const missing = () =>
  ["dpdk-testpmd", "taskset", "stdbuf"].find((name) => findProgram(name) === undefined);

function testLoop(what: string, loop: Pick<LoopOptions, "segmentSizes" | "bufferSizeBytes">) {
  const name = `labswitch keeps ${what} flowing between two virtio-user ports`;
  testWith(missing, name, async () => {
    using memory = reserveDpdkMemory(TESTPMD_MEMORY_MIB);
    const options = { system: labswitch, seconds: LOOP_SECONDS, memory, ...loop };
    const result = await measureLoop(options);
    strictEqual(result.sampleMpps.length, LOOP_SECONDS);
    ok(!result.stuck, `A ring stood still; Mpps of each second: ${result.sampleMpps}`);
    strictEqual(result.refusedFrames, 0);
    const frameSizeBytes = loop.segmentSizes.reduce((sum, size) => sum + size, 0);
    // testpmd reads the two counters one after the other, while frames move: not exact.
    strictEqual(Math.round(result.meanFrameSizeBytes), frameSizeBytes);
  });
}

testLoop("64-byte frames", { segmentSizes: [64] });
testLoop("512-byte frames", { segmentSizes: [512] });
testLoop("1514-byte frames", { segmentSizes: [1514] });
testLoop("frames sent from three buffers", { segmentSizes: [64, 512, 900] });
testLoop("frames sent from and received into chains of 640-byte buffers", {
  segmentSizes: [64, 512, 500],
  bufferSizeBytes: 640 + 128, // with DPDK's headroom
});
