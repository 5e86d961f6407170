/**
 * A private Open vSwitch with DPDK: own database, sockets and logs in a folder of the caller, one
 * poll core, one bridge that learns addresses (the NORMAL action).
 *
 * Nothing of a system-wide Open vSwitch is read or touched.
 *
 * @module
 */

import { basename, join } from "node:path";
import { ConsoleProcess, findProgram, runToEnd } from "./console_process.ts";
import type { DpdkMemory } from "./hugepages.ts";
import { memoryArguments, runtimeEnvironment } from "./testpmd.ts";

/** Where Debian keeps the variant that is linked with DPDK, and its name elsewhere. */
const DAEMONS = ["/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk", "ovs-vswitchd"];

/** The database schema that comes with the package. */
const SCHEMA_FILE = "/usr/share/openvswitch/vswitch.ovsschema";

/** Memory taken at the start, in MiB; buffer pools come on top, see {@linkcode OVS_MEMORY_MIB}. */
const START_MEMORY_MIB = 64;

/** Most memory Open vSwitch will take: its default buffer pool for MTU 1500 has about 790 MB. */
export const OVS_MEMORY_MIB = 1_024;

/**
 * Memory for the same pool in normal pages, in MiB: a buffer of 3 KiB does not straddle two pages
 * and so takes 4 KiB.
 */
const NORMAL_PAGES_MEMORY_MIB = 1_536;

/** How long one change of the configuration may take, the daemons' start included. */
const CONFIGURE_TIMEOUT_SECONDS = 30;

/** How much of the daemon's log an error message quotes, in characters. */
const QUOTED_LOG_LENGTH = 2_000;

/** Name of the bridge. Its internal port is a real interface of the machine while the bridge lives. */
const BRIDGE = "lsbench0";

/** How an Open vSwitch is started. */
export interface OvsOptions {
  /** Folder for its database, control sockets and logs. The caller owns and removes it. */
  readonly folder: string;
  /** vhost-user sockets, one port each. */
  readonly sockets: readonly string[];
  /**
   * Who listens on them: the peers, unless told otherwise, or Open vSwitch. Its listening ports are
   * deprecated but work; their sockets lie in `folder`, with names of at most 15 characters.
   */
  readonly listener?: "peers" | "ovs";
  /** Pages to use. */
  readonly memory: DpdkMemory;
  /** Core of the poll thread. */
  readonly core: number;
  /** Whether every other thread has the same core, which it has unless told otherwise. */
  readonly isConfined?: boolean;
  /** Whether it offers segmentation to its ports (`userspace-tso-enable`), which it does not do by default. */
  readonly hasTso?: boolean;
}

/**
 * Says what is missing to run Open vSwitch with DPDK.
 *
 * @returns The first missing program or file, or `undefined` if all is there.
 */
export function missingForOvs(): string | undefined {
  const programs = ["ovsdb-tool", "ovsdb-server", "ovs-vsctl"];
  const missing = programs.find((program) => findProgram(program) === undefined);
  if (missing !== undefined) return missing;
  if (findDaemon() === undefined) return DAEMONS[0];
  return findProgram(SCHEMA_FILE) === undefined ? SCHEMA_FILE : undefined;
}

/** A running Open vSwitch. Disposing ends both of its daemons. */
export class Ovs implements AsyncDisposable {
  readonly #options: OvsOptions;
  readonly #daemons = new AsyncDisposableStack();
  #daemon: ConsoleProcess | undefined;

  private constructor(options: OvsOptions) {
    this.#options = options;
  }

  /**
   * Starts the daemons, makes the bridge and adds the ports.
   *
   * @param options How it is started.
   * @returns The switch, trying to connect to its ports' sockets; the caller disposes it.
   * @throws {Error} If a daemon refuses to start or DPDK cannot be initialised.
   */
  static async start(options: OvsOptions): Promise<Ovs> {
    const ovs = new Ovs(options);
    try {
      await ovs.#startDatabase();
      await ovs.#configureDpdk();
      ovs.#startDaemon();
      await ovs.#addBridge();
      return ovs;
    } catch (error) {
      await ovs[Symbol.asyncDispose]();
      throw new Error(`Cannot start Open vSwitch: ${ovs.#log()}`, { cause: error });
    }
  }

  /** The process of the switch, to be watched from outside. */
  get process(): ConsoleProcess {
    return this.#daemon!;
  }

  /**
   * Waits until every port is connected and its rings are in use.
   *
   * @throws {Error} If a port does not come up in time.
   */
  async awaitLinks(): Promise<void> {
    for (const port of this.#ports()) {
      await this.#configure("wait-until", "Interface", port, "link_state=up");
    }
  }

  /** Ends the daemons, the switch before its database. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemons.disposeAsync();
  }

  async #startDatabase(): Promise<void> {
    const file = this.#path("conf.db");
    await runToEnd(program("ovsdb-tool"), ["create", file, SCHEMA_FILE]);
    this.#daemons.use(
      new ConsoleProcess(program("ovsdb-server"), [
        file,
        `--remote=punix:${this.#path("db.sock")}`,
        `--unixctl=${this.#path("ovsdb-server.ctl")}`,
      ], this.#processOptions()),
    );
  }

  async #configureDpdk(): Promise<void> {
    const { core, memory, hasTso } = this.#options;
    // Huge pages are taken as needed; normal pages all at the start.
    const sizeMib = memory.kind === "huge-pages" ? START_MEMORY_MIB : NORMAL_PAGES_MEMORY_MIB;
    const extra = ["--no-pci", "--no-telemetry", ...memoryArguments(memory), "-m", String(sizeMib)];
    await this.#configure(
      "--no-wait",
      ...["--", "init", "--", "set", "Open_vSwitch", "."],
      "other_config:dpdk-init=true",
      `other_config:userspace-tso-enable=${hasTso === true}`,
      `other_config:pmd-cpu-mask=0x${(1 << core).toString(16)}`,
      `other_config:dpdk-extra="${extra.join(" ")}"`,
    );
  }

  #startDaemon(): void {
    this.#daemon = new ConsoleProcess(findDaemon() ?? DAEMONS[0]!, [
      `unix:${this.#path("db.sock")}`,
      `--unixctl=${this.#path("ovs-vswitchd.ctl")}`,
    ], this.#processOptions());
    this.#daemons.use(this.#daemon);
  }

  async #addBridge(): Promise<void> {
    await this.#configure(
      ...["add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev"],
    );
    for (const [index, port] of this.#ports().entries()) {
      await this.#configure(
        ...["add-port", BRIDGE, port, "--", "set", "Interface", port],
        ...(this.#isListener ? ["type=dpdkvhostuser"] : [
          "type=dpdkvhostuserclient",
          `options:vhost-server-path=${this.#options.sockets[index]}`,
        ]),
      );
    }
  }

  get #isListener(): boolean {
    return this.#options.listener === "ovs";
  }

  /** Runs ovs-vsctl, which returns when the daemon has applied the change. */
  async #configure(...args: string[]): Promise<void> {
    await runToEnd(program("ovs-vsctl"), [
      `--db=unix:${this.#path("db.sock")}`,
      "--retry",
      `--timeout=${CONFIGURE_TIMEOUT_SECONDS}`,
      ...args,
    ]);
  }

  /** The end of the daemon's log: ovs-vsctl itself only reports that it waited in vain. */
  #log(): string {
    return this.#daemon?.output.slice(-QUOTED_LOG_LENGTH) ?? "its database did not start";
  }

  // A listening port's socket is named as the port.
  #ports(): string[] {
    return this.#options.sockets.map((path, index) =>
      this.#isListener ? basename(path) : `port${index}`
    );
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }

  #processOptions() {
    const { core, folder, isConfined = true } = this.#options;
    const names = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"];
    const folders = Object.fromEntries(names.map((name) => [name, folder]));
    return { ...(isConfined && { core }), env: { ...folders, ...runtimeEnvironment(folder) } };
  }
}

function findDaemon(): string | undefined {
  return DAEMONS.map(findProgram).find((path) => path !== undefined);
}

function program(name: string): string {
  return findProgram(name) ?? name;
}
