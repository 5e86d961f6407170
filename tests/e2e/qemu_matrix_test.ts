/**
 * Linux guests with every kind of virtio-net device that QEMU makes, in two versions of QEMU: a few
 * combinations in which every pair of choices occurs.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { backportedQemu, installedQemu } from "../support/guest/qemu.ts";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { iperf, transferFile } from "../support/guest/traffic.ts";
import { Labswitch } from "../support/labswitch.ts";
import { pairwise } from "../support/pairwise.ts";
import { testWith } from "../support/test_with.ts";

const PINGS = 5;
const IPERF_SECONDS = 2;
const FILE_MEBIBYTES = 16;

const QEMUS = { installed: await installedQemu(), backported: await backportedQemu() };

/** Properties that switch every offload of the device off. */
const NO_OFFLOADS = ["csum", "gso", "guest_csum"]
  .concat(["tso4", "tso6", "ecn", "ufo"].flatMap((name) => [`guest_${name}`, `host_${name}`]))
  .map((name) => `${name}=off`).join(",");

const COMBINATIONS = pairwise({
  qemu: ["installed", "backported"],
  ring: ["split", "packed"],
  queues: [1, 4],
  offloads: ["all", "none", "one side"],
  mrg_rxbuf: ["on", "off"],
  event_idx: ["on", "off"],
  role: ["server", "client"],
});

function missing(): string | undefined {
  return missingForGuests() ??
    (QEMUS.backported === undefined ? "QEMU of the backports" : undefined);
}

for (const combination of COMBINATIONS) {
  const { qemu, ring, queues, offloads, mrg_rxbuf, event_idx, role } = combination;
  const words = [
    `QEMU ${QEMUS[qemu]?.version.major ?? qemu}`,
    `${ring} ring`,
    `${queues} queue pair${queues > 1 ? "s" : ""}`,
    `offloads on ${offloads === "all" ? "both sides" : offloads === "none" ? "no side" : offloads}`,
    `mrg_rxbuf ${mrg_rxbuf}`,
    `event_idx ${event_idx}`,
    `as ${role}`,
  ];
  testWith(missing, `labswitch joins guests: ${words.join(", ")} (X29)`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-matrix-" });
    try {
      const port = (name: string) =>
        `  ${name}: { type: vhost-user, socket: ${name}.sock, queues: ${queues}, role: ${role} }\n`;
      const topology = `version: 1\nports:\n${port("vm1")}${port("vm2")}`;
      await using lab = await Labswitch.start({ folder, topology });
      const start = (name: string, hasOffloads: boolean) => {
        const device = [
          `packed=${ring === "packed" ? "on" : "off"}`,
          `mrg_rxbuf=${mrg_rxbuf},event_idx=${event_idx}`,
          ...hasOffloads ? [] : [NO_OFFLOADS],
        ].join(",");
        return Guest.start({
          ...{ folder, device, qemu: QEMUS[qemu]!, processors: queues },
          port: lab.port(name),
          address: `10.0.0.${name.slice(2)}/24`,
        });
      };
      await using guests = new AsyncDisposableStack();
      const [vm1, vm2] = await Promise.all([
        start("vm1", offloads !== "none"),
        start("vm2", offloads === "all"),
      ]);
      guests.use(vm1);
      guests.use(vm2);
      for (const ip of [vm2.ip, vm2.ip6]) strictEqual(await vm1.ping(ip, PINGS), PINGS);
      await vm2.must("iperf3 --server --daemon");
      for (const ip of [vm2.ip, vm2.ip6]) {
        for (const direction of ["", "--reverse"]) {
          ok(await iperf(vm1, ip, IPERF_SECONDS, direction) > 0);
        }
      }
      await transferFile(vm1, vm2, FILE_MEBIBYTES);
      await lab.stop();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
