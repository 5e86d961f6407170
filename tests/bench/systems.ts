/**
 * The systems under test of the closed loop: each joins two vhost-user ports, with one poll thread.
 *
 * | System | What it does with a frame |
 * | --- | --- |
 * | labswitch | learns, looks up, one copy from guest to guest |
 * | OVS-DPDK | NORMAL action of a bridge in the userspace datapath, two copies |
 * | testpmd io | nothing but two copies: a ceiling for two-copy designs, not a switch |
 *
 * Fairness is decided here and nowhere else: each system, with all its threads, has
 * {@linkcode SWITCH_CORE}; the generator, with all its threads, has {@linkcode GENERATOR_CORE}.
 *
 * @module
 */

import type { Role } from "../../config/topology.ts";
import { findProgram } from "../support/console_process.ts";
import type { DpdkMemory } from "../support/hugepages.ts";
import { Labswitch } from "../support/labswitch.ts";
import { missingForOvs, Ovs } from "../support/ovs.ts";
import { Testpmd } from "../support/testpmd.ts";
import type { PollMode } from "../../src/poll/poll_loop.ts";
import type { WorkerStatistics } from "../../src/control/worker_pool.ts";

/** Core of the system under test, all its threads. */
export const SWITCH_CORE = 0;

/** Core of the generator, all its threads. */
export const GENERATOR_CORE = 1;

/** What a system is started with. */
export interface SystemSetting {
  /** Folder for sockets and other files; the caller owns and removes it. */
  readonly folder: string;
  /** vhost-user sockets of the two ports. */
  readonly sockets: readonly [string, string];
  /** Queue pairs of each port. */
  readonly queues: number;
  /** Pages for systems that use DPDK. */
  readonly memory: DpdkMemory;
}

/** A system that is running. Disposing stops it. */
export interface RunningSystem extends AsyncDisposable {
  /** Waits until both ports forward; called when the generator is connected. */
  awaitLinks(): Promise<void>;
  /**
   * Stops the system, which may already have been stopped.
   *
   * @returns One element per poll Worker, empty where the system does not tell.
   */
  stop(): Promise<WorkerStatistics[]>;
}

/** One way to join two vhost-user ports. */
export interface System {
  /** Short name, as given to `--only`. */
  readonly name:
    | "labswitch"
    | "ovs"
    | "ovs-tso"
    | "io"
    | "two-bridges"
    | "joined"
    | "to-ovs"
    | "to-io";
  /** Name in tables. */
  readonly title: string;
  /** Whether the generator has to listen on the sockets, because the system connects. */
  readonly generatorListens: boolean;
  /** Says what is missing to run it here; `undefined` if nothing is. */
  missing(): string | undefined;
  /** Starts it; its sockets listen, or it tries to connect, when the promise resolves. */
  start(setting: SystemSetting): Promise<RunningSystem>;
}

/** labswitch, started by its command with a topology of two ports on which it listens. */
export const labswitch: System = labswitchAs("server");

/** The same with ports that connect to the generator. */
export const labswitchClient: System = labswitchAs("client");

/**
 * labswitch as it is wanted.
 *
 * @param role Who listens: the switch or the generator.
 * @param poll What the poll Worker does when it is idle.
 */
export function labswitchAs(role: Role, poll: PollMode = "adaptive"): System {
  return {
    name: "labswitch",
    title: "labswitch",
    generatorListens: role === "client",
    missing: () => undefined,
    async start({ folder, sockets, queues }) {
      const topology = topologyOf(sockets, queues, role, poll);
      const lab = await Labswitch.start({ folder, topology, core: SWITCH_CORE });
      return {
        awaitLinks: async () => {
          for (const { name } of lab.topology.ports) await lab.awaitLine(new RegExp(`${name}  up`));
        },
        stop: () => lab.stop(),
        [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
      };
    },
  };
}

/** Open vSwitch with DPDK, one bridge that learns. */
export const ovsDpdk: System = ovsAs("ovs", "OVS-DPDK", false);

/** The same with segmentation offload switched on, which needs a restart of Open vSwitch. */
export const ovsDpdkTso: System = ovsAs("ovs-tso", "OVS-DPDK with TSO", true);

function ovsAs(name: "ovs" | "ovs-tso", title: string, hasTso: boolean): System {
  return {
    ...{ name, title, generatorListens: true, missing: missingForOvs },
    async start({ folder, sockets, memory }) {
      const ovs = await Ovs.start({ folder, sockets, memory, core: SWITCH_CORE, hasTso });
      return {
        awaitLinks: () => ovs.awaitLinks(),
        ...stoppedByDisposal(ovs),
      };
    },
  };
}

/** testpmd's forwarder between two vhost ports: moves frames without looking at them. */
export const testpmdIo: System = {
  name: "io",
  title: "testpmd io",
  generatorListens: false,
  missing: () => findProgram("dpdk-testpmd") === undefined ? "dpdk-testpmd" : undefined,
  async start({ sockets, queues, memory }) {
    const forwarder = await Testpmd.startForwarder({ sockets, queues, memory, core: SWITCH_CORE });
    await forwarder.command("start");
    return {
      awaitLinks: () => forwarder.awaitLinks(sockets.length),
      ...stoppedByDisposal(forwarder),
    };
  },
};

/** All systems, in the order in which a round runs them. */
export const SYSTEMS: readonly System[] = [labswitch, ovsDpdk, testpmdIo];

/** A topology file; JSON strings are YAML strings. */
function topologyOf(
  sockets: readonly string[],
  queues: number,
  role: Role,
  poll: PollMode,
): string {
  const ports = sockets.map((socket, index) =>
    `  port${index}: { type: vhost-user, socket: ${JSON.stringify(socket)}, ` +
    `queues: ${queues}, role: ${role} }\n`
  );
  return `version: 1\nthreads: { poll: ${poll} }\nports:\n${ports.join("")}`;
}

function stoppedByDisposal(resource: AsyncDisposable): Omit<RunningSystem, "awaitLinks"> {
  let disposed: Promise<void> | undefined;
  const dispose = () => disposed ??= Promise.resolve(resource[Symbol.asyncDispose]());
  return { stop: () => dispose().then(() => []), [Symbol.asyncDispose]: dispose };
}
