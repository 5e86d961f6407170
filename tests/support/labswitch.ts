/**
 * The switch as its users start it: by its command, in a process of its own.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseTopology } from "../../config/load.ts";
import { guestPorts, type Topology, type VhostUserConfig } from "../../config/topology.ts";
import { connectUnix } from "../../ffi/unix_socket.ts";
import type { WorkerStatistics } from "../../src/control/worker_pool.ts";
import { ConsoleProcess, type ConsoleProcessOptions } from "./console_process.ts";
import { eventually } from "./eventually.ts";
import { childrenOf } from "./processes.ts";

const PROGRAM = fileURLToPath(new URL("../../mod.ts", import.meta.url));
/** How long it may take until it prints `ready`. */
const READY_TIMEOUT_MS = 20_000;
/** How long an event may take to be printed. */
const EVENT_TIMEOUT_MS = 20_000;
/** The environment variable that makes it write its poll statistics when it stops. */
const STATISTICS_VARIABLE = "LABSWITCH_STATS_FILE";
/** Clock ticks of a second in /proc (USER_HZ, the same on every architecture of today). */
const TICKS_PER_SECOND = 100;

/** How it is started. */
export interface LabswitchOptions
  extends Pick<ConsoleProcessOptions, "core" | "keptOutput" | "onOutput"> {
  /** Folder for its files and sockets; the caller owns and removes it. */
  readonly folder: string;
  /** The topology file's text; relative sockets lie in `folder`. */
  readonly topology: string;
  /** The program that understands `run FILE`; the command itself unless given. */
  readonly program?: string;
  /** Whether it runs under a supervisor; then the process started here is that one. */
  readonly isSupervised?: boolean;
  /** A file, FIFO or device that gets its output; this process reads it unless there is one. */
  readonly outputTo?: string;
  /** A program with its arguments that starts it by replacing itself, such as `prlimit`. */
  readonly through?: readonly string[];
  /** Variables added to the inherited environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** What Deno lets it do; everything unless given. */
  readonly permissions?: readonly string[];
  /** Flags of V8, such as when garbage is collected; the usual ones unless given. */
  readonly v8Flags?: readonly string[];
}

/** A running switch. Disposing stops it. */
export class Labswitch implements AsyncDisposable {
  readonly #readTopology: () => Topology;
  #topology: Topology | null = null;
  readonly #console: ConsoleProcess;
  readonly #statisticsFile: string;

  private constructor(
    readTopology: () => Topology,
    console: ConsoleProcess,
    statisticsFile: string,
  ) {
    this.#readTopology = readTopology;
    this.#console = console;
    this.#statisticsFile = statisticsFile;
  }

  /**
   * Starts it and waits until its sockets listen.
   *
   * @throws {Error} When it does not become ready; the message holds what it printed.
   */
  static async start(options: LabswitchOptions): Promise<Labswitch> {
    const lab = Labswitch.spawn(options);
    try {
      await (options.outputTo === undefined ? lab.awaitReady() : lab.awaitSockets());
      return lab;
    } catch (error) {
      await lab.#console.stop();
      throw error;
    }
  }

  /** Starts it and does not wait; the caller stops it. */
  static spawn(options: LabswitchOptions): Labswitch {
    const {
      folder,
      topology,
      program: main = PROGRAM,
      isSupervised = false,
      outputTo,
      through = [],
      env,
      permissions = ["--allow-all"],
      v8Flags = [],
      ...more
    } = options;
    const file = join(folder, "topology.yaml");
    const statisticsFile = join(folder, "statistics.json");
    Deno.writeTextFileSync(file, topology);
    const [program, args] = redirected([
      ...through,
      ...[Deno.execPath(), "run", "--no-prompt", ...permissions],
      ...v8Flags.length === 0 ? [] : [`--v8-flags=${v8Flags.join(",")}`],
      ...[main, "run"],
      ...isSupervised ? ["--supervise"] : [],
      file,
    ], outputTo);
    const console = new ConsoleProcess(program, args, {
      env: { ...env, [STATISTICS_VARIABLE]: statisticsFile },
      ...more,
    });
    // What is wrong with a bad file is the program's to say.
    return new Labswitch(() => parseTopology(topology, file), console, statisticsFile);
  }

  /**
   * Runs a command that ends by itself.
   *
   * @param args Its arguments.
   * @returns Its exit code.
   */
  static async exitCode(args: readonly string[]): Promise<number> {
    await using console = new ConsoleProcess(Deno.execPath(), [
      ...["run", "--allow-all", PROGRAM, ...args],
    ]);
    return await console.awaitEnd(READY_TIMEOUT_MS);
  }

  /** What its topology file says. */
  get topology(): Topology {
    return this.#topology ??= this.#readTopology();
  }

  /** What it printed: everything, or the last of it. */
  get output(): string {
    return this.#console.output;
  }

  /** Its process, to be watched from outside. */
  get process(): ConsoleProcess {
    return this.#console;
  }

  /** Its process number; that of its supervisor when there is one. */
  get pid(): number {
    return this.#console.pid;
  }

  /** The process number of the switch that its supervisor has started last. */
  async supervisedPid(): Promise<number> {
    return await eventually("a supervised switch", () => childrenOf(this.pid)[0] ?? null);
  }

  /** A port of its topology. */
  port(name: string): VhostUserConfig {
    const port = guestPorts(this.topology).find((candidate) => candidate.name === name);
    if (port === undefined) throw new RangeError(`Cannot find guest port ${name} in the topology`);
    return port;
  }

  /** Waits until it is ready once more; what it printed before `from` characters does not count. */
  async awaitReady(from = 0): Promise<void> {
    const isReady = (output: string) => /^ready/m.test(output.slice(from));
    await this.#await("the line ready", isReady, READY_TIMEOUT_MS);
  }

  /** Waits for a line of its output; lines before `from` characters do not count. */
  async awaitLine(pattern: RegExp, from = 0): Promise<void> {
    const what = `a line like ${pattern}`;
    await this.#await(what, (output) => pattern.test(output.slice(from)), EVENT_TIMEOUT_MS);
  }

  /** Seconds of processor time that it has used, all threads together. */
  async processorSeconds(): Promise<number> {
    const text = await Deno.readTextFile(`/proc/${this.pid}/stat`);
    // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /**
   * Stops it; it may have been stopped before.
   *
   * @returns What its poll Workers did.
   * @throws {Error} When it does not exit with 0.
   */
  async stop(): Promise<WorkerStatistics[]> {
    const code = await this.#console.stop();
    if (code !== 0) {
      throw new Error(`Cannot stop labswitch: exit code ${code}, want 0:\n${this.output}`);
    }
    return JSON.parse(await Deno.readTextFile(this.#statisticsFile)).workers;
  }

  /**
   * Waits until it ends by itself.
   *
   * @param want The exit code that it must end with.
   * @throws {Error} When it ends with another one, or not at all.
   */
  async awaitEnd(want: number): Promise<void> {
    const code = await this.#console.awaitEnd();
    if (code === want) return;
    throw new Error(`labswitch ended with exit code ${code}, want ${want}:\n${this.output}`);
  }

  /** Ends it without any chance to clean up. */
  async kill(): Promise<void> {
    await this.#console.awaitEnd(0);
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#console.stop();
  }

  /** Waits until somebody listens on every socket; for when its output is not to be had. */
  async awaitSockets(): Promise<void> {
    // The last port listens last.
    const { socket } = guestPorts(this.topology).findLast(({ role }) => role === "server")!;
    await eventually(`a socket at ${socket}`, () => {
      try {
        connectUnix(socket).close();
        return true;
      } catch {
        return null;
      }
    }, READY_TIMEOUT_MS);
  }

  async #await(what: string, isThere: (output: string) => boolean, timeoutMs: number) {
    await this.#console.awaitOutput(what, (output) => isThere(output) || undefined, timeoutMs);
  }
}

// The shell replaces itself by the program, so the process keeps its number.
function redirected(
  command: readonly string[],
  outputTo: string | undefined,
): [program: string, args: string[]] {
  if (outputTo === undefined) return [command[0]!, command.slice(1)];
  return ["sh", ["-c", 'exec "$@" >"$0" 2>&1', outputTo, ...command]];
}
