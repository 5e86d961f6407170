/**
 * The back-ends that are compared, each a process of its own that listens on a port for the probe.
 *
 * @module
 */
import { join } from "node:path";
import { findProgram } from "../support/console_process.ts";
import type { DpdkMemory } from "../support/hugepages.ts";
import { Labswitch } from "../support/labswitch.ts";
import { missingForOvs, Ovs, OVS_MEMORY_MIB } from "../support/ovs.ts";
import { Testpmd, TESTPMD_MEMORY_MIB } from "../support/testpmd.ts";

/** What a back-end is started with. */
export interface BackendSetting {
  /** Folder for sockets and other files; the caller owns and removes it. */
  readonly folder: string;
  /** Pages for a back-end that uses DPDK. */
  readonly memory: DpdkMemory;
}

/** A back-end that runs. Disposing ends it. */
export interface RunningBackend extends AsyncDisposable {
  /** Where the probe connects. */
  readonly socket: string;
  /** Where somebody may connect who sends frames to the probe; null when it sends them itself. */
  readonly peer: string | null;
}

/** A back-end to probe. */
export interface Backend {
  /** Short name, as given to `--only`. */
  readonly name: string;
  /** Name in tables. */
  readonly title: string;
  /** How much of DPDK's memory it takes, in MiB. */
  readonly dpdkMemoryMib: number;
  /** Says what is missing to run it here; `undefined` if nothing is. */
  missing(): string | undefined;
  /** Starts it; its sockets listen when the promise resolves. */
  start(setting: BackendSetting): Promise<RunningBackend>;
}

/** Core of poll threads that never sleep. */
const POLL_CORE = 0;
/** Names of the ports of a switch, which are also those of their sockets. */
const PORTS = ["probe", "peer"] as const;

function socketsIn(folder: string): [string, string] {
  const [probe, peer] = PORTS;
  return [join(folder, probe), join(folder, peer)];
}

/** labswitch, as its command runs it. */
export const labswitch: Backend = {
  name: "labswitch",
  title: "labswitch",
  dpdkMemoryMib: 0,
  missing: () => undefined,
  start: async ({ folder }) => {
    const ports = PORTS.map((port) =>
      `  ${port}: { type: vhost-user, socket: ${port}, queues: 2 }`
    );
    const topology = ["version: 1", "ports:", ...ports, ""].join("\n");
    const lab = await Labswitch.start({ folder, topology });
    const [socket, peer] = socketsIn(folder);
    return { socket, peer, [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose]() };
  },
};

/** Open vSwitch with DPDK, on ports of the type that listens. */
export const ovsDpdk: Backend = {
  name: "ovs",
  title: "OVS-DPDK",
  dpdkMemoryMib: OVS_MEMORY_MIB,
  missing: missingForOvs,
  start: async ({ folder, memory }) => {
    const sockets = socketsIn(folder);
    const options = { folder, sockets, memory, core: POLL_CORE, isConfined: false };
    const ovs = await Ovs.start({ ...options, listener: "ovs" });
    const [socket, peer] = sockets;
    return { socket, peer, [Symbol.asyncDispose]: () => ovs[Symbol.asyncDispose]() };
  },
};

/** The vhost driver of DPDK, behind which testpmd sends every frame back. */
export const dpdkVhost: Backend = {
  name: "dpdk",
  title: "DPDK vhost",
  dpdkMemoryMib: TESTPMD_MEMORY_MIB,
  missing: missingForDpdkVhost,
  start: async ({ folder, memory }) => {
    const [socket] = socketsIn(folder);
    const echo = await Testpmd.startEcho({ socket, queues: 2, memory, core: POLL_CORE });
    try {
      await echo.command("start");
      return { socket, peer: null, [Symbol.asyncDispose]: () => echo[Symbol.asyncDispose]() };
    } catch (error) {
      await echo[Symbol.asyncDispose]();
      throw error;
    }
  },
};

/** Says what is missing to run {@linkcode dpdkVhost}; `undefined` if nothing is. */
export function missingForDpdkVhost(): string | undefined {
  return ["dpdk-testpmd", "taskset", "stdbuf"].find((name) => findProgram(name) === undefined);
}

/** All back-ends, in the order of the table. */
export const BACKENDS: readonly Backend[] = [labswitch, ovsDpdk, dpdkVhost];
