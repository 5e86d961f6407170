/**
 * testpmd with two virtio-user ports that send to each other without end.
 *
 * It listens and the switch connects: DPDK's virtio-user driver waits for its back-end again when it
 * is a server. As a client (`server=0`, DPDK 22.11) it never connects a second time.
 *
 * @module
 */
import { join } from "node:path";
import { GENERATOR_CORE } from "../../bench/systems.ts";
import { findProgram } from "../../support/console_process.ts";
import { type DpdkMemory, reserveDpdkMemory } from "../../support/hugepages.ts";
import type { Labswitch } from "../../support/labswitch.ts";
import { Testpmd, TESTPMD_MEMORY_MIB } from "../../support/testpmd.ts";
import type { Load, LoadKind, Losses } from "./load.ts";

/** How the ports are made. */
export interface TestpmdLoadOptions {
  /** Packed instead of split rings. */
  readonly isPacked: boolean;
  /** Queue pairs of each port. */
  readonly queues: number;
}

const QUEUE_SIZE = 256;
const FRAME_BYTES = 64;
const PORTS = ["port0", "port1"];

/**
 * Makes a kind of load.
 *
 * @param options The ports.
 */
export function testpmdLoad({ isPacked, queues }: TestpmdLoadOptions): LoadKind {
  const ports = PORTS.map((name) =>
    `  ${name}: { type: vhost-user, socket: ${name}.sock, queues: ${queues}, role: client }\n`
  );
  return {
    name: `testpmd, ${isPacked ? "packed" : "split"} rings, ` +
      `${queues} queue pair${queues > 1 ? "s" : ""}`,
    topology: `version: 1\nports:\n${ports.join("")}`,
    // DPDK 22.11 crashes when its back-end dies in the middle of a reconnect (virtio_user_stop_device).
    bearsEarlyKills: false,
    missing: () =>
      ["dpdk-testpmd", "taskset", "stdbuf"].find((name) => findProgram(name) === undefined),
    start: (lab, folder) => TestpmdLoad.start({ isPacked, queues }, lab, folder),
  };
}

class TestpmdLoad implements Load {
  /** testpmd counts frames when it puts them into a ring; DPDK empties packed rings at a reconnect. */
  readonly slack = 2 * QUEUE_SIZE;
  readonly #generator: Testpmd;
  readonly #resources: AsyncDisposableStack;

  private constructor(generator: Testpmd, resources: AsyncDisposableStack) {
    this.#generator = generator;
    this.#resources = resources;
  }

  static async start(
    { isPacked, queues }: TestpmdLoadOptions,
    lab: Labswitch,
    folder: string,
  ): Promise<TestpmdLoad> {
    await using stack = new AsyncDisposableStack();
    const memory: DpdkMemory = stack.use(reserveDpdkMemory(TESTPMD_MEMORY_MIB));
    const [first, second] = PORTS.map((name) => join(folder, `${name}.sock`));
    const generator = stack.use(
      await Testpmd.startGenerator({
        sockets: [first!, second!],
        listening: true,
        segmentSizes: [FRAME_BYTES],
        queues,
        ring: { queueSize: QUEUE_SIZE, packed: isPacked },
        mode: "flowgen",
        memory,
        core: GENERATOR_CORE,
      }),
    );
    for (const name of PORTS) await lab.awaitLine(new RegExp(`${name}  up`));
    await generator.command("start");
    return new TestpmdLoad(generator, stack.move());
  }

  async received(): Promise<number> {
    const ports = await this.#generator.portStats();
    return ports.reduce((sum, { rxFrames }) => sum + rxFrames, 0);
  }

  queues(): Promise<ReadonlyMap<string, number>> {
    return this.#generator.queueFrames();
  }

  // A testpmd that has ended answers nothing, which is an error elsewhere.
  losses(): Promise<Losses> {
    return Promise.resolve({ guests: 0, connections: 0 });
  }

  async finish(): Promise<void> {
    await this.#generator.command("stop");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
