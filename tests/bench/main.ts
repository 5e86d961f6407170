/**
 * `deno task bench`: the closed loop through labswitch, through OVS-DPDK and through testpmd's
 * forwarder, interleaved, at several frame sizes.
 *
 * Prints a line per measurement and a table of medians at the end, and writes everything as JSON
 * into `bench-results/`. Exits with 1 if a run failed or a ring got stuck.
 *
 * @module
 */

import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError } from "commander";
import { type DpdkMemory, reserveDpdkMemory } from "../support/hugepages.ts";
import { OVS_MEMORY_MIB } from "../support/ovs.ts";
import { TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";
import { JOINED_SYSTEMS } from "./joined.ts";
import { measureLoop } from "./loop.ts";
import { renderTable, type Run, summarise } from "./report.ts";
import { GENERATOR_CORE, SWITCH_CORE, type System, SYSTEMS } from "./systems.ts";

const RESULTS_FOLDER = fileURLToPath(new URL("../../bench-results/", import.meta.url));

/** Smallest and largest frame without FCS: IEEE 802.3 minimum without FCS; DPDK's default MTU. */
const MIN_FRAME_SIZE_BYTES = 60;
const MAX_FRAME_SIZE_BYTES = 1_514;

interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly sizes: readonly number[];
  readonly only: readonly System[];
}

async function main(): Promise<number> {
  const options = parseArguments(Deno.args);
  const interruption = new AbortController();
  Deno.addSignalListener("SIGINT", () => interruption.abort());
  using memory = reserveDpdkMemory(2 * TESTPMD_MEMORY_MIB + OVS_MEMORY_MIB);
  if (memory.reason !== undefined) print(`Normal pages instead of huge pages: ${memory.reason}`);
  const systems = options.only.filter(isRunnable);
  const loadBefore = loadavg();
  const runs: Run[] = [];
  for await (const run of measureAll(systems, options, memory, interruption.signal)) {
    print(progressLine(run, options.rounds));
    runs.push(run);
  }
  const summary = summarise(runs);
  print("", renderTable(summary));
  const environment = { ...describeEnvironment(), loadBefore, memory: memory.kind };
  const file = await writeResults(environment.at, { environment, summary, runs });
  print("", `Median (least–greatest) of the rounds; written to ${file}`);
  return summary.some(({ faults }) => faults.length > 0) ? 1 : 0;
}

/** Runs every system at every size in every round; the systems of one size right after each other. */
async function* measureAll(
  systems: readonly System[],
  { rounds, sizes, seconds }: BenchOptions,
  memory: DpdkMemory,
  signal: AbortSignal,
): AsyncGenerator<Run> {
  for (let round = 1; round <= rounds; round++) {
    for (const frameSizeBytes of sizes) {
      for (const system of systems) {
        const run = { round, frameSizeBytes, system: system.name };
        try {
          const segmentSizes = [frameSizeBytes];
          const result = await measureLoop({ system, segmentSizes, seconds, memory, signal });
          yield { ...run, result };
        } catch (error) {
          if (signal.aborted) return;
          yield { ...run, error: (error as Error).message };
        }
      }
    }
  }
}

function isRunnable(system: System): boolean {
  const missing = system.missing();
  if (missing !== undefined) print(`Without ${system.title}: ${missing} not found`);
  return missing === undefined;
}

function parseArguments(args: readonly string[]): BenchOptions {
  const command = new Command("bench")
    .description("Closed-loop throughput of labswitch, OVS-DPDK and testpmd's forwarder")
    .option("--rounds <count>", "how often everything is measured", integerFrom(1, 1_000), 3)
    .option("--seconds <count>", "length of one measurement", integerFrom(1, 3_600), 3)
    .option("--sizes <bytes,...>", "frame sizes without FCS", parseSizes, [64, 512, 1_514])
    .option("--only <names,...>", "systems; --only ? lists them", parseSystems, SYSTEMS);
  return command.parse(args, { from: "user" }).opts<BenchOptions>();
}

function integerFrom(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Want an integer from ${min} to ${max}`);
  };
}

function parseSizes(text: string): number[] {
  return text.split(",").map(integerFrom(MIN_FRAME_SIZE_BYTES, MAX_FRAME_SIZE_BYTES));
}

function parseSystems(text: string): System[] {
  return text.split(",").map((name) => {
    const known = [...SYSTEMS, ...JOINED_SYSTEMS];
    const system = known.find((candidate) => candidate.name === name);
    if (system !== undefined) return system;
    throw new InvalidArgumentError(`Want some of ${known.map((s) => s.name).join(", ")}`);
  });
}

function progressLine(
  { round, frameSizeBytes, system, result, error }: Run,
  rounds: number,
): string {
  const outcome = result === undefined
    ? `failed: ${error}`
    : `${result.mpps.toFixed(2)} Mpps${result.stuck ? " STUCK" : ""}, ${result.lostFrames} lost`;
  return `round ${round}/${rounds}  ${frameSizeBytes} B  ${system.padEnd(10)} ${outcome}`;
}

function describeEnvironment() {
  return {
    at: new Date().toISOString(),
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    loadAfter: loadavg(),
    switchCore: SWITCH_CORE,
    generatorCore: GENERATOR_CORE,
  };
}

async function writeResults(at: string, results: unknown): Promise<string> {
  await Deno.mkdir(RESULTS_FOLDER, { recursive: true });
  const file = join(RESULTS_FOLDER, `loop-${at.replaceAll(":", "-")}.json`);
  await Deno.writeTextFile(file, `${JSON.stringify(results, null, 2)}\n`);
  return file;
}

function print(...lines: string[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
}

if (import.meta.main) Deno.exit(await main());
