import { strictEqual } from "node:assert/strict";
import { portTable } from "../../../src/cli/port_table.ts";
import type { DropReason, PortCounters } from "../../../src/control/counters.ts";
import type { PortReport } from "../../../src/control/switch.ts";

const noDrops: Record<DropReason, number> = {
  "no buffer": 0,
  "not ready": 0,
  "too big": 0,
  "runt": 0,
  "bad chain": 0,
  "bad offload": 0,
  "cannot be segmented": 0,
  "queue disabled": 0,
  "same port": 0,
};

const zero: PortCounters = {
  receivedFrames: 0,
  receivedBytes: 0,
  transmittedFrames: 0,
  transmittedBytes: 0,
  flooded: 0,
  learned: 0,
  moved: 0,
  fdbFull: 0,
  ringFaults: 0,
  closedConnections: 0,
  refusedRequests: 0,
  badReceiveChains: 0,
  calls: 0,
  segmented: 0,
  checksummed: 0,
  drops: noDrops,
};

Deno.test("portTable shows frames and bytes of both directions, aligned to the right", () => {
  const ports: PortReport[] = [
    {
      name: "vm1",
      state: "up",
      counters: {
        ...zero,
        receivedFrames: 12,
        receivedBytes: 768,
        transmittedFrames: 1_000_000,
        transmittedBytes: 64_000_000,
      },
    },
    { name: "router", state: "waiting", counters: zero },
  ];
  strictEqual(
    portTable(ports),
    [
      "  PORT    STATE    RECEIVED  BYTES  TRANSMITTED     BYTES  DROPS  FAULTS",
      "  vm1     up             12    768      1000000  64000000  none   none",
      "  router  waiting         0      0            0         0  none   none",
      "",
    ].join("\n"),
  );
});

Deno.test("portTable names the reasons for drops that happened", () => {
  const drops = { ...noDrops, "no buffer": 3, "runt": 1 };
  const row = portTable([{ name: "vm1", state: "up", counters: { ...zero, drops } }]);
  strictEqual(row.split("\n")[1]?.endsWith("  3 no buffer, 1 runt  none"), true);
});

Deno.test("portTable names the faults of a front-end (R2, R3, R4)", () => {
  const counters = { ...zero, ringFaults: 1, refusedRequests: 20, closedConnections: 3 };
  const row = portTable([{ name: "vm1", state: "up", counters }]).split("\n")[1]!;
  strictEqual(row.endsWith("1 rings stopped, 20 requests refused, 3 connections closed"), true);
});

Deno.test("portTable without ports is a heading", () => {
  const heading = "  PORT  STATE  RECEIVED  BYTES  TRANSMITTED  BYTES  DROPS  FAULTS\n";
  strictEqual(portTable([]), heading);
});
