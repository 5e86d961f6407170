/**
 * What a guest does to its network device and its memory while frames flow.
 *
 * @module
 */
import { match, notStrictEqual, strictEqual } from "node:assert/strict";
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
/** Virtio's name of the network device of a guest that has no other. */
const DEVICE = "virtio0";
const DRIVER = "/sys/bus/virtio/drivers/virtio_net";

const NEWER = await backportedQemu();

function missing(): string | undefined {
  return missingForGuests() ?? (NEWER === undefined ? "QEMU of the backports" : undefined);
}

testWith(missing, "Guests change their device and their memory under load", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-changes-" });
  try {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    const start = (name: string) =>
      Guest.start({
        ...{ folder, qemu: NEWER!, processors: QUEUES, hasMemorySlots: true },
        port: lab.port(name),
        address: `10.0.0.${name.slice(2)}/24`,
      });
    await using guests = new AsyncDisposableStack();
    const [vm1, vm2] = await Promise.all([start("vm1"), start("vm2")]);
    guests.use(vm1);
    guests.use(vm2);
    await vm2.must("iperf3 --server --daemon");
    const underLoad = async (change: () => Promise<unknown>, breaksLoad = false) => {
      await vm1.must(`iperf3 --client ${vm2.ip} --time 60 --parallel ${QUEUES} >/dev/null 2>&1 &`);
      await change();
      if (!breaksLoad) await vm1.must("pidof iperf3");
      strictEqual(await vm1.ping(vm2.ip, PINGS), PINGS);
      strictEqual(await vm2.ping(vm1.ip, PINGS), PINGS);
      await vm1.run("killall iperf3; wait");
    };

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
    await t.step("A guest gets memory plugged in", () =>
      underLoad(async () => {
        await vm2.qmp("object-add", {
          ...{ "qom-type": "memory-backend-memfd", id: "more", size: 128 * 2 ** 20, share: true },
        });
        const from = lab.output.length;
        await vm2.qmp("device_add", { driver: "pc-dimm", id: "dimm", memdev: "more" });
        strictEqual(lab.output.slice(from).includes("refused"), false);
      }));
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
});
