/**
 * `labswitch run`: a switch in the foreground until SIGINT or SIGTERM.
 *
 * @module
 */
import { OsError } from "../../ffi/errno.ts";
import { formatInterface } from "../../config/addresses.ts";
import type { PortConfig, Topology } from "../../config/topology.ts";
import { visible } from "../../config/visible.ts";
import type { PortEvent } from "../control/events.ts";
import { WorkerRefused } from "../control/poll_thread.ts";
import { SocketPathError } from "../control/socket_path.ts";
import { type PortReport, Switch } from "../control/switch.ts";
import { formatIpv4 } from "../ethernet/ipv4.ts";
import { columns } from "./columns.ts";
import { exitOnCrash } from "./crash.ts";
import { eventLine, workerLine } from "./event_lines.ts";
import { EXIT_CRASH, EXIT_FAILURE, EXIT_OK } from "./exit_codes.ts";
import type { LiveIo } from "./io.ts";
import { LineLimiter } from "./line_limiter.ts";
import { portTable } from "./port_table.ts";
import { timeStamp } from "./time_stamp.ts";
import { versionText } from "./version.ts";

/** A port that nobody connects to for this long gets a hint how to. */
const HINT_AFTER_MS = 10_000;
/** Where to write the Workers' statistics at the end, as JSON. */
const STATISTICS_FILE = "LABSWITCH_STATS_FILE";

/**
 * Runs a switch until it is told to stop.
 *
 * @param topology What to build.
 * @param io Where lines go.
 * @returns The exit code: 0 after a signal, 1 when it cannot start, 70 when a poll Worker fails.
 */
export async function run(topology: Topology, io: LiveIo): Promise<number> {
  const started = performance.now();
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<Error>((resolve) => fail = resolve);
  const lab = new Switch(topology, {
    onPortEvent: portLines(io),
    onWorkerEvent: (event) => io.out(`${timeStamp(io)} ${workerLine(event)}\n`),
    onFailure: (error) => fail(error),
  });
  using _guard = exitOnCrash(io);
  const stop = untilSignal();
  try {
    try {
      await lab.open();
    } catch (error) {
      const isUsers = [SocketPathError, OsError, WorkerRefused]
        .some((kind) => error instanceof kind);
      if (!isUsers) throw error;
      io.err(`error: ${(error as Error).message}\n`);
      return EXIT_FAILURE;
    }
    io.out(screen(topology));
    io.out(`ready in ${(performance.now() - started).toFixed(0)} ms\n`);
    const hint = setTimeout(() => io.out(hintText(topology, lab.report(), io)), HINT_AFTER_MS);
    const outcome = await Promise.race([stop.signal, failed]);
    clearTimeout(hint);
    io.out(`\n${portTable(lab.report())}`);
    await writeStatistics(lab);
    await lab.close();
    if (!(outcome instanceof Error)) return EXIT_OK;
    io.err(`error: ${outcome.message}\n`);
    return EXIT_CRASH;
  } finally {
    stop.close();
  }
}

// Writes one line for each event, unless its port has written too many.
function portLines(io: LiveIo): (event: PortEvent) => void {
  const limiter = new LineLimiter();
  return (event) => {
    const leftOut = limiter.take(event.port, performance.now());
    if (leftOut === null) return;
    if (leftOut > 0) io.out(`${timeStamp(io)} ${event.port}  … ${leftOut} lines left out\n`);
    io.out(`${timeStamp(io)} ${eventLine(event)}\n`);
  };
}

function screen(topology: Topology): string {
  const { workers, poll, pin } = topology.threads;
  const rows = topology.ports.map(portRow);
  const hasOthers = topology.ports.some(({ type }) => type === "host" || type === "patch");
  return [
    `${versionText()} · ${workers} poll Worker${workers === 1 ? "" : "s"}, ${poll}` +
    `${pin.length === 0 ? "" : `, on processor ${pin.join(", ")}`} · ` +
    `topology ${visible(topology.fileName)}`,
    "",
    ...columns([[
      "PORT",
      "TYPE",
      "ROLE",
      "QUEUES",
      "BRIDGE",
      hasOthers ? "LEADS TO" : "SOCKET",
    ], ...rows]),
    "",
    "Ctrl-C to stop",
    "",
  ].join("\n");
}

function portRow(port: PortConfig): string[] {
  const { name, type, bridge } = port;
  if (port.type === "patch") return [name, type, "-", "1", bridge, port.peer];
  if (port.type !== "host") return [name, type, port.role, `${port.queues}`, bridge, port.socket];
  const { ipv4, ipv6, dhcp } = port;
  const addresses = [ipv4, ipv6].flatMap((own) => own === null ? [] : [formatInterface(own)]);
  const range = dhcp === null ? [] : [`dhcp ${formatIpv4(dhcp.first)}-${formatIpv4(dhcp.last)}`];
  return [name, type, "-", "1", bridge, [...addresses, ...range].join(" ")];
}

function hintText(topology: Topology, ports: readonly PortReport[], io: LiveIo): string {
  const waiting = ports.find(({ state }, i) =>
    state === "waiting" && topology.ports[i]!.type === "vhost-user"
  );
  if (waiting === undefined) return "";
  return `${timeStamp(io)} ${waiting.name}  is waiting for a guest; its QEMU arguments: ` +
    `labswitch qemu-args ${waiting.name} -f ${topology.fileName}\n`;
}

async function writeStatistics(lab: Switch): Promise<void> {
  const path = Deno.env.get(STATISTICS_FILE);
  if (path === undefined) return;
  await Deno.writeTextFile(path, JSON.stringify({ workers: lab.workerStatistics() }));
}

function untilSignal(): { signal: Promise<null>; close: () => void } {
  let resolve: (value: null) => void = () => {};
  const signal = new Promise<null>((done) => resolve = done);
  const handler = () => resolve(null);
  const names = ["SIGINT", "SIGTERM"] as const;
  for (const name of names) Deno.addSignalListener(name, handler);
  return {
    signal,
    close: () => {
      for (const name of names) Deno.removeSignalListener(name, handler);
    },
  };
}
