/**
 * `deno task bench:latency`: the round trip of one frame between two front-ends, through labswitch in
 * its three polling modes and through OVS-DPDK, interleaved.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { ConsoleProcess } from "../support/console_process.ts";
import { type DpdkMemory, reserveDpdkMemory } from "../support/hugepages.ts";
import { OVS_MEMORY_MIB } from "../support/ovs.ts";
import { spreadOf } from "./report.ts";
import { GENERATOR_CORE, labswitchAs, ovsDpdk, type System } from "./systems.ts";

const PROGRAM = fileURLToPath(new URL("ping_pong.ts", import.meta.url));
const SYSTEMS: readonly (readonly [title: string, system: System])[] = [
  ["labswitch busy", labswitchAs("client", "busy")],
  ["labswitch adaptive", labswitchAs("client", "adaptive")],
  ["labswitch event", labswitchAs("client", "event")],
  ["OVS-DPDK", ovsDpdk],
];
const QUANTILES = [0.5, 0.99, 0.999];
const TIMEOUT_MS = 60_000;

interface Options {
  readonly rounds: number;
  readonly count: number;
}

if (import.meta.main) {
  const program = new Command("bench:latency")
    .description("Round trip of one frame between two front-ends, beside OVS-DPDK")
    .option("--rounds <count>", "how often everything is measured", Number, 5)
    .option("--count <count>", "round trips of one measurement", Number, 20_000);
  await run(program.parse(Deno.args, { from: "user" }).opts<Options>());
}

async function run({ rounds, count }: Options): Promise<void> {
  const systems = SYSTEMS.filter(([title, system]) => {
    const missing = system.missing();
    if (missing !== undefined) console.log(`Without ${title}: ${missing} not found`);
    return missing === undefined;
  });
  using memory = reserveDpdkMemory(OVS_MEMORY_MIB);
  const found = new Map<string, number[][]>(systems.map(([title]) => [title, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const [title, system] of systems) {
      const micros = await measure(system, count, memory);
      found.get(title)!.push(micros);
      console.log(`round ${round}/${rounds}  ${title}  ${micros.map(text).join(" ")} µs`);
    }
  }
  console.log("\n| Round trip, µs | p50 | p99 | p99.9 |\n| --- | --- | --- | --- |");
  for (const [title, micros] of found) {
    const medians = QUANTILES.map((_, i) => spreadOf(micros.map((row) => row[i]!)).median);
    console.log(`| ${title} | ${medians.map(text).join(" | ")} |`);
  }
}

function text(micros: number): string {
  return micros.toFixed(1);
}

/** The quantiles of the round trips, in microseconds. */
async function measure(system: System, count: number, memory: DpdkMemory): Promise<number[]> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-latency-" });
  try {
    const sockets = [join(folder, "a.sock"), join(folder, "b.sock")] as const;
    await using running = await system.start({ folder, sockets, queues: 1, memory });
    const args = ["run", "--allow-all", PROGRAM, `${count}`, ...sockets];
    await using front = new ConsoleProcess(Deno.execPath(), args, { core: GENERATOR_CORE });
    const times = await front.awaitOutput("the round trips", (output) => {
      const line = /^\[(.*)\]\r?\n/m.exec(output);
      return line === null ? undefined : line[1]!.split(",").map(Number);
    }, TIMEOUT_MS);
    await running.stop();
    const sorted = times.toSorted((x, y) => x - y);
    return QUANTILES.map((q) => sorted[Math.floor(q * sorted.length)]! / 1000);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
