/**
 * One soak run: a switch in a process of its own under a mixed load, looked at every few seconds.
 *
 *     latency1 latency2   one frame to and fro at a time
 *     bulk1 bulk2         frames of mixed sizes and super-packets
 *     hub silent          sends back and floods; never looks
 *     churn1 … churn5     guests that come and go, behave and break the rules
 *     client1             the same, where the switch connects
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../support/eventually.ts";
import { Labswitch } from "../support/labswitch.ts";
import { countMappings } from "../support/leaks.ts";
import { Board, type Counter, type Group, GROUPS } from "./board.ts";
import { VISITOR_MEMFD } from "./visitor.ts";
import { LoadThread } from "./load_thread.ts";
import { type PortTotals, readPortTable } from "./port_totals.ts";
import { countersOf, type Holdings, holdingsOf, type Sample, takeSample } from "./sample.ts";

/** How a run is done. */
export interface SoakOptions {
  /** How long, warm-up included. */
  readonly minutes: number;
  /** What the random numbers follow from. */
  readonly seed: number;
  /** Poll Workers; what the switch takes by itself unless given. */
  readonly workers?: number;
  /** Whether garbage is collected when V8 likes; see {@linkcode EAGER_COLLECTOR}. */
  readonly isCollectorLazy?: boolean;
  /** Told every look. */
  readonly onSample?: (sample: Sample) => void;
}

/** What came of it. */
export interface SoakResult {
  /** The first part of the run, in which everything is compiled and pools are filled. */
  readonly warmUpMs: number;
  /** All looks, oldest first. */
  readonly samples: readonly Sample[];
  /** What the switch held with the steady guests alone, before and after those who come and go. */
  readonly before: Holdings;
  readonly after: Holdings;
  /** Mappings of visitors' memory that are left. */
  readonly mappingsLeft: number;
  /** The loads' counters at the end. */
  readonly counters: Readonly<Record<Counter, number>>;
  /** Visits by kind. */
  readonly visits: Readonly<Record<string, number>>;
  /** What the switch counted, by port. */
  readonly ports: Readonly<Record<string, PortTotals>>;
  /** Lines that the switch printed. */
  readonly logLines: number;
  /** What the loads say must not happen. */
  readonly faults: readonly string[];
}

/**
 * Makes V8 collect all garbage each time that 4 MiB of it may be there. Left to itself it waits until
 * 60 MiB are, in saw teeth of minutes, and memory says little about what is kept.
 */
const EAGER_COLLECTOR = ["--gc-global", "--max-semi-space-size=4"] as const;

const MINUTE_MS = 60_000;
/** Looks in a run, and the time between two of them. */
const SAMPLES = 200;
const LEAST_SAMPLE_MS = 1000;
const MOST_SAMPLE_MS = 5000;
/** The warm-up's share of a run, and its longest. */
const WARM_UP_SHARE = 0.2;
const MOST_WARM_UP_MS = 5 * MINUTE_MS;
/** How long the switch may take to notice that a visitor is gone: the deadline of a message. */
const SETTLE_MS = 10_000;

/** What the switch prints when its own code has failed. */
const REPLACED_WORKER = /worker \d+ {2}replaced/;

/** Ports of the latency pair. */
export const LATENCY_PORTS = ["latency1", "latency2"] as const;
/** Ports of the bulk pair. */
export const BULK_PORTS = ["bulk1", "bulk2"] as const;
const HUB_PORTS = ["hub", "silent"] as const;
const CHURN_PORTS = ["churn1", "churn2", "churn3", "churn4", "churn5", "client1"] as const;
const STEADY_PORTS = [...LATENCY_PORTS, ...BULK_PORTS, ...HUB_PORTS] as const;

/** Runs it. The samples are to be judged (see verdict.ts). */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-soak-" });
  try {
    await using lab = await Labswitch.start({
      folder,
      topology: topologyOf(options),
      v8Flags: options.isCollectorLazy ? [] : EAGER_COLLECTOR,
    });
    return await run(lab, options);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

// Addresses are forgotten soon, and there is room for a few: both happens all the time.
function topologyOf({ workers }: SoakOptions): string {
  const ports = [...STEADY_PORTS, ...CHURN_PORTS].map((name) => {
    const role = name === "client1" ? "client" : "server";
    return `  ${name}: { type: vhost-user, socket: ${name}.sock, role: ${role} }`;
  });
  return [
    "version: 1",
    "bridges:",
    "  br0: { ageing-time: 10s, max-macs: 1024 }",
    "ports:",
    ...ports,
    ...workers === undefined ? [] : [`threads: { workers: ${workers} }`],
  ].join("\n");
}

async function run(lab: Labswitch, options: SoakOptions): Promise<SoakResult> {
  const faults: string[] = [];
  await using loads = new Loads(lab, options.seed, (text) => faults.push(text));
  await loads.start("latency_load", "steady", LATENCY_PORTS);
  await loads.start("bulk_load", "steady", BULK_PORTS);
  await loads.start("hub_load", "steady", HUB_PORTS);
  const before = holdingsOf(lab.pid);
  await loads.start("churn_load", "churn", CHURN_PORTS);
  const samples = await watch(lab, loads.board, options);
  const visits = await loads.stop("churn");
  await settle(lab, before, faults);
  const after = holdingsOf(lab.pid);
  const mappingsLeft = countMappings(lab.pid, VISITOR_MEMFD);
  await loads.stop("steady");
  await lab.stop();
  faults.push(...lab.output.split("\n").filter((line) => REPLACED_WORKER.test(line)));
  return {
    ...{ samples, before, after, mappingsLeft, visits, faults },
    warmUpMs: warmUpOf(options),
    counters: countersOf(loads.board),
    ports: readPortTable(lab.output),
    logLines: lab.output.split("\n").length,
  };
}

function warmUpOf({ minutes }: SoakOptions): number {
  return Math.min(MOST_WARM_UP_MS, WARM_UP_SHARE * minutes * MINUTE_MS);
}

async function watch(lab: Labswitch, board: Board, options: SoakOptions): Promise<Sample[]> {
  const lengthMs = options.minutes * MINUTE_MS;
  const everyMs = Math.min(MOST_SAMPLE_MS, Math.max(LEAST_SAMPLE_MS, lengthMs / SAMPLES));
  const start = performance.now();
  const samples: Sample[] = [];
  while (performance.now() - start < lengthMs) {
    await delay(everyMs);
    const sample = await takeSample(lab, board, performance.now() - start);
    samples.push(sample);
    options.onSample?.(sample);
  }
  return samples;
}

// The last visitors may have left in the middle of a message, which the switch waits for.
async function settle(lab: Labswitch, before: Holdings, faults: string[]): Promise<void> {
  const isSettled = () => holdingsOf(lab.pid).descriptors <= before.descriptors || null;
  try {
    await eventually("the descriptors of visitors are closed", isSettled, SETTLE_MS);
  } catch (error) {
    faults.push((error as Error).message);
  }
}

/** The threads of a run. */
class Loads implements AsyncDisposable {
  readonly board = new Board("steady");
  readonly #boards = { steady: this.board, churn: new Board("churn", this.board.buffer) };
  readonly #threads: { readonly group: Group; readonly thread: LoadThread }[] = [];
  readonly #lab: Labswitch;
  readonly #seed: number;
  readonly #onFault: (text: string) => void;

  constructor(lab: Labswitch, seed: number, onFault: (text: string) => void) {
    this.#lab = lab;
    this.#seed = seed;
    this.#onFault = onFault;
  }

  /** Starts a load and waits until its guests are attached. */
  async start(name: string, group: Group, ports: readonly string[]): Promise<void> {
    const sockets = ports.map((port) => this.#lab.port(port).socket);
    const setup = { group, board: this.board.buffer, sockets, seed: this.#seed };
    const thread = new LoadThread(name, setup, this.#onFault);
    this.#threads.push({ group, thread });
    await thread.ready;
  }

  /** Ends a group's threads; returns their own counts. */
  async stop(group: Group): Promise<Record<string, number>> {
    this.#boards[group].stop();
    const threads = this.#threads.filter((load) => load.group === group);
    const counts = await Promise.all(threads.map(({ thread }) => thread.ended));
    return Object.assign({}, ...counts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const group of GROUPS) await this.stop(group);
    for (const { thread } of this.#threads) thread.close();
  }
}
