/**
 * A switch in this process with its sockets in a temporary folder, and the question that every attack
 * ends with: do the other ports still work, does this one, and was everything given back?
 *
 * @module
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { parseTopology } from "../../config/load.ts";
import type { PortEvent, WorkerEvent } from "../../src/control/events.ts";
import { backendOffer } from "../../src/control/offer.ts";
import { type PortReport, Switch } from "../../src/control/switch.ts";
import { State } from "../../src/dataplane/state.ts";
import { ETHERNET, ETHERTYPE_EXPERIMENT } from "../../src/ethernet/frame.ts";
import type { Fd } from "../../ffi/fd.ts";
import { eventually } from "./eventually.ts";
import { openDescriptors } from "./leaks.ts";
import { RawClient } from "./raw_client.ts";
import { TestGuest } from "./test_guest.ts";
import { testWith } from "./test_with.ts";

const FRAME_BYTES = 200;

/** How an attack is set up. */
export interface AttackOptions extends TestLabOptions {
  /** Says what is missing for it, as for {@linkcode testWith}. */
  readonly missing?: () => string | undefined;
}

/** How a lab is set up. */
export interface TestLabOptions {
  /** Names of the ports. */
  readonly ports?: readonly string[];
  /** Lines of the topology besides those ports, each below its name; sockets are in the lab's folder. */
  readonly more?: { readonly ports?: readonly string[]; readonly bridges?: string };
  /** Queue pairs of each. */
  readonly queues?: number;
  /** Host ports: for each name the rest of its keys, as in `address: 10.0.0.1/24`. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** The value of `threads:`; one Worker that sleeps at once unless told otherwise. */
  readonly threads?: string;
  /** Virtio features that the back-ends do not offer; none unless given. */
  readonly withheld?: bigint;
  /** Told when a Worker dies too often; an error unless told otherwise. */
  readonly onFailure?: (error: Error) => void;
}

/** A running switch. */
export class TestLab implements AsyncDisposable {
  /** What happened, oldest first. */
  readonly events: PortEvent[] = [];
  /** Which Workers were replaced, as {@linkcode takeWorkerEvents} has not taken it yet. */
  readonly workerEvents: WorkerEvent[] = [];
  /** The switch's state memory. */
  readonly state: State = new State();
  readonly #folder: string;
  readonly #switch: Switch;

  private constructor(folder: string, options: TestLabOptions) {
    const { ports = ["a", "b", "c"], queues = 1, hosts = {}, more } = options;
    const { threads = "{ poll: event }" } = options;
    this.#folder = folder;
    const lines = [
      ...ports.map((name) =>
        `${name}: { type: vhost-user, socket: ${name}.sock, queues: ${queues} }`
      ),
      ...Object.entries(hosts).map(([name, keys]) => `${name}: { type: host, ${keys} }`),
      ...more?.ports ?? [],
    ];
    const text = [
      ...["version: 1", `bridges: ${more?.bridges ?? "{}"}`, "ports:"],
      ...lines.map((line) => `  ${line}`),
      `threads: ${threads}`,
    ].join("\n");
    const events = {
      onPortEvent: (event: PortEvent) => void this.events.push(event),
      onWorkerEvent: (event: WorkerEvent) => void this.workerEvents.push(event),
      onFailure: options.onFailure ?? raise,
    };
    const topology = parseTopology(text, join(folder, "lab.yaml"));
    this.#switch = new Switch(topology, events, this.state, (queuePairs) => {
      const offer = backendOffer(queuePairs);
      return { ...offer, features: offer.features & ~(options.withheld ?? 0n) };
    });
  }

  /** Starts a switch, with three ports unless told otherwise. */
  static async open(options: TestLabOptions = {}): Promise<TestLab> {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
    const lab = new TestLab(folder, options);
    try {
      await lab.#switch.open();
      return lab;
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  /** The socket of a port. */
  path(port: string): string {
    return join(this.#folder, `${port}.sock`);
  }

  /** What a port is doing. */
  report(port: string): PortReport {
    return this.#switch.report().find(({ name }) => name === port)!;
  }

  /** Connects to a port as a front-end without manners. */
  async connect(port: string): Promise<RawClient> {
    return await RawClient.connect(this.path(port));
  }

  /** Why the last front-end of a port was disconnected; null when it hung up. */
  async endReason(port: string): Promise<string | null> {
    const isEnd = (event: PortEvent) => event.kind === "disconnected" && event.port === port;
    const event = await eventually("a disconnection", () => this.events.findLast(isEnd) ?? null);
    return event.kind === "disconnected" ? event.reason : null;
  }

  /** Why the last request of any port was refused. */
  refusal(): string {
    const event = this.events.findLast(({ kind }) => kind === "request-refused");
    return event?.kind === "request-refused" ? event.reason : "nothing was refused";
  }

  /** Attaches a guest to each of two ports and sends a frame in either direction. */
  async exchange(first: string, second: string): Promise<void> {
    for (const port of [first, second]) await this.idle(port);
    await using one = await TestGuest.attach(this.path(first));
    await using two = await TestGuest.attach(this.path(second));
    for (const [from, to, number] of [[one, two, 1], [two, one, 2]] as const) {
      const frame = frameOf(number);
      from.send(frame);
      deepStrictEqual(await to.receive(), frame);
    }
  }

  /** Waits until a port has noticed that nobody is connected. */
  async idle(port: string): Promise<void> {
    const isIdle = () => this.report(port).state === "waiting" || null;
    await eventually(`port ${port} is free`, isIdle);
  }

  /** Takes the events of Workers so far; those that nobody takes are an error in the end. */
  takeWorkerEvents(): WorkerEvent[] {
    return this.workerEvents.splice(0);
  }

  /** Stops the switch and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#switch.close();
    await Deno.remove(this.#folder, { recursive: true });
    deepStrictEqual(this.workerEvents, []);
  }
}

/**
 * Declares a test that attacks port `a` of a switch with the ports `a`, `b` and `c`. Afterwards `b`
 * and `c` must work, `a` must work, and no descriptor may be left.
 *
 * @param name A sentence that starts with what is tested.
 * @param attack The attack; closes what it opens.
 * @param options How the switch is set up.
 */
export function testAttack(
  name: string,
  attack: (lab: TestLab) => Promise<void>,
  options: AttackOptions = {},
): void {
  testWith(options.missing ?? (() => undefined), name, async () => {
    await using lab = await TestLab.open(options);
    const before = openDescriptors();
    await attack(lab);
    await lab.exchange("b", "c");
    await lab.exchange("a", "b");
    for (const port of ["a", "b", "c"]) await lab.idle(port);
    // What was open before and is closed by now is an earlier test's, or a thread's that has started.
    deepStrictEqual([...openDescriptors().difference(before)], []);
  });
}

/**
 * Sends bytes to port `a` and expects to be disconnected.
 *
 * @returns Why the switch hung up.
 */
export async function provoke(
  lab: TestLab,
  data: Uint8Array,
  fds: readonly Fd[] = [],
): Promise<string> {
  using client = await lab.connect("a");
  await client.send(data, fds);
  await client.end();
  const reason = await lab.endReason("a");
  ok(reason !== null);
  await lab.idle("a");
  return reason;
}

function raise(error: Error): never {
  throw error;
}

// An address that nobody learned: the frame is flooded.
function frameOf(number: number): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES).fill(number);
  ETHERNET.write(new DataView(frame.buffer), 0, {
    destination: Uint8Array.of(2, 0, 0, 0, 1, number),
    source: Uint8Array.of(2, 0, 0, 0, 0, number),
    type: ETHERTYPE_EXPERIMENT,
  });
  return frame;
}
