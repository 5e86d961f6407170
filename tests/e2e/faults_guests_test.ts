/**
 * Faults of real guests: one that panics, one that stands still for a while with its rings full. The
 * guests beside it notice nothing.
 *
 * @module
 */
import { match, strictEqual } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { Labswitch } from "../support/labswitch.ts";
import { testWith } from "../support/test_with.ts";

const TOPOLOGY = `version: 1
ports:
  vm1: { type: vhost-user, socket: vm1.sock }
  vm2: { type: vhost-user, socket: vm2.sock }
  vm3: { type: vhost-user, socket: vm3.sock }
`;
const PINGS = 20;
/** How long a guest is paused. */
const PAUSE_MS = 2000;
/** Frames for a guest that stands still: some times what its ring holds. */
const LOAD_FRAMES = 1000;
const LOOK_MS = 100;

testWith(
  missingForGuests,
  "Guests beside one that panics or stands still notice nothing (X04, X05, G96)",
  async (t) => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-guest-faults-" });
    try {
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
      const start = (name: string) =>
        Guest.start({ folder, port: lab.port(name), address: `10.0.0.${name.slice(2)}/24` });
      await using guests = new AsyncDisposableStack();
      const [vm1, vm2, vm3] = await Promise.all([start("vm1"), start("vm2"), start("vm3")]);
      for (const guest of [vm1, vm2, vm3]) guests.use(guest);
      const talk = async (from: Guest, to: Guest) =>
        strictEqual(await from.ping(to.ip, PINGS), PINGS);

      await t.step("A guest is reachable again after a panic (X04)", async () => {
        const [beside] = await Promise.all([vm1.ping(vm3.ip, PINGS), vm2.panic()]);
        strictEqual(beside, PINGS);
        await talk(vm1, vm2);
        await talk(vm2, vm3);
      });
      await t.step(
        "A guest that is paused by QEMU under load goes on when it may (X05)",
        async () => {
          await load(vm1, vm2);
          await vm2.qmp("stop");
          await talk(vm1, vm3);
          await delay(PAUSE_MS);
          await vm2.qmp("cont");
          await talk(vm3, vm2);
          await unload(vm1);
          await talk(vm1, vm2);
        },
      );
      await t.step(
        "A guest whose QEMU stands still until its ring is full goes on (G96)",
        async () => {
          await load(vm1, vm2);
          Deno.kill(vm2.pid, "SIGSTOP");
          try {
            const before = await vm1.sentFrames();
            await talk(vm1, vm3);
            await talk(vm3, vm1);
            while (await vm1.sentFrames() < before + LOAD_FRAMES) await delay(LOOK_MS);
          } finally {
            Deno.kill(vm2.pid, "SIGCONT");
          }
          await talk(vm3, vm2);
          await unload(vm1);
          await talk(vm1, vm2);
        },
      );
      await lab.stop();
      // That was long enough to fill its ring.
      match(lab.output, /^ {2}vm2 .* \d+ no buffer/m);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

/** Makes a guest send frames to another one, whether that answers or not. */
async function load(from: Guest, to: Guest): Promise<void> {
  // Otherwise it would soon ask again where the other one is.
  const mac = /lladdr (\S+)/.exec(await from.must(`ip neigh show ${to.ip}`))![1];
  await from.must(`arp -i eth0 -s ${to.ip} ${mac}`);
  await from.must(`ping -q -i 0.001 ${to.ip} >/dev/null 2>&1 &`);
}

async function unload(from: Guest): Promise<void> {
  await from.must("killall ping");
}
