/**
 * One switch out, another one in, as an upgrade does it; and guests that were there before any switch.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { parseTopology } from "../../config/load.ts";
import { guestPorts, type Role, type Topology } from "../../config/topology.ts";
import { runKills } from "../fuzz/kills/kills.ts";
import type { LoadKind } from "../fuzz/kills/load.ts";
import { GUEST_LOADS, TESTPMD_LOADS } from "../fuzz/kills/plan.ts";
import { renderReport } from "../fuzz/kills/report.ts";
import { eventually } from "../support/eventually.ts";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { Labswitch } from "../support/labswitch.ts";
import { testWith } from "../support/test_with.ts";

const UPGRADES = 3;
const PINGS = 5;
const PORTS = ["vm1", "vm2"];

// The first two of each are both formats, and of the guests both roles.
for (const kind of [...GUEST_LOADS.slice(0, 2), ...TESTPMD_LOADS.slice(0, 2)]) testUpgrade(kind);
for (const role of ["server", "client"] as const) testLateSwitch(role);

function testUpgrade(kind: LoadKind): void {
  const name = `labswitch is replaced under ${kind.name}, and nothing is lost (X30)`;
  testWith(kind.missing, name, async () => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    console.log(`seed ${seed}`);
    const report = await runKills({ kind, kills: UPGRADES, seed, signal: "SIGTERM" });
    console.log(renderReport(kind.name, report));
    strictEqual(report.outages.length, UPGRADES);
    deepStrictEqual(report.stuckQueues, []);
    strictEqual(report.guestsLost, 0);
    strictEqual(report.connectionsLost, 0);
  });
}

function testLateSwitch(role: Role): void {
  const name = `labswitch as ${role} serves guests that were started before it (X08)`;
  testWith(missingForGuests, name, async () => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-late-" });
    try {
      await serveLate(folder, role);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

async function serveLate(folder: string, role: Role): Promise<void> {
  const text = topologyOf(role);
  const topology = parseTopology(text, join(folder, "topology.yaml"));
  await using stack = new AsyncDisposableStack();
  const starts = PORTS.map((name, i) => startGuest(stack, folder, topology, name, i + 1));
  // Whatever fails here, both have been started, or have failed, before the stack ends them.
  const guests = Promise.allSettled(starts);
  try {
    await eventually(
      "both QEMUs run",
      () => PORTS.every((name) => isRunning(folder, name)) || null,
    );
    stack.use(await Labswitch.start({ folder, topology: text }));
    const [first, second] = await Promise.all(starts);
    strictEqual(await first!.ping(second!.ip, PINGS), PINGS);
    strictEqual(await second!.ping(first!.ip, PINGS), PINGS);
  } finally {
    await guests;
  }
}

async function startGuest(
  stack: AsyncDisposableStack,
  folder: string,
  topology: Topology,
  name: string,
  number: number,
): Promise<Guest> {
  const port = guestPorts(topology).find((one) => one.name === name);
  ok(port !== undefined);
  return stack.use(await Guest.start({ folder, port, address: `10.0.0.${number}/24` }));
}

// QEMU makes its control socket before it looks for a switch.
function isRunning(folder: string, name: string): boolean {
  try {
    return Deno.lstatSync(join(folder, `${name}.qmp`)).isSocket === true;
  } catch {
    return false;
  }
}

function topologyOf(role: Role): string {
  const ports = PORTS.map((name) =>
    `  ${name}: { type: vhost-user, socket: ${name}.sock, role: ${role} }\n`
  );
  return `version: 1\nports:\n${ports.join("")}`;
}
