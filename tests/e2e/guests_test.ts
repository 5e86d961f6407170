/**
 * Real guests on one bridge: Linux's own virtio-net driver in QEMU, and what happens to a lab in a
 * day: traffic, reboots, cables pulled, machines that die.
 *
 * Needs QEMU, a Debian kernel, busybox and iperf3; see support/packages.ts.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { iperf, transferFile } from "../support/guest/traffic.ts";
import { Labswitch } from "../support/labswitch.ts";
import { testWith } from "../support/test_with.ts";

const TOPOLOGY = `version: 1
ports:
  vm1: { type: vhost-user, socket: vm1.sock }
  vm2: { type: vhost-user, socket: vm2.sock }
  vm3: { type: vhost-user, socket: vm3.sock }
`;
const PINGS = 20;
const IPERF_SECONDS = 5;
const IDLE_SECONDS = 10;
/** QEMU's name of the network device, as `qemu-args` gives it. */
const LINK = "labswitch-net";

testWith(
  missingForGuests,
  "Guests talk, reboot, die and come back on one bridge (X03, X04)",
  async (t) => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-guests-" });
    try {
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
      const start = (name: string) =>
        Guest.start({ folder, port: lab.port(name), address: `10.0.0.${name.slice(2)}/24` });
      await using guests = new AsyncDisposableStack();
      const [vm1, vm2, vm3] = await Promise.all(["vm1", "vm2", "vm3"].map(start));
      for (const guest of [vm1, vm2, vm3]) guests.use(guest!);

      await t.step("Guests answer each ping in both directions", () => pingBothWays(vm1!, vm2!));
      await t.step("Guests reach each other with TCP in both directions", async () => {
        await vm2!.must("iperf3 --server --daemon");
        for (const direction of ["", "--reverse"]) {
          const mbps = await iperf(vm1!, vm2!.ip, IPERF_SECONDS, direction);
          console.log(`iperf3 ${direction || "forward"}: ${mbps.toFixed(0)} Mbit/s`);
          ok(mbps > 0);
        }
      });
      await t.step("Guests exchange a 64 MiB file unharmed", () => transferFile(vm1!, vm2!, 64));
      await t.step("Guests see broadcasts but not what is meant for others", async () => {
        for (const guest of [vm1, vm2, vm3]) {
          // Neighbour discovery sends to groups at times of its own.
          await guest!.must("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        }
        await vm3!.must("ip link set eth0 promisc on");
        strictEqual(await vm1!.ping(vm2!.ip, 1), 1);
        const before = await vm3!.receivedFrames();
        strictEqual(await vm1!.ping(vm2!.ip, PINGS), PINGS);
        strictEqual(await vm3!.receivedFrames(), before);
        await vm1!.run("arping -c 3 -I eth0 10.0.0.99");
        ok(await vm3!.receivedFrames() >= before + 3);
      });
      await t.step("A guest is reachable again after a reboot (X04)", async () => {
        await vm2!.reboot();
        await pingBothWays(vm1!, vm2!);
      });
      await t.step("A guest is reachable again after its link was down", async () => {
        await vm2!.qmp("set_link", { name: LINK, up: false });
        strictEqual(await vm1!.ping(vm2!.ip, 2), 0);
        await vm2!.qmp("set_link", { name: LINK, up: true });
        await pingBothWays(vm1!, vm2!);
      });
      await t.step(
        "A guest that was killed is replaced on the same socket (X01, X03)",
        async () => {
          await vm2!.kill();
          const successor = guests.use(await start("vm2"));
          await pingBothWays(vm1!, successor);
        },
      );
      await t.step("labswitch sleeps while its guests are silent", async () => {
        const before = await lab.processorSeconds();
        await delay(IDLE_SECONDS * 1000);
        const share = (await lab.processorSeconds() - before) / IDLE_SECONDS;
        console.log(`idle: ${(100 * share).toFixed(2)} % of a core`);
        ok(share < 0.01, `it used ${(100 * share).toFixed(2)} % of a core`);
      });
      await lab.stop();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

testWith(missingForGuests, "labswitch explains memory that is not shared", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-guests-" });
  try {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    const guest = { folder, port: lab.port("vm1"), address: "10.0.0.1/24", isMemoryShared: false };
    await using _guest = await Guest.start(guest);
    await lab.awaitLine(/vm1 {2}no memory .*share=on .*labswitch qemu-args vm1/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function pingBothWays(a: Guest, b: Guest): Promise<void> {
  strictEqual(await a.ping(b.ip, PINGS), PINGS);
  strictEqual(await b.ping(a.ip, PINGS), PINGS);
}
