/**
 * `deno task bench:agreement`: do `labswitch bench` and DPDK's testpmd say the same about the same
 * switch? Both drive the closed loop through a switch of one core, interleaved, from the other core.
 *
 * Prints a line per pair and a table of medians at the end. Exits with 1 when a median ratio is
 * further from 1 than the tolerance.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { columns } from "../../src/cli/columns.ts";
import { integerUpTo, sizes as parseSizes } from "../../src/cli/bench_options.ts";
import { ConsoleProcess } from "../support/console_process.ts";
import { type DpdkMemory, reserveDpdkMemory } from "../support/hugepages.ts";
import { TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";
import { measureLoop } from "./loop.ts";
import { spreadOf } from "./report.ts";
import { GENERATOR_CORE, SYSTEMS } from "./systems.ts";

const PROGRAM = fileURLToPath(new URL("../../mod.ts", import.meta.url));
/** What a run takes besides its seconds: start, warm-up, end. */
const EXTRA_MS = 30_000;

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly sizes: readonly number[];
  readonly system: string;
  readonly packed: boolean;
  readonly normalPages: boolean;
  readonly tolerance: number;
}

/** Million frames per second as both say. */
interface Pair {
  readonly frameBytes: number;
  readonly bench: number;
  readonly testpmd: number;
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  const options = new Command("bench:agreement")
    .description("labswitch bench beside testpmd on the same switch")
    .option("--rounds <count>", "how often everything is measured", integerUpTo(1000), 5)
    .option("--seconds <count>", "length of one measurement", integerUpTo(3600), 2)
    .option("--sizes <bytes,...>", "frame sizes", parseSizes, [64, 512, 1514])
    .option("--system <name>", "labswitch or io (testpmd's forwarder)", "labswitch")
    .option("--packed", "packed rings", false)
    .option("--normal-pages", "testpmd without huge pages; labswitch bench never has any", false)
    .option("--tolerance <share>", "how far from 1 a ratio may be", Number, 0.15)
    .parse(Deno.args, { from: "user" }).opts<Options>();
  using memory = options.normalPages
    ? { kind: "normal-pages", [Symbol.dispose]() {} } satisfies DpdkMemory
    : reserveDpdkMemory(2 * TESTPMD_MEMORY_MIB);
  if (memory.reason !== undefined) console.log(`normal pages: ${memory.reason}`);
  const pairs: Pair[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const frameBytes of options.sizes) {
      const isTestpmdFirst = round % 2 === 0;
      const first = isTestpmdFirst ? await testpmd(options, frameBytes, memory) : null;
      const bench = await labswitchBench(options, frameBytes, memory);
      const pair = {
        frameBytes,
        bench,
        testpmd: first ?? await testpmd(options, frameBytes, memory),
      };
      console.log(
        `round ${round}/${options.rounds}  ${frameBytes} B  bench ${pair.bench.toFixed(2)}  ` +
          `testpmd ${pair.testpmd.toFixed(2)} Mpps  ratio ${ratio(pair).toFixed(2)}`,
      );
      pairs.push(pair);
    }
  }
  return summarise(options, pairs);
}

function summarise({ sizes, tolerance }: Options, pairs: readonly Pair[]): number {
  const rows = sizes.map((size) => {
    const own = pairs.filter(({ frameBytes }) => frameBytes === size);
    const spreads = [
      own.map(({ bench }) => bench),
      own.map(({ testpmd }) => testpmd),
      own.map(ratio),
    ]
      .map((values) => spreadOf(values));
    return { size, spreads, ratio: spreads[2]!.median };
  });
  const cells = rows.map(({ size, spreads }) => [
    `${size} B`,
    ...spreads.map(({ median, min, max }) =>
      `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`
    ),
  ]);
  const heading = ["FRAME", "BENCH MPPS", "TESTPMD MPPS", "BENCH / TESTPMD"];
  console.log(`\n${columns([heading, ...cells]).join("\n")}`);
  return rows.every(({ ratio }) => Math.abs(ratio - 1) <= tolerance) ? 0 : 1;
}

function ratio({ bench, testpmd }: Pair): number {
  return bench / testpmd;
}

async function testpmd(
  { system, seconds, packed }: Options,
  frameBytes: number,
  memory: DpdkMemory,
): Promise<number> {
  const options = { system: systemOf(system), segmentSizes: [frameBytes], seconds, memory };
  const { mpps } = await measureLoop({ ...options, ring: { packed } });
  return mpps;
}

async function labswitchBench(
  { system, seconds, packed }: Options,
  frameBytes: number,
  memory: DpdkMemory,
): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-agreement-" });
  try {
    const sockets = [join(folder, "port0.sock"), join(folder, "port1.sock")] as const;
    await using _running = await systemOf(system).start({ folder, sockets, queues: 1, memory });
    await using bench = new ConsoleProcess(Deno.execPath(), [
      ...["run", "--allow-all", PROGRAM, "bench", ...sockets, "--json", "--rounds", "1"],
      ...["--sizes", `${frameBytes}`, "--seconds", `${seconds}`],
      ...packed ? ["--packed"] : [],
    ], { core: GENERATOR_CORE });
    const code = await bench.awaitEnd(seconds * 1000 + EXTRA_MS);
    // What is wrong is said in a line of its own; a lossy loop has a result all the same.
    if (!bench.output.startsWith("{")) throw new Error(`Cannot measure: ${bench.output}`);
    const { sizes, isClean } = JSON.parse(bench.output);
    if (code !== 0) console.log(`exit code ${code}; clean: ${isClean}`);
    return sizes[0].median.mpps;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function systemOf(name: string): typeof SYSTEMS[number] {
  const system = SYSTEMS.find((candidate) => candidate.name === name);
  if (system !== undefined && !system.generatorListens) return system;
  throw new RangeError(`Cannot measure "${name}": want labswitch or io`);
}
