/**
 * The command line.
 *
 * @module
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { jsonSchema } from "../../config/schema.ts";
import { suggest } from "../../config/suggest.ts";
import type { PortConfig, VhostUserConfig } from "../../config/topology.ts";
import { parseMebibytes } from "../../config/units.ts";
import { LibcUnavailable } from "../../ffi/libc.ts";
import { MAX_MEMORY_BYTES } from "../control/port_memory.ts";
import { bench } from "./bench.ts";
import * as benchOption from "./bench_options.ts";
import type { BenchOptions } from "./bench_options.ts";
import { crashText } from "./crash.ts";
import { demo } from "./demo.ts";
import {
  EXIT_CRASH,
  EXIT_FAILURE,
  EXIT_OK,
  EXIT_REFUSED,
  EXIT_TOPOLOGY,
  EXIT_USAGE,
} from "./exit_codes.ts";
import { type Io, type LiveIo, terminal } from "./io.ts";
import { ownCommand } from "./own_command.ts";
import { probeCommand, type ProbeCommandOptions } from "./probe.ts";
import { installedQemu, needsQuotes, OLDEST_QEMU, qemuArguments, shellLines } from "./qemu_args.ts";
import { run } from "./run.ts";
import { supervise, SupervisorGone, tieToSupervisor } from "./supervise.ts";
import { readTopology } from "./topology_file.ts";
import { versionText } from "./version.ts";

const DEFAULT_MEMORY = "256M";
const MEMORY_LIMIT_MIB = Number(MAX_MEMORY_BYTES >> 20n);
const DEFAULT_DEMO_SECONDS = 2;
const DEFAULT_PROBE_TIMEOUT_SECONDS = 3;
const DEFAULT_BENCH_SECONDS = 2;
const DEFAULT_ROUNDS = 3;
const SUPERVISE = "--supervise";
const EXIT_CODES = `
Exit codes: ${EXIT_OK} done, ${EXIT_FAILURE} failed, ${EXIT_USAGE} wrong arguments, \
${EXIT_TOPOLOGY} wrong topology file,
  ${EXIT_CRASH} a fault of labswitch`;

/**
 * Runs a command.
 *
 * @param args The arguments behind the program's name.
 * @param io Where it writes.
 * @returns The exit code: 0 done, 1 failed, 2 wrong arguments, 3 wrong topology file,
 * 70 a fault of ours.
 */
export async function main(args: readonly string[], io: Io = terminal): Promise<number> {
  let code = EXIT_OK;
  const program = commands(args, io, (result) => code = result);
  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    return failure(error, io);
  }
}

// Says why a command ended by an error; returns the exit code.
function failure(error: unknown, io: Pick<Io, "err">): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  if (error instanceof Deno.errors.NotCapable) {
    io.err(`error: ${error.message}; run with -A, or see "Permissions" in the README\n`);
    return EXIT_FAILURE;
  }
  if (error instanceof LibcUnavailable || error instanceof SupervisorGone) {
    io.err(`error: ${error.message}\n`);
    return EXIT_FAILURE;
  }
  io.err(crashText(error));
  return EXIT_CRASH;
}

function commands(args: readonly string[], io: Io, done: (code: number) => void): Command {
  const program = new Command("labswitch")
    .description("A virtual switch for lab networks: QEMU guests over vhost-user, no root needed.")
    .version(versionText(), "-V, --version", "print the version")
    .helpOption("-h, --help", "explain a command")
    .addHelpText("after", EXIT_CODES)
    .showHelpAfterError("Run with --help to see what is possible.")
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) })
    .exitOverride();

  program.command("run")
    .summary("run a switch")
    .description("Run the switch of a topology file in the foreground until Ctrl-C.")
    .argument("<topology>", "YAML file")
    .option(SUPERVISE, "run it in a process of its own, and start it again when it dies")
    .action(async (path: string, options: { supervise?: true }) => {
      const isSupervised = tieToSupervisor();
      const code = await stayLive(io, async (live) => {
        if (!isSupervised && options.supervise) {
          return supervise(ownCommand(args, SUPERVISE), live);
        }
        const topology = await readTopology(path, live);
        return typeof topology === "number" ? topology : run(topology, live);
      });
      done(isSupervised && code === EXIT_FAILURE ? EXIT_REFUSED : code);
    });

  program.command("validate")
    .summary("check a topology file")
    .description("Check a topology file: exit 0 when it is good, 3 with explanations when not.")
    .argument("<topology>", "YAML file")
    .action(async (path: string) => {
      const topology = await readTopology(path, io);
      if (typeof topology === "number") return done(topology);
      const { ports, bridges } = topology;
      io.out(`${path}: good: ${count(ports.length, "port")}, ${count(bridges.length, "bridge")}\n`);
    });

  program.command("qemu-args")
    .summary("print QEMU arguments for a port")
    .description("Print the arguments that connect a guest of the installed QEMU to a port.")
    .argument("<port>", "name of a port in the topology")
    .requiredOption("-f, --file <topology>", "YAML file")
    .addOption(
      new Option("-m, --memory <size>", "memory of the guest")
        .argParser(memorySize)
        .default(memorySize(DEFAULT_MEMORY), DEFAULT_MEMORY),
    )
    .addOption(
      new Option(
        "--accel <name>",
        "how the guest's processor is run; some QEMU need other arguments",
      )
        .choices(["kvm", "tcg"]).default("kvm"),
    )
    .action(async (name: string, options: { file: string; memory: number; accel: string }) => {
      const topology = await readTopology(options.file, io);
      if (typeof topology === "number") return done(topology);
      const port = guestPort(name, topology.ports);
      if (typeof port === "string") {
        io.err(`error: ${port}\n`);
        return done(EXIT_USAGE);
      }
      const version = await installedQemu();
      if (version === null) {
        io.err(`no QEMU found; arguments are for ${OLDEST_QEMU.major}.${OLDEST_QEMU.minor}\n`);
      }
      const isEmulated = options.accel === "tcg";
      const qemuArgs = qemuArguments(port, options.memory, version ?? OLDEST_QEMU, isEmulated);
      io.out(shellLines(qemuArgs, io.isTerminal));
      if (!io.isTerminal && qemuArgs.some(needsQuotes)) {
        io.err('a path has characters that need quotes; write eval "qemu-system-… $(…)"\n');
      }
    });

  program.command("schema")
    .summary("print the JSON Schema of topology files")
    .description("Print the JSON Schema (draft-07) of topology files, for editors.")
    .action(() => io.out(`${JSON.stringify(jsonSchema(), null, 2)}\n`));

  program.command("demo")
    .summary("show a switch with two built-in hosts")
    .description("Run a switch and two in-process hosts over real sockets: ARP, ping, full speed.")
    .option("-s, --seconds <n>", "how long frames are sent", seconds, DEFAULT_DEMO_SECONDS)
    .action(async (options: { seconds: number }) => done(await demo(options.seconds, io)));

  program.command("probe")
    .summary("ask a vhost-user back-end how it behaves")
    .description(
      "Connect to any vhost-user back-end for network devices, say what it offers, and check what " +
        "it does against the specification: exit 0 when nothing deviates, 1 otherwise. It does no " +
        "harm, but the back-end must have no other front-end meanwhile.",
    )
    .argument("<socket>", "where the back-end listens")
    .option("--listen", "listen there: the back-end connects to us")
    .option("--json", "print JSON instead of a table")
    .option(
      "--timeout <seconds>",
      "how long each answer may take",
      seconds,
      DEFAULT_PROBE_TIMEOUT_SECONDS,
    )
    .action(async (path: string, options: ProbeCommandOptions) => {
      done(await probeCommand(path, options, io));
    });

  addBench(program, io, done);

  return program;
}

function addBench(program: Command, io: Io, done: (code: number) => void): void {
  const { DEFAULT_SIZES, DEFAULT_WINDOW, ...parse } = benchOption;
  program.command("bench")
    .summary("measure a switch: rate, loss, order and latency of frames")
    .description(
      "Send frames both ways between two ports, of a switch of its own or of whatever back-end\n" +
        "listens on two sockets, and check each one that arrives.",
    )
    .argument("[sockets...]", "two vhost-user sockets, as with --socket")
    .option("--socket <path>", "socket of a port; give two, or none", parse.socket, [])
    .addOption(
      new Option("--sizes <bytes,...>", "frame sizes without check sequence")
        .argParser(parse.sizes).default(DEFAULT_SIZES, DEFAULT_SIZES.join(",")),
    )
    .option("--flows <n>", "pairs of addresses each way", parse.flows, 1)
    .addOption(
      new Option(
        "--rate <pps>",
        "frames per second both ways together, like 100k: measures latency; max: as many as come through",
      ).argParser(parse.rate).default(null, "max"),
    )
    .option("-s, --seconds <n>", "length of one measurement", seconds, DEFAULT_BENCH_SECONDS)
    .option("--rounds <n>", "how often everything is measured", parse.rounds, DEFAULT_ROUNDS)
    .option(
      "--window <n>",
      "frames on the way each way without a rate",
      parse.window,
      DEFAULT_WINDOW,
    )
    .option("--packed", "packed rings in place of split ones", false)
    .option("--json", "print one JSON object with everything", false)
    .action(async (sockets: string[], given: BenchOptions, command: Command) => {
      const options = { ...given, socket: [...sockets, ...given.socket] };
      const hasWindow = command.getOptionValueSource("window") === "cli";
      const wrong = parse.conflict(options, hasWindow);
      if (wrong === null) return done(await bench(options, io));
      io.err(`error: ${wrong}\n`);
      done(EXIT_USAGE);
    });
}

// Runs a command that never waits for whoever reads what it says, up to its last word.
async function stayLive(io: Io, command: (live: LiveIo) => Promise<number>): Promise<number> {
  const live = io.live();
  try {
    return await command(live);
  } catch (error) {
    return failure(error, live);
  } finally {
    await live.flush();
  }
}

// The port of a guest, or why there is none.
function guestPort(name: string, ports: readonly PortConfig[]): VhostUserConfig | string {
  const port = ports.find((candidate) => candidate.name === name);
  if (port?.type === "vhost-user") return port;
  if (port === undefined) return unknownPort(name, ports.map((known) => known.name));
  return `port "${name}" is of type ${port.type}: no guest can be connected to it`;
}

function unknownPort(name: string, known: readonly string[]): string {
  const meant = suggest(name, known);
  return `there is no port "${name}"; ` +
    (meant === null ? `the ports are ${known.join(", ")}` : `did you mean "${meant}"?`);
}

function memorySize(text: string): number {
  const size = parseMebibytes(text);
  if (size === null || size === 0) throw new InvalidArgumentError("Write a size like 256M or 1G.");
  if (size >= MEMORY_LIMIT_MIB) {
    throw new InvalidArgumentError("A port can map less than 16G; write less.");
  }
  return size;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError("Write a number up to 3600.");
  return value;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
