/**
 * DPDK's testpmd in its two parts of the closed loop: the generator (two `net_virtio_user` ports,
 * which play guests) and the forwarder (two `net_vhost` ports, which play the simplest possible
 * switch).
 *
 * testpmd is driven through its prompt. Its main thread sleeps there; one other thread forwards
 * and polls at 100 %.
 *
 * @module
 */

import { dirname } from "node:path";
import { ConsoleProcess } from "./console_process.ts";
import type { DpdkMemory } from "./hugepages.ts";

/** Memory of one testpmd: room for {@linkcode MBUF_COUNT} buffers, rings and DPDK's own tables. */
export const TESTPMD_MEMORY_MIB = 256;

/** Buffers of one testpmd: several times what 2 ports with 2 queues of 1024 can hold. */
const MBUF_COUNT = 32_768;

/** How long testpmd may take until its prompt; it waits there for the switch to connect. */
const START_TIMEOUT_MS = 30_000;

/** How long one command may take. */
const COMMAND_TIMEOUT_MS = 10_000;

/** How long testpmd may take to close its ports; closing talks to the switch. */
const QUIT_TIMEOUT_MS = 5_000;

const PROMPT = "testpmd> ";
/** What happens to a port, such as "link state change". */
const EVENT = /\nPort \d+: [\w ]+ event\n/g;

/** DPDK's `RTE_ETH_TX_OFFLOAD_MULTI_SEGS`: frames may be chains of buffers. Source: rte_ethdev.h. */
const TX_OFFLOAD_MULTI_SEGS = 1 << 15;

/** How the driver side of a ring behaves. What is left out keeps DPDK's default. */
export interface VirtioUserRing {
  /** Entries of each ring. DPDK 22.11 takes up to 1024. */
  readonly queueSize?: number;
  /** Packed instead of split rings (VIRTIO_F_RING_PACKED). */
  readonly packed?: boolean;
  /** Frames may span several receive buffers (VIRTIO_NET_F_MRG_RXBUF). */
  readonly mergeableBuffers?: boolean;
  /** Buffers are used in the order they were made available (VIRTIO_F_IN_ORDER). */
  readonly inOrder?: boolean;
  /** The driver's vector code path, where the other choices allow it. */
  readonly vectorized?: boolean;
}

/** How a generator is started. */
export interface GeneratorOptions {
  /** vhost-user socket of each of the two ports; DPDK's own files go beside the first. */
  readonly sockets: readonly [string, string];
  /** Whether the generator listens on the sockets (the switch connects) or connects itself. */
  readonly listening: boolean;
  /** Bytes of each buffer of a frame; their sum is the frame's size without FCS. */
  readonly segmentSizes: readonly number[];
  /** Queue pairs of each port. */
  readonly queues: number;
  /** Choices of the ring. */
  readonly ring?: VirtioUserRing;
  /**
   * What it does with frames: `macswap`, unless given, sends each one back that it receives; `flowgen`
   * throws away what it receives and sends new ones without end, so that it survives any loss.
   */
  readonly mode?: "macswap" | "flowgen";
  /**
   * Bytes of one buffer including DPDK's headroom of 128. Frames above this travel as chains in both
   * directions; without it testpmd's default takes any frame of the default MTU in one buffer.
   */
  readonly bufferSizeBytes?: number;
  /** Pages to use. */
  readonly memory: DpdkMemory;
  /** Core of all its threads. */
  readonly core: number;
}

/** How a forwarder is started. */
export interface ForwarderOptions {
  /** As for the generator; the forwarder listens. */
  readonly sockets: readonly [string, string];
  /** Queue pairs of each port. */
  readonly queues: number;
  /** Pages to use. */
  readonly memory: DpdkMemory;
  /** Core of all its threads. */
  readonly core: number;
}

/** How an echo is started. */
export interface EchoOptions {
  /** vhost-user socket on which it listens. */
  readonly socket: string;
  /** Queue pairs. */
  readonly queues: number;
  /** Pages to use. */
  readonly memory: DpdkMemory;
  /** Core of all its threads. */
  readonly core: number;
}

/** Counters of one port as testpmd sees them since its start. */
export interface PortStats {
  /** testpmd's port number. */
  readonly port: number;
  /** Frames received. */
  readonly rxFrames: number;
  /** Bytes received. */
  readonly rxBytes: number;
  /** Frames received and refused: errors, no ring entry, no buffer. */
  readonly rxErrors: number;
  /** Frames transmitted. */
  readonly txFrames: number;
  /** Bytes transmitted. */
  readonly txBytes: number;
}

/**
 * Finds what was printed before the next prompt. Another thread of testpmd prints events, in the middle
 * of the prompt as well, which the first one writes character by character; they are left out.
 *
 * @param output What testpmd has printed since its last prompt.
 * @returns The answer; undefined while there is no prompt.
 */
export function answerIn(output: string): string | undefined {
  const text = output.replaceAll(EVENT, "");
  const end = text.indexOf(PROMPT);
  return end < 0 ? undefined : text.slice(0, end);
}

/**
 * Reads the answer to `show port stats all`.
 *
 * @param text The answer; anything around the counters is skipped.
 * @returns One element per port, in the order printed.
 * @throws {SyntaxError} If there is no port, or a port's block lacks a counter.
 */
export function parsePortStats(text: string): PortStats[] {
  const [, ...blocks] = text.split(/NIC statistics for port /);
  if (blocks.length === 0) {
    throw new SyntaxError(`Cannot read port statistics: no port in ${JSON.stringify(text)}`);
  }
  return blocks.map((block) => {
    const counter = (name: string): number => {
      const digits = new RegExp(`${name}:\\s+(\\d+)`).exec(block)?.[1];
      if (digits === undefined) {
        throw new SyntaxError(
          `Cannot read port statistics: no ${name} in ${JSON.stringify(block)}`,
        );
      }
      return Number(digits);
    };
    return {
      port: Number.parseInt(block, 10),
      rxFrames: counter("RX-packets"),
      rxBytes: counter("RX-bytes"),
      rxErrors: counter("RX-missed") + counter("RX-errors") + counter("RX-nombuf"),
      txFrames: counter("TX-packets"),
      txBytes: counter("TX-bytes"),
    };
  });
}

/**
 * Reads the answer to `show port xstats all`.
 *
 * @param text The answer.
 * @returns Frames of each queue of each port, by names like `port 0 rx 1`.
 * @throws {SyntaxError} If there is no queue.
 */
export function parseQueueFrames(text: string): ReadonlyMap<string, number> {
  const frames = new Map<string, number>();
  const [, ...blocks] = text.split(/NIC extended statistics for port /);
  for (const block of blocks) {
    for (const [, side, queue, count] of block.matchAll(/^([rt]x)_q(\d+)_good_packets: (\d+)/gm)) {
      frames.set(`port ${Number.parseInt(block, 10)} ${side} ${queue}`, Number(count));
    }
  }
  if (frames.size > 0) return frames;
  throw new SyntaxError(`Cannot read queue statistics: no queue in ${JSON.stringify(text)}`);
}

/**
 * The generator's command line.
 *
 * Unless the mode says otherwise, each port sends what it received back with source and destination
 * swapped, so each frame travels for ever between the two ports and each address stays where the
 * switch has learned it.
 *
 * @param options How it is started.
 * @param filePrefix DPDK's name for this process; unique on the machine.
 * @returns The arguments of `dpdk-testpmd`.
 */
export function generatorArguments(options: GeneratorOptions, filePrefix: string): string[] {
  const { sockets, listening, queues, ring, segmentSizes, bufferSizeBytes } = options;
  const mode = options.mode ?? "macswap";
  const macs = sockets.map((_, port) => `02:00:00:00:00:0${port + 1}`);
  const vdevs = sockets.map((path, port) =>
    [
      `--vdev=net_virtio_user${port}`,
      `path=${path}`,
      `mac=${macs[port]}`,
      `server=${Number(listening)}`,
      `queues=${queues}`,
      ...ringArguments(ring ?? {}),
    ].join(",")
  );
  return [
    ...environmentArguments(options, filePrefix),
    ...vdevs,
    "--",
    ...forwardingArguments(mode, "loop", queues),
    ...macs.map((_, port) => `--eth-peer=${port},${macs[1 - port]}`),
    `--txpkts=${segmentSizes.join(",")}`,
    ...(bufferSizeBytes === undefined ? [] : [
      `--mbuf-size=${bufferSizeBytes}`,
      "--enable-scatter",
    ]),
    ...(bufferSizeBytes === undefined && segmentSizes.length === 1
      ? []
      : [`--tx-offloads=0x${TX_OFFLOAD_MULTI_SEGS.toString(16)}`]),
  ];
}

/**
 * The forwarder's command line.
 *
 * @param options How it is started.
 * @param filePrefix DPDK's name for this process; unique on the machine.
 * @returns The arguments of `dpdk-testpmd`.
 */
export function forwarderArguments(options: ForwarderOptions, filePrefix: string): string[] {
  const { sockets, queues } = options;
  return [
    ...environmentArguments(options, filePrefix),
    ...sockets.map((path, port) => `--vdev=net_vhost${port},iface=${path},queues=${queues}`),
    "--",
    ...forwardingArguments("io", "paired", queues),
  ];
}

/**
 * The command line of an echo: one `net_vhost` port that sends every frame back as it came.
 *
 * @param options How it is started.
 * @param filePrefix DPDK's name for this process; unique on the machine.
 * @returns The arguments of `dpdk-testpmd`.
 */
export function echoArguments(options: EchoOptions, filePrefix: string): string[] {
  return [
    ...environmentArguments(options, filePrefix),
    `--vdev=net_vhost0,iface=${options.socket},queues=${options.queues}`,
    "--",
    ...forwardingArguments("io", "loop", options.queues),
  ];
}

/**
 * DPDK's memory options.
 *
 * @param memory Pages to use.
 * @returns Options of DPDK's environment layer, without a size.
 */
export function memoryArguments(memory: DpdkMemory): string[] {
  // One file for all memory, because a front-end hands over at most 8 regions. Normal pages are one
  // file anyway; --legacy-mem is implied there, and naming it keeps Open vSwitch from adding
  // --in-memory, which excludes it.
  return memory.kind === "huge-pages"
    ? ["--in-memory", "--single-file-segments"]
    : ["--no-huge", "--legacy-mem"];
}

/**
 * Makes a DPDK program keep its runtime files out of the system's folder, where it never removes
 * them.
 *
 * @param folder Where they shall go; the caller removes it.
 * @returns Environment variables.
 */
export function runtimeEnvironment(folder: string): Record<string, string> {
  return { RUNTIME_DIRECTORY: folder };
}

/** A testpmd at its prompt. Disposing quits it. */
export class Testpmd implements AsyncDisposable {
  static #started = 0;
  readonly #console: ConsoleProcess;

  private constructor(console: ConsoleProcess) {
    this.#console = console;
  }

  /**
   * Starts a generator and waits for its prompt, that is until both ports are connected.
   *
   * @param options How it is started.
   * @returns The generator, not yet forwarding; the caller disposes it.
   * @throws {Error} If testpmd refuses to start or finds no switch in time.
   */
  static startGenerator(options: GeneratorOptions): Promise<Testpmd> {
    return Testpmd.#start(generatorArguments(options, Testpmd.#filePrefix()), options);
  }

  /**
   * Starts a forwarder and waits for its prompt; its sockets then listen.
   *
   * @param options How it is started.
   * @returns The forwarder, not yet forwarding; the caller disposes it.
   * @throws {Error} If testpmd refuses to start.
   */
  static startForwarder(options: ForwarderOptions): Promise<Testpmd> {
    return Testpmd.#start(forwarderArguments(options, Testpmd.#filePrefix()), options);
  }

  /**
   * Starts an echo and waits for its prompt; its socket then listens.
   *
   * @param options How it is started.
   * @returns The echo, not yet forwarding; the caller disposes it.
   * @throws {Error} If testpmd refuses to start.
   */
  static startEcho({ socket, ...options }: EchoOptions): Promise<Testpmd> {
    const args = echoArguments({ socket, ...options }, Testpmd.#filePrefix());
    return Testpmd.#start(args, { ...options, sockets: [socket] });
  }

  static async #start(
    args: readonly string[],
    { core, sockets }: { readonly core: number; readonly sockets: readonly [string, ...string[]] },
  ): Promise<Testpmd> {
    const env = runtimeEnvironment(dirname(sockets[0]));
    // Apart, since an error that arrives in the middle of the prompt would hide it.
    const console = new ConsoleProcess("dpdk-testpmd", args, {
      ...{ core, env, lineBuffered: true, errorsApart: true },
    });
    try {
      await console.awaitOutput("the prompt", answerIn, START_TIMEOUT_MS);
      return new Testpmd(console);
    } catch (error) {
      await console.stop();
      throw error;
    }
  }

  static #filePrefix(): string {
    return `labswitch-${Deno.pid}-${Testpmd.#started++}`;
  }

  /** Its process number. */
  get pid(): number {
    return this.#console.pid;
  }

  /**
   * Gives a command and waits for the next prompt.
   *
   * @param command One line.
   * @returns What testpmd printed between the command and the prompt.
   * @throws {Error} If testpmd ends or does not answer.
   */
  async command(command: string): Promise<string> {
    const start = this.#console.output.length;
    await this.#console.writeLine(command);
    return await this.#console.awaitOutput(
      `the answer to "${command}"`,
      (output) => answerIn(output.slice(start)),
      COMMAND_TIMEOUT_MS,
    );
  }

  /**
   * Waits until testpmd has reported the link of every port as up.
   *
   * @param ports How many ports there are.
   * @throws {Error} If it does not come up in time.
   */
  async awaitLinks(ports: number): Promise<void> {
    const numbers = Array.from({ length: ports }, (_, port) => port);
    const up = (output: string) =>
      numbers.every((port) => output.includes(`Port ${port}: link state change event`)) ||
      undefined;
    await this.#console.awaitOutput("the links", up, COMMAND_TIMEOUT_MS);
  }

  /**
   * Reads the counters of all ports.
   *
   * @returns One element per port.
   * @throws {Error} If testpmd ends or does not answer.
   */
  async portStats(): Promise<PortStats[]> {
    return parsePortStats(await this.command("show port stats all"));
  }

  /**
   * Reads how many frames each queue has received or sent.
   *
   * @returns As from {@linkcode parseQueueFrames}.
   * @throws {Error} If testpmd ends or does not answer.
   */
  async queueFrames(): Promise<ReadonlyMap<string, number>> {
    return parseQueueFrames(await this.command("show port xstats all"));
  }

  /** Stops forwarding, closes the ports and ends testpmd; kills it if that hangs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#console.writeLine("quit").catch(() => {}); // it may have died already
    await this.#console.awaitEnd(QUIT_TIMEOUT_MS);
  }
}

/** Options of DPDK's environment layer: two logical cores (prompt and forwarding) on one core. */
function environmentArguments(
  options: { readonly memory: DpdkMemory; readonly core: number },
  filePrefix: string,
): string[] {
  return [
    `--lcores=0@${options.core},1@${options.core}`,
    "--no-pci",
    "--no-telemetry",
    ...memoryArguments(options.memory),
    "-m",
    String(TESTPMD_MEMORY_MIB),
    `--file-prefix=${filePrefix}`,
  ];
}

function forwardingArguments(mode: string, topology: string, queues: number): string[] {
  return [
    "--interactive",
    `--forward-mode=${mode}`,
    `--port-topology=${topology}`,
    `--rxq=${queues}`,
    `--txq=${queues}`,
    `--total-num-mbufs=${MBUF_COUNT}`,
  ];
}

function ringArguments(ring: VirtioUserRing): string[] {
  const flag = (name: string, value: boolean | undefined) =>
    value === undefined ? [] : [`${name}=${Number(value)}`];
  return [
    ...(ring.queueSize === undefined ? [] : [`queue_size=${ring.queueSize}`]),
    ...flag("packed_vq", ring.packed),
    ...flag("mrg_rxbuf", ring.mergeableBuffers),
    ...flag("in_order", ring.inOrder),
    ...flag("vectorized", ring.vectorized),
  ];
}
