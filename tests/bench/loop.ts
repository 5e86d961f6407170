/**
 * One measurement of the closed loop: frames that travel for ever between two driver ports, through
 * the system under test.
 *
 * ```
 *   generator (core 1)                 system under test (core 0)
 *   port 0, driver  <== vhost-user ==>  port 0  <-+
 *                                                 |  switched
 *   port 1, driver  <== vhost-user ==>  port 1  <-+
 * ```
 *
 * The generator sends back each frame that it receives, with the addresses swapped. The number of
 * frames in the loop is fixed (what a ring holds, for each direction), so the rate is that of the
 * whole circle: of the system, of the generator, and of the cache lines that move between both.
 * A frame that is lost never comes back; a ring that gets stuck shows as a rate of zero.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { DpdkMemory } from "../support/hugepages.ts";
import { type PortStats, Testpmd, type VirtioUserRing } from "../support/testpmd.ts";
import type { WorkerStatistics } from "../../src/control/worker_pool.ts";
import { GENERATOR_CORE, type System } from "./systems.ts";

/** Entries of each ring, unless the ring's options say otherwise. */
const QUEUE_SIZE = 256;

/** Frames of one of testpmd's bursts. Source: testpmd's default of `--burst`. */
const BURST_SIZE = 32;

/** Length of one sub-interval: a ring that stands still for this long is reported as stuck. */
const SAMPLE_MS = 1_000;

/** How long the loop runs before it is measured. */
const WARM_UP_MS = 1_000;

/** What is measured. */
export interface LoopOptions {
  /** The system under test. */
  readonly system: System;
  /** Bytes of each buffer of a frame; their sum is the frame's size without FCS. */
  readonly segmentSizes: readonly number[];
  /** How long, in whole seconds. */
  readonly seconds: number;
  /** Pages of the generator and of systems that use DPDK. */
  readonly memory: DpdkMemory;
  /** Queue pairs of each port; 1 unless given. */
  readonly queues?: number;
  /** Choices of the ring; 256 entries and DPDK's defaults unless given. */
  readonly ring?: VirtioUserRing;
  /** Bytes of the generator's buffers, see {@linkcode GeneratorOptions.bufferSizeBytes}. */
  readonly bufferSizeBytes?: number;
  /** Ends the measurement early; everything started is stopped. */
  readonly signal?: AbortSignal;
}

/** The generator's counters of all ports at one moment. */
export interface LoopSample {
  /** Monotonic time, in milliseconds. */
  readonly atMs: number;
  /** One element per port. */
  readonly ports: readonly PortStats[];
}

/** What was measured over the whole interval. */
export interface LoopRates {
  /** Length of the interval, in seconds. */
  readonly seconds: number;
  /** Million frames per second that the generator received, both ports together. */
  readonly mpps: number;
  /** The same for each sub-interval. */
  readonly sampleMpps: readonly number[];
  /** Whether some port received nothing during some sub-interval. */
  readonly stuck: boolean;
  /** Frames that left the loop during the interval; off by the few that are on their way. */
  readonly lostFrames: number;
  /** Frames the generator received and refused during the interval. */
  readonly refusedFrames: number;
  /** Mean size of a received frame, in bytes. */
  readonly meanFrameSizeBytes: number;
}

/** What was measured, with what the system tells about itself. */
export interface LoopResult extends LoopRates {
  /** One element per poll Worker over its whole life; empty where the system does not tell. */
  readonly workers: readonly WorkerStatistics[];
}

/**
 * Runs the closed loop once: starts the system and the generator, warms up, measures, stops both.
 *
 * @param options What is measured.
 * @returns Rates and statistics.
 * @throws {Error} If a program fails, or `options.signal` is aborted. Nothing keeps running.
 */
export async function measureLoop(options: LoopOptions): Promise<LoopResult> {
  const { system, memory, queues = 1 } = options;
  const folder = await Deno.makeTempDir({ prefix: "labswitch-loop-" });
  try {
    const sockets = [join(folder, "port0.sock"), join(folder, "port1.sock")] as const;
    await using running = await system.start({ folder, sockets, queues, memory });
    const rates = await (async () => {
      await using generator = await Testpmd.startGenerator({
        ...{ sockets, queues, memory, segmentSizes: options.segmentSizes },
        ...(options.bufferSizeBytes && { bufferSizeBytes: options.bufferSizeBytes }),
        ring: { queueSize: QUEUE_SIZE, ...options.ring },
        listening: system.generatorListens,
        core: GENERATOR_CORE,
      });
      await running.awaitLinks();
      return ratesOf(await runGenerator(generator, options));
    })();
    return { ...rates, workers: await running.stop() };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Computes rates from what was sampled.
 *
 * @param samples At least two, in the order of time, each with the same ports.
 * @returns The rates between the first and the last.
 * @throws {RangeError} If there are fewer than two samples.
 */
export function ratesOf(samples: readonly LoopSample[]): LoopRates {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || samples.length < 2) {
    throw new RangeError(`Cannot compute rates: ${samples.length} samples, want two or more`);
  }
  const pairs = samples.slice(1).map((sample, index) => [samples[index]!, sample] as const);
  const received = difference(first, last, "rxFrames");
  const outstanding = difference(first, last, "txFrames") - received;
  return {
    seconds: (last.atMs - first.atMs) / 1e3,
    mpps: mppsBetween(first, last),
    sampleMpps: pairs.map(([from, to]) => mppsBetween(from, to)),
    stuck: pairs.some(([from, to]) =>
      to.ports.some((port, index) => port.rxFrames === from.ports[index]!.rxFrames)
    ),
    lostFrames: Math.max(0, outstanding),
    refusedFrames: difference(first, last, "rxErrors"),
    meanFrameSizeBytes: received === 0 ? 0 : difference(first, last, "rxBytes") / received,
  };
}

/** Fills the loop, warms up and samples; resolves after the last sample. */
async function runGenerator(generator: Testpmd, options: LoopOptions): Promise<LoopSample[]> {
  const timing = options.signal === undefined ? {} : { signal: options.signal };
  const bursts = Math.ceil((options.ring?.queueSize ?? QUEUE_SIZE) / BURST_SIZE);
  await generator.command(`start tx_first ${bursts}`);
  await delay(WARM_UP_MS, undefined, timing);
  const samples = [await sample(generator)];
  for (let taken = 1; taken * SAMPLE_MS <= options.seconds * 1e3; taken++) {
    const dueMs = samples[0]!.atMs + taken * SAMPLE_MS;
    await delay(Math.max(0, dueMs - performance.now()), undefined, timing);
    samples.push(await sample(generator));
  }
  return samples;
}

async function sample(generator: Testpmd): Promise<LoopSample> {
  const ports = await generator.portStats();
  return { atMs: performance.now(), ports };
}

function mppsBetween(from: LoopSample, to: LoopSample): number {
  return difference(from, to, "rxFrames") / (to.atMs - from.atMs) / 1e3;
}

/** How much a counter grew, all ports together. */
function difference(from: LoopSample, to: LoopSample, name: keyof PortStats): number {
  const total = (sample: LoopSample) => sample.ports.reduce((sum, port) => sum + port[name], 0);
  return total(to) - total(from);
}
