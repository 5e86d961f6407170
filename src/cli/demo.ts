/**
 * `labswitch demo`: a switch with a host port, and two hosts that attach to it as vhost-user front-ends,
 * over real sockets with memory of their own. Needs neither root nor QEMU.
 *
 * @module
 */
import { guestPorts, type Topology } from "../../config/topology.ts";
import type { Switch } from "../control/switch.ts";
import { formatMac, MIN_FRAME_BYTES } from "../ethernet/frame.ts";
import type { LoopResult } from "../host/closed_loop.ts";
import type { CallOrder, HostOrder, HostReport } from "./demo_host.ts";
import { columns } from "./columns.ts";
import { EXIT_FAILURE, EXIT_OK } from "./exit_codes.ts";
import type { Io } from "./io.ts";
import { type OwnSwitch, withOwnSwitch } from "./own_switch.ts";
import { portTable } from "./port_table.ts";
import { versionText } from "./version.ts";

const TOPOLOGY = `version: 1
name: demo
ports:
  alice: { type: vhost-user, socket: alice.sock }
  bob: { type: vhost-user, socket: bob.sock }
  carol: { type: host, address: 10.0.0.3/24 }
`;
const ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3"] as const;
const FLOOD_SECONDS = 1;
const FLOOD_WINDOW = 64;
const PINGS = 20;
const WINDOW = 128;

/** The hosts stopped before they were told to, or said that they cannot go on. */
class HostFailure extends Error {
  override readonly name = "HostFailure";
}

/**
 * Runs the demo.
 *
 * @param seconds How long frames are sent.
 * @param io Where lines go.
 * @returns The exit code: 0 only if every step worked without loss.
 */
export async function demo(seconds: number, io: Io): Promise<number> {
  const works = await withOwnSwitch("demo", TOPOLOGY, (own) => runDemo(own, seconds, io));
  io.out(works ? "\nEverything worked.\n" : "\nThe demo failed.\n");
  return works ? EXIT_OK : EXIT_FAILURE;
}

async function runDemo(own: OwnSwitch, seconds: number, io: Io): Promise<boolean> {
  const { lab, topology, readyMs, failure } = own;
  io.out(`${versionText()} demo: a switch and two hosts that attach to it over vhost-user\n\n`);
  io.out(hostTable(topology));
  io.out(`\nready in ${readyMs.toFixed(0)} ms\n`);
  const stop = new SharedArrayBuffer(4);
  const hosts = guestPorts(topology).map((port, i) => {
    const call: CallOrder = {
      ip: ADDRESSES[1],
      flood: { ip: ADDRESSES[2], seconds: FLOOD_SECONDS, window: FLOOD_WINDOW },
      pings: PINGS,
      seconds,
      frameBytes: MIN_FRAME_BYTES,
      window: WINDOW,
    };
    const { socket, mac } = port;
    return new DemoHost(port.name, {
      ...{ socket, mac, ip: ADDRESSES[i]!, stop },
      call: i === 0 ? call : null,
    });
  });
  try {
    return await Promise.race([play(hosts, seconds, lab, io), failure]);
  } catch (error) {
    if (!(error instanceof HostFailure)) throw error;
    io.err(`error: ${error.message}\n`);
    return false;
  } finally {
    Atomics.store(new Int32Array(stop), 0, 1);
    for (const host of hosts) await host.close();
  }
}

async function play(
  hosts: readonly DemoHost[],
  seconds: number,
  lab: Switch,
  io: Io,
): Promise<boolean> {
  // Whoever answers is there first: a frame to a port without a guest is lost.
  for (const host of hosts.toReversed()) {
    host.start();
    await host.report("attached");
  }
  const [alice] = hosts;
  const { mac, ms } = await alice!.report("resolved");
  if (mac === null) {
    io.out(`arp     ${ADDRESSES[1]} did not answer\n`);
    return false;
  }
  io.out(`arp     ${ADDRESSES[1]} is at ${formatMac(mac)}, found in ${micros(ms)} µs\n`);
  const { roundTripsMs } = await alice!.report("pinged");
  io.out(pingLine(roundTripsMs));
  const { results } = await alice!.report("flooded");
  io.out(floodLine(results));
  io.out(`frames  ${MIN_FRAME_BYTES} bytes each, ${WINDOW} on the way, for ${seconds} s …\n`);
  const { result } = await alice!.report("looped");
  io.out(loopLine(result));
  io.out(`\n${portTable(lab.report())}`);
  const isAnswered = results?.every(({ sent, answered }) => sent > 0 && sent === answered) ?? false;
  return roundTripsMs.length === PINGS && isAnswered && result.sent > 0 &&
    result.sent === result.returned && result.disordered === 0;
}

function hostTable(topology: Topology): string {
  const rows = topology.ports.map((port, i) => {
    const where = "socket" in port ? port.socket : "in the switch";
    return [port.name, ADDRESSES[i]!, "mac" in port ? port.mac : "", where];
  });
  return `${columns([["HOST", "ADDRESS", "MAC", "SOCKET"], ...rows]).join("\n")}\n`;
}

function pingLine(roundTripsMs: readonly number[]): string {
  const sorted = roundTripsMs.toSorted((a, b) => a - b);
  const lost = `${PINGS} sent, ${PINGS - sorted.length} lost`;
  if (sorted.length === 0) return `ping    ${lost}\n`;
  const [least, median, most] = [0, sorted.length >> 1, sorted.length - 1]
    .map((i) => micros(sorted[i]!));
  return `ping    ${lost}, round trip ${least} µs at least, ${median} median, ${most} at most\n`;
}

function floodLine(results: (HostReport & { kind: "flooded" })["results"]): string {
  if (results === null) return `flood   ${ADDRESSES[2]} did not answer\n`;
  const [single, flood] = results;
  const lost = single.sent - single.answered + flood.sent - flood.answered;
  const at = (part: number) => {
    const { roundTripsMs } = single;
    return micros(roundTripsMs[Math.trunc(part * (roundTripsMs.length - 1))] ?? NaN);
  };
  const rate = (flood.answered / flood.seconds / 1000).toFixed(0);
  return `flood   ${ADDRESSES[2]}, a host port, answers ${rate} thousand pings per second; ` +
    `one at a time: round trip ${at(0.5)} µs (p50), ${at(0.99)} µs (p99); ${lost} lost\n`;
}

function loopLine({ sent, returned, disordered, seconds }: LoopResult): string {
  const millions = (2 * returned / seconds / 1e6).toFixed(2);
  const order = disordered === 0 ? "in order" : `${disordered} out of order`;
  return `        ${sent} sent, ${sent - returned} lost, ${order}; ` +
    `${millions} million frames per second through the switch\n`;
}

function micros(ms: number): string {
  return (ms * 1000).toFixed(0);
}

/** A host's Worker as the demo sees it. */
class DemoHost {
  readonly #name: string;
  readonly #order: HostOrder;
  readonly #thread: Worker;
  readonly #reports: HostReport[] = [];
  readonly #end = Promise.withResolvers<void>();
  #changed = Promise.withResolvers<void>();
  #isStarted = false;

  constructor(name: string, order: HostOrder) {
    this.#name = name;
    this.#order = order;
    this.#thread = new Worker(new URL("./demo_host.ts", import.meta.url), { type: "module" });
    this.#thread.onmessage = ({ data }: MessageEvent<HostReport>) => this.#add(data);
    this.#thread.onerror = (event) => {
      event.preventDefault();
      this.#add({ kind: "failed", reason: event.message });
    };
  }

  start(): void {
    this.#isStarted = true;
    this.#thread.postMessage(this.#order);
  }

  /** Waits for a report; those before it are dropped. */
  async report<K extends HostReport["kind"]>(kind: K): Promise<HostReport & { kind: K }> {
    for (;;) {
      const next = this.#reports.shift();
      if (next === undefined) await this.#changed.promise;
      else if (next.kind === kind) return next as HostReport & { kind: K };
      else if (next.kind === "failed") throw new HostFailure(`${this.#name}: ${next.reason}`);
      else if (next.kind === "ended") throw new HostFailure(`${this.#name}: ended early`);
    }
  }

  /** Waits until the host has hung up, and ends its thread. */
  async close(): Promise<void> {
    if (this.#isStarted) await this.#end.promise;
    this.#thread.terminate();
  }

  #add(report: HostReport): void {
    if (report.kind === "ended" || report.kind === "failed") this.#end.resolve();
    this.#reports.push(report);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
