/**
 * Guests outlast a switch and go on with the next one, where the rings in their memory stand. What
 * they remember of that themselves is of no use: the base of the time when the rings were made.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { parseTopology } from "../../config/load.ts";
import type { Role } from "../../config/topology.ts";
import { Switch } from "../../src/control/switch.ts";
import { eventually } from "../support/eventually.ts";
import { LastingGuest } from "../support/lasting_guest.ts";
import { countDescriptors } from "../support/leaks.ts";

const RESTARTS = 5;
const PORTS = ["vm1", "vm2"];

for (const role of ["server", "client"] as const) {
  for (const isPacked of [false, true]) {
    const rings = isPacked ? "packed" : "split";
    const name = `Switch goes on where ${rings} rings stand that outlast it, as ${role}`;
    Deno.test(`${name} (X30, F74)`, async () => {
      const folder = await Deno.makeTempDir({ prefix: "labswitch-restart-" });
      try {
        // The first switch of a process opens what Deno keeps.
        await (await open(folder, role)).close();
        const before = countDescriptors();
        await restart(folder, role, isPacked);
        // A Worker's own descriptors are closed some time after it.
        await eventually("all is closed", () => countDescriptors() <= before || null);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
}

async function restart(folder: string, role: Role, isPacked: boolean): Promise<void> {
  await using guests = new AsyncDisposableStack();
  const pair = LastingGuest.pair([
    {
      path: join(folder, "vm1.sock"),
      isListening: role === "client",
      isPacked,
      number: 1,
      peer: 2,
    },
    {
      path: join(folder, "vm2.sock"),
      isListening: role === "client",
      isPacked,
      number: 2,
      peer: 1,
    },
  ]);
  for (const guest of pair) guests.use(guest);
  for (let i = 0; i <= RESTARTS; i++) {
    const lab = await open(folder, role);
    try {
      await Promise.all(pair.map((guest) => guest.awaitRound()));
      if (i === RESTARTS) await Promise.all(pair.map((guest) => guest.stopSending()));
    } finally {
      await lab.close();
    }
  }
  // Nobody was killed in the middle of anything.
  for (const { receiver } of pair) strictEqual(receiver.damaged, 0);
}

async function open(folder: string, role: Role): Promise<Switch> {
  const ports = PORTS.map((name) =>
    `  ${name}: { type: vhost-user, socket: ${name}.sock, role: ${role} }\n`
  );
  const text = `version: 1\nports:\n${ports.join("")}`;
  const lab = new Switch(parseTopology(text, join(folder, "lab.yaml")), {
    onPortEvent: () => {},
    onWorkerEvent: () => {},
    onFailure: (error) => {
      throw error;
    },
  });
  await lab.open();
  return lab;
}
