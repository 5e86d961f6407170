/**
 * What a guest does to its network device and its memory while frames flow.
 *
 * @module
 */
import { deepStrictEqual, match, notStrictEqual, strictEqual } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { backportedQemu } from "../support/guest/qemu.ts";
import { Labswitch } from "../support/labswitch.ts";
import { testWith } from "../support/test_with.ts";

const QUEUES = 4;
const TOPOLOGY = `version: 1
ports:
  vm1: { type: vhost-user, socket: vm1.sock, queues: ${QUEUES} }
  vm2: { type: vhost-user, socket: vm2.sock, queues: ${QUEUES} }
`;
const PINGS = 10;
/** The state of each piece of a guest's memory. */
const MEMORY_BLOCKS = "/sys/devices/system/memory/memory*/state";
/** How long a guest may take to let go of memory, and how often it is asked. */
const RELEASE_TIMEOUT_MS = 60_000;
const LOOK_MS = 100;
/** What a guest of 256 MiB can do without while it carries traffic. */
const BALLOON_BYTES = 32 * 2 ** 20;
const BALLOON = "virtio-balloon-pci";
/** Virtio's name of the network device of a guest that has no other. */
const DEVICE = "virtio0";
const DRIVER = "/sys/bus/virtio/drivers/virtio_net";

const NEWER = await backportedQemu();

function missing(): string | undefined {
  return missingForGuests() ?? (NEWER === undefined ? "QEMU of the backports" : undefined);
}

testWith(
  missing,
  "Guests change their device and their memory under load (X10, X11)",
  async (t) => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-changes-" });
    try {
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
      const start = (name: string) =>
        Guest.start({
          ...{ folder, qemu: NEWER!, processors: QUEUES, hasMemorySlots: true },
          devices: [BALLOON],
          port: lab.port(name),
          address: `10.0.0.${name.slice(2)}/24`,
        });
      await using guests = new AsyncDisposableStack();
      const [vm1, vm2] = await Promise.all([start("vm1"), start("vm2")]);
      guests.use(vm1);
      guests.use(vm2);
      await vm2.must("iperf3 --server --daemon");
      const underLoad = async (change: () => Promise<unknown>, breaksLoad = false) => {
        await vm1.must(
          `iperf3 --client ${vm2.ip} --time 60 --parallel ${QUEUES} >/dev/null 2>&1 &`,
        );
        await change();
        if (!breaksLoad) await vm1.must("pidof iperf3");
        strictEqual(await vm1.ping(vm2.ip, PINGS), PINGS);
        strictEqual(await vm2.ping(vm1.ip, PINGS), PINGS);
        await vm1.run("killall iperf3; wait");
      };

      let plugged = "";
      await t.step("A guest uses fewer queues, then all again", () =>
        underLoad(async () => {
          for (const queues of [1, 3, QUEUES, 2]) {
            await vm2.must(`ethtool -L eth0 combined ${queues}`);
            match(await vm2.must("ethtool -l eth0"), new RegExp(`Combined:\\s+${queues}\\s*$`));
          }
        }));
      await t.step(
        "A guest is refused other ring sizes, and nothing else happens",
        () =>
          underLoad(async () => {
            // It needs VIRTIO_F_RING_RESET, of which QEMU does not tell a vhost-user back-end.
            notStrictEqual((await vm2.run("ethtool -G eth0 rx 128")).code, 0);
          }),
      );
      await t.step("A guest gets memory plugged in (X10)", () =>
        underLoad(async () => {
          await vm2.qmp("object-add", {
            ...{ "qom-type": "memory-backend-memfd", id: "more", size: 128 * 2 ** 20, share: true },
          });
          const from = lab.output.length;
          await vm2.qmp("device_add", { driver: "pc-dimm", id: "dimm", memdev: "more" });
          strictEqual(lab.output.slice(from).includes("refused"), false);
          const search = `grep -l offline ${MEMORY_BLOCKS}`;
          plugged = await vm2.must(`until ${search}; do sleep 0.1; done`);
          await vm2.must(`echo online_movable >${plugged}`);
        }));
      await t.step("A guest gives its memory back (X11)", () =>
        underLoad(async () => {
          const from = lab.output.length;
          await vm2.must(`echo offline >${plugged}`);
          await vm2.qmp("device_del", { id: "dimm" });
          await report(vm2, "query-memory-devices", []);
          // Fails as long as the memory is in use.
          await vm2.qmp("object-del", { id: "more" });
          strictEqual(lab.output.slice(from).includes("refused"), false);
        }));
      await t.step(
        "A guest takes memory out of use and back into it (X11)",
        () =>
          underLoad(async () => {
            const { actual } = await vm2.qmp("query-balloon") as { actual: number };
            for (const want of [actual - BALLOON_BYTES, actual]) {
              await vm2.qmp("balloon", { value: want });
              await report(vm2, "query-balloon", { actual: want });
            }
          }),
      );
      await t.step(
        "A guest's driver lets go of the device and takes it again",
        () =>
          underLoad(async () => {
            for (let i = 0; i < 3; i++) {
              await vm2.must(`echo ${DEVICE} >${DRIVER}/unbind`);
              await vm2.must(`echo ${DEVICE} >${DRIVER}/bind`);
            }
            await vm2.must(`ip address add ${vm2.ip}/24 dev eth0; ip link set eth0 up`);
          }),
      );
      await lab.stop();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

/** Waits until QEMU reports what it shall. */
async function report(guest: Guest, query: string, want: unknown): Promise<void> {
  for (const end = performance.now() + RELEASE_TIMEOUT_MS;;) {
    const found = await guest.qmp(query);
    if (isDeepStrictEqual(found, want)) return;
    if (performance.now() > end) return deepStrictEqual(found, want);
    await delay(LOOK_MS);
  }
}
