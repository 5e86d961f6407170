/**
 * Two labswitch instances joined by one socket: one plays the guest of the other. Guests on both talk,
 * and go on talking when either instance is killed and started again.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import type { Role } from "../../config/topology.ts";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { iperf, transferFile } from "../support/guest/traffic.ts";
import { Labswitch } from "../support/labswitch.ts";
import { testWith } from "../support/test_with.ts";

const PINGS = 20;
const IPERF_SECONDS = 3;
/** Long enough for a kill, a start and what TCP waits for in between. */
const LONG_IPERF_SECONDS = 10;

interface Lab {
  readonly folder: string;
  readonly topology: string;
}

/** What leads from one instance to the other; one of the two listens. */
function topologies(folder: string, role: Role): { near: Lab; far: Lab } {
  const joint = JSON.stringify(join(folder, "joint.sock"));
  const other = role === "client" ? "server" : "client";
  const lab = (name: string, vm: string, port: string) => ({
    folder: join(folder, name),
    topology: [
      ...["version: 1", "ports:", `  ${port}`],
      // Each file counts its own ports: without this both guests would get the same address.
      `  ${vm}: { type: vhost-user, socket: ${vm}.sock, mac: 52:54:00:00:00:0${vm.slice(2)} }`,
    ].join("\n"),
  });
  return {
    near: lab(
      "near",
      "vm1",
      `joint: { type: vhost-user-frontend, socket: ${joint}, role: ${role} }`,
    ),
    far: lab("far", "vm2", `joint: { type: vhost-user, socket: ${joint}, role: ${other} }`),
  };
}

testJoined("client", async (t, { labs, near, far, vm1, vm2, stack }) => {
  await t.step("Guests answer each ping in both directions", () => pingBothWays(vm1, vm2));
  await t.step("Guests reach each other with TCP in both directions", async () => {
    await vm2.must("iperf3 --server --daemon");
    for (const direction of ["", "--reverse"]) {
      const mbps = await iperf(vm1, vm2.ip, IPERF_SECONDS, direction);
      console.log(`iperf3 ${direction || "forward"}: ${mbps.toFixed(0)} Mbit/s`);
      ok(mbps > 0);
    }
  });
  await t.step("Guests exchange a 16 MiB file unharmed", () => transferFile(vm1, vm2, 16));
  await t.step("Guests keep their TCP connection when the back-end is killed (B20)", async () => {
    const running = iperf(vm1, vm2.ip, LONG_IPERF_SECONDS, "");
    const from = near.output.length;
    await far.kill();
    await near.awaitLine(/joint {2}disconnected/, from);
    stack.use(await Labswitch.start(labs.far));
    await near.awaitLine(/joint {2}up/, from);
    ok(await running > 0);
    await pingBothWays(vm1, vm2);
  });
});

testJoined("server", async (t, { labs, near, vm1, vm2, stack }) => {
  await t.step("Guests answer each ping in both directions", () => pingBothWays(vm1, vm2));
  await t.step("Guests reach each other again when the front-end was killed", async () => {
    await near.kill();
    const successor = stack.use(await Labswitch.start(labs.near));
    for (const port of ["joint", "vm1"]) await successor.awaitLine(new RegExp(`${port} {2}up`));
    await pingBothWays(vm1, vm2);
  });
});

/** Two instances with a guest on each. */
interface Scene {
  readonly labs: ReturnType<typeof topologies>;
  readonly near: Labswitch;
  readonly far: Labswitch;
  readonly vm1: Guest;
  readonly vm2: Guest;
  /** Ends what is given to it when the test ends. */
  readonly stack: AsyncDisposableStack;
}

function testJoined(role: Role, play: (t: Deno.TestContext, scene: Scene) => Promise<void>): void {
  const name = `Guests of two joined switches talk, front-end as ${role}`;
  testWith(missingForGuests, name, async (t) => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-joined-" });
    try {
      const labs = topologies(folder, role);
      for (const lab of [labs.near, labs.far]) await Deno.mkdir(lab.folder);
      await using stack = new AsyncDisposableStack();
      const far = stack.use(await Labswitch.start(labs.far));
      const near = stack.use(await Labswitch.start(labs.near));
      const [vm1, vm2] = await Promise.all([
        Guest.start({ folder: labs.near.folder, port: near.port("vm1"), address: "10.0.0.1/24" }),
        Guest.start({ folder: labs.far.folder, port: far.port("vm2"), address: "10.0.0.2/24" }),
      ]);
      for (const guest of [vm1, vm2]) stack.use(guest);
      await play(t, { labs, near, far, vm1, vm2, stack });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

async function pingBothWays(a: Guest, b: Guest): Promise<void> {
  strictEqual(await a.ping(b.ip, PINGS), PINGS);
  strictEqual(await b.ping(a.ip, PINGS), PINGS);
}
