/**
 * A switch under its supervisor: both are killed in every way, and the switch comes back or stays away
 * as it should.
 *
 * @module
 */
import { deepStrictEqual, match, rejects, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { guestPorts } from "../../config/topology.ts";
import { eventually } from "../support/eventually.ts";
import { exchange } from "../support/exchange.ts";
import { Labswitch } from "../support/labswitch.ts";
import { isAlive } from "../support/processes.ts";

const TOPOLOGY = `version: 1
ports:
  vm1: { type: vhost-user, socket: vm1.sock }
  vm2: { type: vhost-user, socket: vm2.sock }
  vm3: { type: vhost-user, socket: vm3.sock }
`;
const DEATH = /supervisor {2}the switch died {2}(.*) after \d+\.\d s(.*); it starts again (.*)$/gm;

/** A death as the supervisor reports it: cause, next start. */
function deaths(lab: Labswitch): [string, string][] {
  return [...lab.output.matchAll(DEATH)].map(([, cause, , next]) => [cause!, next!]);
}

function testSupervised(name: string, test: (lab: Labswitch, folder: string) => Promise<void>) {
  Deno.test(name, () =>
    inFolder(async (folder) => {
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, isSupervised: true });
      await test(lab, folder);
    }));
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-supervise-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Kills the switch and waits until the next one is ready. */
async function killSwitch(lab: Labswitch): Promise<void> {
  const from = lab.output.length;
  const pid = await lab.supervisedPid();
  Deno.kill(pid, "SIGKILL");
  await lab.awaitReady(from);
}

testSupervised("run --supervise starts a killed switch again at once", async (lab) => {
  const { socket: vm1 } = lab.port("vm1");
  const { socket: vm2 } = lab.port("vm2");
  await exchange(vm1, vm2);
  const first = await lab.supervisedPid();
  await killSwitch(lab);
  deepStrictEqual(deaths(lab), [["SIGKILL", "at once"]]);
  await exchange(vm1, vm2);
  strictEqual(isAlive(first), false);
  // Exits with 0, and what the second switch printed at its end is the last of the output.
  await lab.stop();
  match(lab.output, /^ {2}vm3 +waiting +0.*\n$/m);
});

testSupervised(
  "run --supervise waits longer and longer for a switch that keeps dying",
  async (lab) => {
    for (let i = 0; i < 4; i++) await killSwitch(lab);
    deepStrictEqual(deaths(lab).map(([, next]) => next), [
      "at once",
      "in 100 ms",
      "in 200 ms",
      "in 400 ms",
    ]);
  },
);

testSupervised(
  "run --supervise ends at once when it is stopped between two starts",
  async (lab) => {
    for (let i = 0; i < 5; i++) await killSwitch(lab);
    Deno.kill(await lab.supervisedPid(), "SIGKILL");
    await lab.awaitLine(/it starts again in 1600 ms$/m);
    Deno.kill(lab.pid, "SIGTERM");
    await lab.awaitEnd(0);
    strictEqual(deaths(lab).length, 6);
    strictEqual(lab.output.match(/^ready/gm)?.length, 6);
  },
);

testSupervised("run --supervise that is killed takes the switch with it", async (lab) => {
  const pid = await lab.supervisedPid();
  Deno.kill(lab.pid, "SIGKILL");
  await eventually("the end of the switch", () => isAlive(pid) ? null : true);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  testSupervised(`run --supervise passes ${signal} on and ends like the switch`, async (lab) => {
    const pid = await lab.supervisedPid();
    Deno.kill(lab.pid, signal);
    await lab.awaitEnd(0);
    strictEqual(isAlive(pid), false);
    deepStrictEqual(deaths(lab), []);
    for (const { socket } of guestPorts(lab.topology)) {
      await rejects(Deno.lstat(socket), Deno.errors.NotFound);
    }
  });
}

testSupervised("run --supervise ends when the switch was told to", async (lab) => {
  Deno.kill(await lab.supervisedPid(), "SIGTERM");
  await lab.awaitEnd(0);
  deepStrictEqual(deaths(lab), []);
});

Deno.test("run --supervise leaves a mistake to the user and ends with its exit code", () =>
  inFolder(async (folder) => {
    const start = (topology: string) => Labswitch.start({ folder, topology, isSupervised: true });
    const bad = TOPOLOGY.replace("vhost-user", "vhost-usr");
    const error = await start(bad).then(() => null, (error: Error) => error);
    match(error!.message, /topology\.yaml:3:16: error: /);
    strictEqual(error!.message.match(/: error: /g)?.length, 1);
    strictEqual(DEATH.test(error!.message), false);
    // The same, with the exit codes.
    const missing = TOPOLOGY.replace("vm1.sock", "missing/vm1.sock");
    for (const [topology, code] of [[bad, 3], [missing, 1]] as const) {
      const file = join(folder, "lab.yaml");
      await Deno.writeTextFile(file, topology);
      strictEqual(await Labswitch.exitCode(["run", file, "--supervise"]), code);
    }
  }));

testSupervised(
  "run --supervise waits for a topology that was good before to be good again",
  async (lab, folder) => {
    const file = join(folder, "topology.yaml");
    await Deno.writeTextFile(file, "version: 2\n");
    Deno.kill(await lab.supervisedPid(), "SIGKILL");
    await lab.awaitLine(/the switch died {2}exit code 3 after/);
    const from = lab.output.length;
    await Deno.writeTextFile(file, TOPOLOGY);
    await lab.awaitReady(from);
    await exchange(lab.port("vm1").socket, lab.port("vm2").socket);
  },
);
