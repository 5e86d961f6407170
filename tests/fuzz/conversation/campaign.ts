/**
 * A switch in a process of its own under attack on several ports at once, and the question whether it
 * survived: is it alive, does it answer in time, did the bystanders notice, did it give everything
 * back, did it keep its log short.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Fd } from "../../../ffi/fd.ts";
import { POLLFD } from "../../../ffi/layouts.ts";
import { libc } from "../../../ffi/libc.ts";
import { eventually } from "../../support/eventually.ts";
import { Labswitch } from "../../support/labswitch.ts";
import {
  countDescriptors,
  countMappings,
  countMappingsBesideHeap,
  residentBytes,
} from "../../support/leaks.ts";
import { Attacker, type NumberedConversation } from "./attacker.ts";
import { Bystanders } from "./bystanders.ts";
import { MEMORY_NAME, OddDescriptors } from "./descriptors.ts";
import { Finding } from "./finding.ts";
import { LogWatch } from "./log_watch.ts";
import { QUEUE_PAIRS } from "./plan.ts";

/** Ports that are attacked side by side: enough to keep the switch's main thread busy. */
const ATTACKED_PORTS = 12;
/** One attacker of so many has its guest's memory in a file on tmpfs. */
const PORTS_PER_TMPFS = 4;
/** Characters of the switch's output that are kept. */
const KEPT_OUTPUT = 20_000;
/** Of these, what the report of a finding quotes. */
const QUOTED_OUTPUT = 2000;
/** Conversations before memory is measured first: code is compiled and pools are filled by then. */
const WARM_UP = 5000;
/**
 * What the switch may have grown by since then. The garbage of thousands of connections comes and
 * goes with the collector; a leak of one page per hundred conversations is 40 MiB in a million.
 */
const RESIDENT_TOLERANCE_BYTES = 64 * 2 ** 20;
/** The allocator, and V8 beside its heap, split and join their mappings as they like. */
const MAPPINGS_TOLERANCE = 64;
/** How long everything may take to be given back. */
const GIVE_BACK_LIMIT_MS = 5000;
/** The longest wait for a socket. */
const WAIT_MS = 1;
/** Between two turns of this thread's event loop, which reads what the switch prints. */
const MS_PER_TURN = 10;
/** Conversations that are reported with a finding, besides those in flight. */
const RECENT = 200;
/**
 * V8 counts guest memory as its own (ADR 1), and a fuzzed port has soon had the largest guest there is.
 * Under V8's usual limit the main thread would do little but collect garbage; this one is in MiB.
 */
const ROOMY_HEAP = { DENO_V8_FLAGS: "--max-old-space-size=262144" };
const TALKATIVE_SWITCH = fileURLToPath(new URL("talkative_switch.ts", import.meta.url));
// poll.h
const POLLIN = 1;

/** What a campaign found out besides that the switch survived. */
export interface CampaignReport {
  /** Conversations held. */
  readonly conversations: number;
  /** Of these, those whose rings gave chains back. */
  readonly running: number;
  /** Things done in them. */
  readonly steps: number;
  /** The longest time until a question was answered, in milliseconds. */
  readonly longestAnswerMs: number;
  /** Frames that the bystanders passed to and fro. */
  readonly passes: number;
  /** The longest that one of them took, in milliseconds. */
  readonly longestPassMs: number;
  /** Frames that the witness got. */
  readonly witnessed: number;
  /** Lines that the switch printed. */
  readonly lines: number;
  /** Different things that they say, numbers apart. */
  readonly kinds: number;
  /** Bytes that its memory has grown by since the warm-up. */
  readonly grownBytes: number;
}

/** A finding, and which conversations may have caused it. */
export class CampaignFailure extends Error {
  override readonly name = "CampaignFailure";
  /** Their numbers, ascending. */
  readonly suspects: readonly number[];

  /**
   * @param cause What was found.
   * @param suspects Conversations that may have caused it.
   * @param output The end of what the switch printed.
   */
  constructor(cause: Error, suspects: readonly number[], output: string) {
    super(`${cause.message}\nThe switch's output ends:\n${output}`, { cause });
    this.suspects = suspects;
  }
}

/** How a campaign is set up. */
export interface CampaignOptions {
  /** Ports that are attacked side by side. */
  readonly ports?: number;
  /** Whether the switch prints every kind of event; the usual command is used otherwise. */
  readonly isTalkative?: boolean;
}

/** What the switch holds. */
interface Holdings {
  readonly descriptors: number;
  /** Without V8's heap, which counts as resident memory only. */
  readonly mappings: number;
  readonly residentBytes: number;
}

/** A switch under attack. */
export class Campaign implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #lab: Labswitch;
  readonly #log: LogWatch;
  readonly #attackers: readonly Attacker[];
  readonly #bystanders: Bystanders;
  /** Descriptors of the switch while nobody attacks it. */
  #descriptors: number;
  #warm: Holdings | null = null;

  private constructor(parts: {
    readonly stack: AsyncDisposableStack;
    readonly lab: Labswitch;
    readonly log: LogWatch;
    readonly attackers: readonly Attacker[];
    readonly bystanders: Bystanders;
  }) {
    this.#stack = parts.stack;
    this.#lab = parts.lab;
    this.#log = parts.log;
    this.#attackers = parts.attackers;
    this.#bystanders = parts.bystanders;
    this.#descriptors = countDescriptors(parts.lab.pid);
  }

  /** Starts a switch and attaches the bystanders. */
  static async start(options: CampaignOptions = {}): Promise<Campaign> {
    const { ports = ATTACKED_PORTS, isTalkative = false } = options;
    await using stack = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "labswitch-fuzz-" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const names = Array.from({ length: ports }, (_, i) => `attacked${i}`);
    const log = new LogWatch([...names, "quiet0", "quiet1", "witness"]);
    const lab = stack.use(
      await Labswitch.start({
        ...{ folder, topology: topology(names), keptOutput: KEPT_OUTPUT, env: ROOMY_HEAP },
        onOutput: (text) => log.feed(text),
        ...(isTalkative && { program: TALKATIVE_SWITCH }),
      }),
    );
    const path = (port: string): string => lab.port(port).socket;
    const bystanders = stack.use(
      await Bystanders.attach({
        quiet: [path("quiet0"), path("quiet1")],
        witness: path("witness"),
      }),
    );
    const odd = stack.use(new OddDescriptors(folder));
    const attackers = names.map((name, i) => {
      const memory = i % PORTS_PER_TMPFS === PORTS_PER_TMPFS - 1 ? "tmpfs" : "memfd";
      return stack.use(new Attacker({ path: path(name), odd, memory }));
    });
    return new Campaign({ stack: stack.move(), lab, log, attackers, bystanders });
  }

  /**
   * Holds conversations, then looks whether everything was given back.
   *
   * @param conversations What is said.
   * @throws {CampaignFailure} When the switch did not survive.
   */
  async run(conversations: Iterable<NumberedConversation>): Promise<void> {
    const started: number[] = [];
    try {
      await this.#attack(conversations[Symbol.iterator](), started);
      await this.#awaitRest();
    } catch (error) {
      // What was said long ago has been answered for.
      throw this.#failure(error, started.slice(-RECENT));
    }
    try {
      await this.#checkHoldings();
    } catch (error) {
      throw this.#failure(error, started);
    }
  }

  /** What happened so far. */
  report(): CampaignReport {
    const all = this.#attackers.map(({ statistics }) => statistics);
    const sum = (field: "conversations" | "running" | "steps") =>
      all.reduce((total, statistics) => total + statistics[field], 0);
    const resident = residentBytes(this.#lab.pid);
    return {
      conversations: sum("conversations"),
      running: sum("running"),
      steps: sum("steps"),
      longestAnswerMs: Math.max(...all.map(({ longestAnswerMs }) => longestAnswerMs)),
      passes: this.#bystanders.passes,
      longestPassMs: this.#bystanders.longestMs,
      witnessed: this.#bystanders.witnessed,
      lines: this.#log.lines,
      kinds: this.#log.kinds,
      grownBytes: this.#warm === null ? 0 : resident - this.#warm.residentBytes,
    };
  }

  /** The process number of the switch. */
  get pid(): number {
    return this.#lab.pid;
  }

  /** Stops everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#log.close();
    await this.#stack.disposeAsync();
  }

  async #attack(source: Iterator<NumberedConversation>, started: number[]): Promise<void> {
    const next = (): NumberedConversation | null => {
      const { value, done } = source.next();
      if (done) return null;
      started.push(value.number);
      return value;
    };
    for (const attacker of this.#attackers) attacker.begin(next);
    let busy = this.#attackers;
    let turnAt = performance.now();
    while (busy.length > 0) {
      busy = busy.filter((attacker) => attacker.advance());
      this.#bystanders.advance();
      this.#log.check();
      waitForAny(busy.map(({ awaited }) => awaited));
      if (performance.now() - turnAt < MS_PER_TURN) continue;
      await rest();
      turnAt = performance.now();
    }
  }

  async #awaitRest(): Promise<void> {
    while (!this.#bystanders.isResting) {
      this.#bystanders.advance(true);
      await rest();
    }
    this.#log.check();
  }

  async #checkHoldings(): Promise<void> {
    const { pid } = this.#lab;
    const look = () => {
      const descriptors = countDescriptors(pid);
      // Something of the runtime's may have been open for a moment when they were counted first.
      this.#descriptors = Math.min(this.#descriptors, descriptors);
      return descriptors === this.#descriptors && countMappings(pid, MEMORY_NAME) === 0 || null;
    };
    try {
      await eventually("everything is given back", look, GIVE_BACK_LIMIT_MS);
    } catch {
      const more = countDescriptors(pid) - this.#descriptors;
      const mapped = countMappings(pid, MEMORY_NAME);
      throw new Finding(`the switch kept ${more} descriptors and ${mapped} mappings of guests`);
    }
    this.#checkGrowth({
      descriptors: this.#descriptors,
      mappings: countMappingsBesideHeap(pid),
      residentBytes: residentBytes(pid),
    });
  }

  #checkGrowth(now: Holdings): void {
    const conversations = this.report().conversations;
    if (this.#warm === null) {
      if (conversations >= WARM_UP) this.#warm = now;
      return;
    }
    const mappings = now.mappings - this.#warm.mappings;
    if (mappings > MAPPINGS_TOLERANCE) {
      throw new Finding(`the switch has ${mappings} more mappings`);
    }
    const bytes = now.residentBytes - this.#warm.residentBytes;
    if (bytes > RESIDENT_TOLERANCE_BYTES) {
      throw new Finding(`the switch has grown by ${bytes} bytes`);
    }
  }

  get #isAlive(): boolean {
    try {
      return Deno.statSync(`/proc/${this.#lab.pid}`).isDirectory;
    } catch {
      return false;
    }
  }

  #failure(error: unknown, recent: readonly number[]): unknown {
    const finding = this.#isAlive ? error : new Finding("the switch is gone");
    if (!(finding instanceof Finding)) return error;
    const inFlight = this.#attackers.map(({ inFlight }) => inFlight).filter((one) => one !== null);
    const suspects = [...new Set([...recent, ...inFlight])].toSorted((a, b) => a - b);
    return new CampaignFailure(finding, suspects, this.#lab.output.slice(-QUOTED_OUTPUT));
  }
}

function topology(attacked: readonly string[]): string {
  const port = (name: string, more: string) =>
    `  ${name}: { type: vhost-user, socket: ${name}.sock, ${more} }`;
  return [
    "version: 1",
    "bridges: { attacked: {}, quiet: {} }",
    "threads: { workers: 2, poll: event }",
    "ports:",
    ...attacked.map((name) => port(name, `queues: ${QUEUE_PAIRS}, bridge: attacked`)),
    port("witness", "bridge: attacked"),
    port("quiet0", "bridge: quiet"),
    port("quiet1", "bridge: quiet"),
  ].join("\n");
}

// Only a thread that is idle for a moment looks for output at once; a switch whose output is not read
// stands still when the pipe is full.
function rest(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

// Sleeps until one of the sockets is readable, or for a moment.
function waitForAny(sockets: readonly (Fd | null)[]): void {
  const open = sockets.filter((socket) => socket !== null);
  const entries = new Uint8Array(open.length * POLLFD.size);
  const view = new DataView(entries.buffer);
  open.forEach((socket, i) => {
    POLLFD.write(view, i * POLLFD.size, { fd: socket.number, events: POLLIN, revents: 0 });
  });
  libc().poll(entries, BigInt(open.length), WAIT_MS);
}
