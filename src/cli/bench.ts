/**
 * `labswitch bench`: sends frames through a switch as fast as they come through, or at a rate, and
 * says what became of them.
 *
 * @module
 */
import { guestPorts } from "../../config/topology.ts";
import type { BenchOrder, BenchReport } from "../bench/order.ts";
import type { RunPlan } from "../bench/run.ts";
import { BenchFailure, runBench } from "../bench/thread.ts";
import type { BenchOptions } from "./bench_options.ts";
import {
  closedLoopTable,
  isClean,
  mediansOf,
  openLoopTable,
  type SizeResult,
} from "./bench_report.ts";
import { EXIT_FAILURE, EXIT_OK } from "./exit_codes.ts";
import type { Io } from "./io.ts";
import { withOwnSwitch } from "./own_switch.ts";
import { versionText } from "./version.ts";

const TOPOLOGY = `version: 1
name: bench
threads: { workers: 1 }
ports:
  a: { type: vhost-user, socket: a.sock }
  b: { type: vhost-user, socket: b.sock }
`;
/** Entries of the rings, unless the window wants more; testpmd's default. */
const CLOSED_LOOP_RING = 256;
/** With a rate, the rings hold what comes while the generator's thread does not run. */
const OPEN_LOOP_RING = 1024;
/** Moves to the start of the line and clears it (ECMA-48, EL). */
const CLEAR_LINE = "\r\x1b[K";

/** Two sockets. */
type Sockets = readonly [string, string];

/**
 * Measures.
 *
 * @param options What is measured, and how it is shown.
 * @param io Where lines go.
 * @returns The exit code: 0, or 1 when it could not be done, was stopped, or a closed loop lost,
 * reordered, duplicated or corrupted a frame.
 */
export async function bench(options: BenchOptions, io: Io): Promise<number> {
  const [first, second] = options.socket;
  try {
    if (first !== undefined && second !== undefined) {
      return await measure(options, [first, second], io);
    }
    return await withOwnSwitch("bench", TOPOLOGY, ({ topology, failure }) => {
      const [a, b] = guestPorts(topology).map(({ socket }) => socket);
      return Promise.race([measure(options, [a!, b!], io), failure]);
    });
  } catch (error) {
    if (!(error instanceof BenchFailure)) throw error;
    io.err(`error: ${error.message}\n`);
    return EXIT_FAILURE;
  }
}

async function measure(options: BenchOptions, sockets: Sockets, io: Io): Promise<number> {
  const order = orderOf(options, sockets);
  const progress = new Progress(order.runs, io);
  const results: SizeResult[] = [];
  if (!options.json) io.out(`${heading(options)}\n\n`);
  const stop = () => void Atomics.store(new Int32Array(order.stop), 0, 1);
  Deno.addSignalListener("SIGINT", stop);
  try {
    await runBench(order, (report) => {
      if (report.kind === "progress") progress.show(report);
      else if (report.kind === "result") {
        keep(results, order.runs[report.run]!.frameBytes, report);
      }
    });
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
    progress.clear();
  }
  const done = results.reduce((sum, { rounds }) => sum + rounds.length, 0);
  const isComplete = done === order.runs.length;
  io.out(
    options.json ? jsonText(options, order, results, isComplete) : tableText(options, results),
  );
  if (!isComplete) io.err(`error: stopped after ${done} of ${order.runs.length} runs\n`);
  return isComplete && (options.rate !== null || results.every(isClean)) ? EXIT_OK : EXIT_FAILURE;
}

function orderOf(options: BenchOptions, sockets: Sockets): BenchOrder {
  const { sizes, flows, window, seconds, rounds, rate, packed } = options;
  const round = sizes.map((frameBytes): RunPlan => (
    { frameBytes, flows, window, seconds, ratePps: rate }
  ));
  const least = rate === null ? CLOSED_LOOP_RING : OPEN_LOOP_RING;
  return {
    sockets,
    ring: { size: Math.max(least, 2 ** Math.ceil(Math.log2(window))), isPacked: packed },
    runs: Array.from({ length: rounds }, () => round).flat(),
    stop: new SharedArrayBuffer(4),
  };
}

function keep(
  results: SizeResult[],
  frameBytes: number,
  { result }: BenchReport & { kind: "result" },
): void {
  const at = results.findIndex((size) => size.frameBytes === frameBytes);
  if (at < 0) results.push({ frameBytes, rounds: [result] });
  else results[at] = { frameBytes, rounds: [...results[at]!.rounds, result] };
}

function heading({ socket, rate, window, flows, seconds, rounds, packed }: BenchOptions): string {
  const target = socket.length === 0 ? "a switch of its own" : socket.join(" and ");
  const mode = rate === null
    ? `closed loop, ${window} frames on the way each way`
    : `open loop, ${rate} frames per second both ways together`;
  const parts = [
    `${versionText()} bench: ${target}`,
    mode,
    `${packed ? "packed" : "split"} rings`,
    ...flows === 1 ? [] : [`${flows} flows each way`],
    `${rounds} × ${seconds} s`,
  ];
  return parts.join(" · ");
}

function tableText({ rate }: BenchOptions, results: readonly SizeResult[]): string {
  if (results.length === 0) return "";
  return rate === null ? closedLoopTable(results) : openLoopTable(results);
}

function jsonText(
  options: BenchOptions,
  { ring }: BenchOrder,
  results: readonly SizeResult[],
  isComplete: boolean,
): string {
  const { socket, rate, window, flows, seconds } = options;
  const report = {
    versions: { labswitch: versionText(), ...Deno.version, kernel: Deno.osRelease() },
    target: socket.length === 0 ? "own switch" : socket,
    mode: rate === null ? "closed loop" : "open loop",
    ring,
    flows,
    seconds,
    ...rate === null ? { window } : { ratePps: rate },
    isComplete,
    isClean: results.every(isClean),
    sizes: results.map(({ frameBytes, rounds }) => (
      { frameBytes, median: mediansOf(rounds), rounds }
    )),
  };
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** One line on the terminal that says what goes on; nothing elsewhere. */
class Progress {
  readonly #runs: readonly RunPlan[];
  readonly #io: Io;
  #isShown = false;

  constructor(runs: readonly RunPlan[], io: Io) {
    this.#runs = runs;
    this.#io = io;
  }

  show({ run, mpps }: BenchReport & { kind: "progress" }): void {
    if (!this.#io.isTerminal) return;
    const { frameBytes } = this.#runs[run]!;
    const text = `run ${run + 1}/${this.#runs.length}  ${frameBytes} B  ${mpps.toFixed(2)} Mpps`;
    this.#io.err(`${CLEAR_LINE}${text}`);
    this.#isShown = true;
  }

  clear(): void {
    if (this.#isShown) this.#io.err(CLEAR_LINE);
  }
}
