/**
 * `deno task bench:agreement`: do `labswitch bench` and DPDK's testpmd find the same rate in the same
 * switch?
 *
 * ```
 *   switch (core 0)                            generators (core 1), in turn
 *   bridge of t0 and t1  <== vhost-user ==>  testpmd, sends back what it receives
 *   bridge of b0 and b1  <== vhost-user ==>  labswitch bench, closed loop
 * ```
 *
 * Both are attached all the time, and each runs in every second window of time, in which the switch
 * counts what arrives. A machine that is slower for some seconds is so for both.
 *
 * Prints a line per size with medians and quartiles. Exits with 1 when a median ratio is further from 1
 * than the tolerance.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { parseTopology } from "../../config/load.ts";
import { keepThreadOn } from "../../ffi/affinity.ts";
import { columns } from "../../src/cli/columns.ts";
import { integerUpTo, sizes as parseSizes } from "../../src/cli/bench_options.ts";
import { Switch } from "../../src/control/switch.ts";
import { ConsoleProcess } from "../support/console_process.ts";
import { type DpdkMemory, reserveDpdkMemory } from "../support/hugepages.ts";
import { Testpmd, TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";
import { GENERATOR_CORE, SWITCH_CORE } from "./systems.ts";

const PROGRAM = fileURLToPath(new URL("../../mod.ts", import.meta.url));
const QUEUE_SIZE = 256;
/** As many bursts of 32 fill both rings. */
const FIRST_BURSTS = QUEUE_SIZE / 32;
/** How long both run at first: caches are warm, and testpmd's pool of buffers is no longer in order. */
const WARM_UP_MS = 5000;
/** How long a generator runs before its window begins. */
const SETTLE_MS = 20;
const WINDOW_MS = 150;
/** Longer than all windows. */
const BENCH_SECONDS = 3600;

interface Options {
  readonly windows: number;
  readonly sizes: readonly number[];
  readonly packed: boolean;
  readonly normalPages: boolean;
  readonly tolerance: number;
}

/** A program that is attached to a bridge of the switch. */
interface Generator {
  readonly pid: number;
  /** Names of its ports. */
  readonly ports: readonly [string, string];
}

/** Lower quartile, median, upper quartile. */
type Quartiles = readonly [number, number, number];

/** What was found for a size: million frames per second, and bench divided by testpmd. */
interface Row {
  readonly frameBytes: number;
  readonly testpmd: Quartiles;
  readonly bench: Quartiles;
  readonly ratio: Quartiles;
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  const options = new Command("bench:agreement")
    .description("labswitch bench beside testpmd on the same switch")
    .option("--windows <count>", "how often each is measured, 150 ms", integerUpTo(10_000), 100)
    .option("--sizes <bytes,...>", "frame sizes", parseSizes, [64, 512, 1514])
    .option("--packed", "packed rings", false)
    .option("--normal-pages", "testpmd without huge pages; labswitch bench never has any", false)
    .option("--tolerance <share>", "how far from 1 a ratio may be", Number, 0.15)
    .parse(Deno.args, { from: "user" }).opts<Options>();
  keepThreadOn([SWITCH_CORE]);
  using memory = options.normalPages
    ? { kind: "normal-pages", [Symbol.dispose]() {} } satisfies DpdkMemory
    : reserveDpdkMemory(TESTPMD_MEMORY_MIB);
  if (memory.reason !== undefined) console.log(`normal pages: ${memory.reason}`);
  const rows: Row[] = [];
  for (const frameBytes of options.sizes) {
    rows.push(await measure(options, frameBytes, memory));
    console.log(`${frameBytes} B: bench / testpmd ${shown(rows.at(-1)!.ratio)}`);
  }
  const cells = rows.map(({ frameBytes, testpmd, bench, ratio }) => {
    return [`${frameBytes} B`, ...[bench, testpmd, ratio].map(shown)];
  });
  const heading = ["FRAME", "BENCH MPPS", "TESTPMD MPPS", "BENCH / TESTPMD"];
  console.log(`\n${columns([heading, ...cells]).join("\n")}`);
  return rows.every(({ ratio }) => Math.abs(ratio[1] - 1) <= options.tolerance) ? 0 : 1;
}

async function measure(options: Options, frameBytes: number, memory: DpdkMemory): Promise<Row> {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "labswitch-agreement-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const lab = new Switch(topologyIn(folder), {
    onPortEvent: () => {},
    onWorkerEvent: () => {},
    onFailure: (error) => {
      throw error;
    },
  });
  stack.defer(() => lab.close());
  await lab.open();
  const testpmd = await startTestpmd(stack, folder, options, frameBytes, memory);
  const bench = startBench(stack, folder, options, frameBytes);
  await delay(WARM_UP_MS);
  const rates = await inTurn(lab, [testpmd, bench], options.windows);
  return {
    frameBytes,
    testpmd: quartilesOf(rates.map(([of]) => of)),
    bench: quartilesOf(rates.map(([, of]) => of)),
    ratio: quartilesOf(rates.map(([testpmd, bench]) => bench / testpmd)),
  };
}

function topologyIn(folder: string): ReturnType<typeof parseTopology> {
  const ports = ["t0", "t1", "b0", "b1"].map((name) =>
    `  ${name}: { type: vhost-user, socket: ${name}.sock, bridge: ${name[0]} }`
  );
  const lines = ["version: 1", "bridges: { t: {}, b: {} }", "ports:", ...ports, ""];
  return parseTopology(lines.join("\n"), join(folder, "agreement.yaml"));
}

async function startTestpmd(
  stack: AsyncDisposableStack,
  folder: string,
  { packed }: Options,
  frameBytes: number,
  memory: DpdkMemory,
): Promise<Generator> {
  const testpmd = stack.use(
    await Testpmd.startGenerator({
      sockets: [join(folder, "t0.sock"), join(folder, "t1.sock")],
      ...{ listening: false, queues: 1, segmentSizes: [frameBytes], memory, core: GENERATOR_CORE },
      ring: { queueSize: QUEUE_SIZE, packed },
    }),
  );
  await testpmd.command(`start tx_first ${FIRST_BURSTS}`);
  return { pid: testpmd.pid, ports: ["t0", "t1"] };
}

function startBench(
  stack: AsyncDisposableStack,
  folder: string,
  { packed }: Options,
  frameBytes: number,
): Generator {
  const bench = stack.use(
    new ConsoleProcess(Deno.execPath(), [
      ...["run", "--allow-all", PROGRAM, "bench", join(folder, "b0.sock"), join(folder, "b1.sock")],
      ...["--json", "--rounds", "1", "--sizes", `${frameBytes}`, "--seconds", `${BENCH_SECONDS}`],
      ...packed ? ["--packed"] : [],
    ], { core: GENERATOR_CORE }),
  );
  return { pid: bench.pid, ports: ["b0", "b1"] };
}

/** Lets each run in turn; returns million frames per second of each pair of windows. */
async function inTurn(
  lab: Switch,
  generators: readonly [Generator, Generator],
  windows: number,
): Promise<[number, number][]> {
  const signal = (signal: Deno.Signal) => {
    for (const { pid } of generators) Deno.kill(pid, signal);
  };
  signal("SIGSTOP");
  try {
    const rates: [number, number][] = [];
    for (let i = 0; i < windows; i++) {
      const pair: [number, number] = [0, 0];
      // Neither is always the first.
      for (const which of i % 2 === 0 ? [0, 1] as const : [1, 0] as const) {
        pair[which] = await windowOf(lab, generators[which]);
      }
      rates.push(pair);
    }
    return rates;
  } finally {
    signal("SIGCONT");
  }
}

async function windowOf(lab: Switch, { pid, ports }: Generator): Promise<number> {
  Deno.kill(pid, "SIGCONT");
  await delay(SETTLE_MS);
  const [from, before] = [performance.now(), framesOf(lab, ports)];
  await delay(WINDOW_MS);
  const [to, after] = [performance.now(), framesOf(lab, ports)];
  Deno.kill(pid, "SIGSTOP");
  if (after === before) {
    throw new Error(`Cannot measure: no frame passes ports ${ports.join(", ")}`);
  }
  return (after - before) / (to - from) / 1000;
}

function framesOf(lab: Switch, ports: readonly string[]): number {
  return lab.report().filter(({ name }) => ports.includes(name))
    .reduce((sum, { counters }) => sum + counters.receivedFrames, 0);
}

function quartilesOf(values: readonly number[]): Quartiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))]!;
  return [at(0.25), at(0.5), at(0.75)];
}

function shown([lower, median, upper]: Quartiles): string {
  return `${median.toFixed(2)} (${lower.toFixed(2)}–${upper.toFixed(2)})`;
}
