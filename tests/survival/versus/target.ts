/**
 * The back-ends that are attacked, each a process of its own with four listening ports.
 *
 * Nothing is pinned to a core but the poll thread of Open vSwitch, so that no thread of a target waits
 * for another one of its own.
 *
 * @module
 */
import { join } from "node:path";
import type { ConsoleProcess } from "../../support/console_process.ts";
import type { DpdkMemory } from "../../support/hugepages.ts";
import { Labswitch } from "../../support/labswitch.ts";
import { missingForOvs, Ovs } from "../../support/ovs.ts";

/** The ports' sockets. */
export interface Sockets {
  /** The port that is attacked. */
  readonly attacked: string;
  /** Two ports that exchange frames meanwhile. */
  readonly bystanders: readonly [string, string];
  /** A free port, where handshakes are timed. */
  readonly free: string;
}

/** A target that runs. Disposing ends it. */
export interface RunningTarget extends AsyncDisposable {
  /** Its process. */
  readonly process: ConsoleProcess;
}

/** What a target is started with. */
export interface TargetSetting {
  /** Folder for sockets and other files; the caller owns and removes it. */
  readonly folder: string;
  /** Pages for a target that uses DPDK. */
  readonly memory: DpdkMemory;
}

/** A back-end to attack. */
export interface Target {
  /** Short name, as given to `--target`. */
  readonly name: string;
  /** Name in tables. */
  readonly title: string;
  /** Says what is missing to run it here; `undefined` if nothing is. */
  missing(): string | undefined;
  /** Starts it; its sockets listen when the promise resolves. */
  start(setting: TargetSetting): Promise<RunningTarget>;
}

/** Names of the ports, which are also those of their sockets. */
const PORTS = ["a", "b", "c", "d"] as const;
/** Core of the poll thread of Open vSwitch. */
const POLL_CORE = 0;

/** Where the ports of a target with this folder listen. */
export function socketsIn(folder: string): Sockets {
  const [attacked, first, second, free] = PORTS.map((port) => join(folder, port));
  return { attacked: attacked!, bystanders: [first!, second!], free: free! };
}

/** labswitch, as its command runs it. */
const labswitch: Target = {
  name: "labswitch",
  title: "labswitch",
  missing: () => undefined,
  start: async ({ folder }) => {
    const ports = PORTS.map((port) => `  ${port}: { type: vhost-user, socket: ${port} }`);
    const topology = ["version: 1", "ports:", ...ports, ""].join("\n");
    return await Labswitch.start({ folder, topology });
  },
};

/** Open vSwitch with DPDK, on ports of the type that listens. */
const ovs: Target = {
  name: "ovs",
  title: "OVS-DPDK",
  missing: missingForOvs,
  start: async ({ folder, memory }) =>
    await Ovs.start({
      folder,
      sockets: PORTS.map((port) => join(folder, port)),
      listener: "ovs",
      memory,
      core: POLL_CORE,
      isConfined: false,
    }),
};

/** All targets, in the order of the table. */
export const TARGETS: readonly Target[] = [labswitch, ovs];
