/**
 * `deno task bench:guests`: iperf3 between two QEMU guests through labswitch, and through OVS-DPDK
 * with and without segmentation offload, interleaved.
 *
 * @module
 */
import { join } from "node:path";
import { Command } from "commander";
import type { VhostUserConfig } from "../../config/topology.ts";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { iperf } from "../support/guest/traffic.ts";
import { type DpdkMemory, reserveDpdkMemory } from "../support/hugepages.ts";
import { OVS_MEMORY_MIB } from "../support/ovs.ts";
import { spreadOf } from "./report.ts";
import { labswitchClient, ovsDpdk, ovsDpdkTso, type System } from "./systems.ts";

const SYSTEMS: readonly System[] = [labswitchClient, ovsDpdk, ovsDpdkTso];
const DIRECTIONS = ["", "--reverse"];

interface Options {
  readonly rounds: number;
  readonly seconds: number;
}

if (import.meta.main) {
  const program = new Command("bench:guests")
    .description("iperf3 between two QEMU guests through labswitch and OVS-DPDK")
    .option("--rounds <count>", "how often everything is measured", Number, 3)
    .option("--seconds <count>", "length of one measurement", Number, 5);
  await run(program.parse(Deno.args, { from: "user" }).opts<Options>());
}

async function run({ rounds, seconds }: Options): Promise<void> {
  const missing = missingForGuests() ?? ovsDpdk.missing();
  if (missing !== undefined) throw new Error(`Cannot measure: ${missing} is not installed`);
  using memory = reserveDpdkMemory(OVS_MEMORY_MIB);
  const rates = new Map<System, number[]>(SYSTEMS.map((system) => [system, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const system of SYSTEMS) {
      const mbps = await measure(system, seconds, memory);
      rates.get(system)!.push(mbps.reduce((a, b) => a + b) / mbps.length);
      const each = mbps.map((rate) => rate.toFixed(0)).join(" and ");
      console.log(`round ${round}/${rounds}  ${system.title}  ${each} Mbit/s`);
    }
  }
  const own = rates.get(labswitchClient)!;
  console.log("\n| System | Mbit/s | labswitch / system |\n| --- | --- | --- |");
  for (const [{ title }, values] of rates) {
    const { median, min, max } = spreadOf(values);
    const ratio = spreadOf(values.map((value, round) => own[round]! / value));
    const range = `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})`;
    console.log(`| ${title} | ${range} | ${ratio.median.toFixed(2)} |`);
  }
}

/** Megabits per second in both directions. */
async function measure(system: System, seconds: number, memory: DpdkMemory): Promise<number[]> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-bench-" });
  try {
    const names = ["vm1", "vm2"] as const;
    const sockets = [join(folder, "vm1.sock"), join(folder, "vm2.sock")] as const;
    await using running = await system.start({ folder, sockets, queues: 1, memory });
    await using guests = new AsyncDisposableStack();
    const [client, server] = await Promise.all(
      names.map((name, i) =>
        Guest.start({ folder, port: port(name, sockets[i]!), address: `10.0.0.${i + 1}/24` })
      ),
    );
    guests.use(client!);
    guests.use(server!);
    await running.awaitLinks();
    await server!.must("iperf3 --server --daemon");
    const mbps: number[] = [];
    for (const direction of DIRECTIONS) {
      mbps.push(await iperf(client!, server!.ip, seconds, direction));
    }
    await running.stop();
    return mbps;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

// QEMU listens for every system, because Open vSwitch only connects.
function port(name: string, socket: string): VhostUserConfig {
  const mac = `52:54:00:00:00:0${name.slice(2)}`;
  return { name, type: "vhost-user", role: "client", socket, queues: 1, bridge: "br0", mac };
}
