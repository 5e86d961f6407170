/**
 * The probe against back-ends that others wrote.
 *
 * Where they deviate is their own affair; what is checked is that the probe comes to its end with them,
 * and that what every guest needs is `ok`. `deno task conformance` prints every check.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { CHECKS } from "../../src/probe/checks/all.ts";
import type { ProbeReport } from "../../src/probe/probe.ts";
import { dpdkVhost, ovsDpdk } from "../backends/backend.ts";
import { probeBackend } from "../backends/trial.ts";
import { testWith } from "../support/test_with.ts";

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

for (const backend of [dpdkVhost, ovsDpdk]) {
  testWith(backend.missing, `probe comes to terms with ${backend.title}`, async () => {
    requireEssentials(await probeBackend(backend, { timeoutMs: TIMEOUT_MS }));
  });
}

function requireEssentials({ results }: ProbeReport): void {
  strictEqual(results.length, CHECKS.length);
  const essential = results.filter(({ id }) => ESSENTIAL.includes(id));
  strictEqual(essential.length, ESSENTIAL.length);
  deepStrictEqual(essential.filter(({ verdict }) => verdict !== "ok"), []);
}
