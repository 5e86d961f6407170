/**
 * The probe against back-ends that others wrote.
 *
 * Which of their ways deviate is theirs to change; what is checked is that the probe comes to its end with
 * them, and that what every back-end does is `ok`.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { CHECKS } from "../../src/probe/checks/all.ts";
import type { ProbeReport } from "../../src/probe/probe.ts";
import { type Backend, dpdkVhost, ovsDpdk } from "../backends/backend.ts";
import { probeBackend } from "../backends/trial.ts";
import { reserveDpdkMemory } from "../support/hugepages.ts";
import { OVS_MEMORY_MIB } from "../support/ovs.ts";
import { testWith } from "../support/test_with.ts";
import { TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";

const TIMEOUT_MS = 5000;

/** Without these, no guest could use the back-end. */
const ESSENTIAL = [
  "features-stable",
  "features-reconnect",
  "protocol-features-offered",
  "reply-ack",
  "queue-pairs",
  "attach-split",
  "attach-split-event-idx",
  "attach-mrg-rxbuf",
  "chain-split",
  "indirect-split",
  "receive-mrg-rxbuf",
  "call-wanted-split",
  "base-split",
  "stop-split",
  "restart-split",
  "reconnect",
  "second-region",
];

testWith(dpdkVhost.missing, "probe comes to terms with DPDK's vhost driver", async () => {
  requireEssentials(await probed(dpdkVhost, TESTPMD_MEMORY_MIB));
});

testWith(ovsDpdk.missing, "probe comes to terms with OVS-DPDK", async () => {
  requireEssentials(await probed(ovsDpdk, OVS_MEMORY_MIB));
});

async function probed(backend: Backend, memoryMib: number): Promise<ProbeReport> {
  using memory = reserveDpdkMemory(memoryMib);
  return await probeBackend(backend, memory, { timeoutMs: TIMEOUT_MS });
}

function requireEssentials({ results }: ProbeReport): void {
  strictEqual(results.length, CHECKS.length);
  const essential = results.filter(({ id }) => ESSENTIAL.includes(id));
  strictEqual(essential.length, ESSENTIAL.length);
  deepStrictEqual(essential.filter(({ verdict }) => verdict !== "ok"), []);
}
