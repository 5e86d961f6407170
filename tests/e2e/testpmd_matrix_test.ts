/**
 * DPDK's virtio-user driver with every ring and receive path that it has, against labswitch: each
 * legal combination forwards without a ring that stands still.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { measureLoop } from "../bench/loop.ts";
import { labswitch, labswitchClient } from "../bench/systems.ts";
import { findProgram } from "../support/console_process.ts";
import { reserveDpdkMemory } from "../support/hugepages.ts";
import { product } from "../support/pairwise.ts";
import { testWith } from "../support/test_with.ts";
import { TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";

const SECONDS = 5;

const COMBINATIONS = product({
  ring: ["split", "packed"],
  inOrder: [false, true],
  mergeable: [false, true],
  vectorized: [false, true],
  queues: [1, 2, 4],
  role: ["server", "client"],
});

const missing = () =>
  ["dpdk-testpmd", "taskset", "stdbuf"].find((name) => findProgram(name) === undefined);

for (const { ring, inOrder, mergeable, vectorized, queues, role } of COMBINATIONS) {
  const words = [
    ring,
    inOrder ? "in_order" : "",
    mergeable ? "mrg_rxbuf" : "",
    vectorized ? "vectorized" : "",
    `${queues} queue${queues > 1 ? "s" : ""}`,
    `as ${role}`,
  ].filter((word) => word !== "").join(" ");
  testWith(missing, `labswitch keeps virtio-user flowing: ${words} (X29)`, async () => {
    using memory = reserveDpdkMemory(TESTPMD_MEMORY_MIB);
    const result = await measureLoop({
      system: role === "server" ? labswitch : labswitchClient,
      segmentSizes: [64],
      seconds: SECONDS,
      memory,
      queues,
      ring: { packed: ring === "packed", inOrder, mergeableBuffers: mergeable, vectorized },
    });
    ok(!result.stuck, `A ring stood still; Mpps of each second: ${result.sampleMpps}`);
    strictEqual(result.refusedFrames, 0);
  });
}
