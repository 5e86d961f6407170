/**
 * A target that runs, the bystanders on two of its ports, and the judgement of what an input did.
 *
 * @module
 */
import { countMappings } from "../../support/leaks.ts";
import type { DpdkMemory } from "../../support/hugepages.ts";
import { BROADCAST, makeFrame, stationAddress } from "../../support/frames.ts";
import { TestGuest } from "../../support/test_guest.ts";
import { Bystanders } from "./bystanders.ts";
import type { Report } from "./bystanders_worker.ts";
import type { Input } from "./input.ts";
import { MEMORY_NAME } from "./raw_guest.ts";
import { pause, Scene, within } from "./scene.ts";
import type { Judgement, Verdict } from "./verdict.ts";
import { type RunningTarget, type Sockets, socketsIn, type Target } from "./target.ts";

/** Front-ends that only take a place: others' handshakes must be as quick as ever. */
const QUICK_IDS = ["F01", "F02", "F03", "F04", "F05"];
const QUICK_MS = 100;
/** Longer than any handshake takes on a machine that is busy with the attack itself. */
const HANDSHAKE_MS = 3000;
/** Of so many handshakes the best counts, because the machine is shared. */
const HANDSHAKES = 3;
/** An input that takes longer waits for a target that does not answer. */
const ATTACK_MS = 120_000;
/** How long a target may take until the attacked port works again. */
const RECONNECT_MS = 10_000;
/** How long it may take until everything is given back. */
const RELEASE_MS = 5000;
const LOOK_MS = 50;
const FRAME_MS = 100;
/** How long the kernel may take to end a process that has crashed. */
const CRASH_MS = 1000;
/** Signals by the exit code of the process that they ended. */
const SIGNALS: Readonly<Record<number, string>> = {
  132: "SIGILL",
  134: "SIGABRT",
  135: "SIGBUS",
  136: "SIGFPE",
  137: "SIGKILL",
  139: "SIGSEGV",
};
/** Mappings of hostile guests' memory, and of those that test the ports. */
const MAPPINGS = [MEMORY_NAME, "labswitch-test-guest"];

/** A target with bystanders. */
export class Arena implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #target: RunningTarget;
  readonly #sockets: Sockets;
  readonly #bystanders: Bystanders;
  #baseline: string[] = [];
  #isRefused = false;

  private constructor(
    stack: AsyncDisposableStack,
    target: RunningTarget,
    sockets: Sockets,
    bystanders: Bystanders,
  ) {
    this.#stack = stack;
    this.#target = target;
    this.#sockets = sockets;
    this.#bystanders = bystanders;
  }

  /** Starts a target and waits until all of its ports carry frames. */
  static async open(target: Target, memory: DpdkMemory): Promise<Arena> {
    await using stack = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "labswitch-versus-" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const running = stack.use(await target.start({ folder, memory }));
    const sockets = socketsIn(folder);
    const bystanders = stack.use(await Bystanders.start(sockets.bystanders));
    const arena = new Arena(stack.move(), running, sockets, bystanders);
    if (!await arena.#reconnects()) throw new Error(`Cannot use ${target.title} before any attack`);
    await pause(LOOK_MS);
    arena.#baseline = descriptorKinds(running.process.pid);
    return arena;
  }

  /** What the target printed. */
  get output(): string {
    return this.#target.process.output;
  }

  /** Sends an input and judges what it did. */
  async judge(input: Input): Promise<Judgement> {
    await this.#bystanders.take();
    this.#isRefused = false;
    const scene = new Scene(this.#sockets, this.#target.process.pid);
    const notes: string[] = [];
    const pending: Promise<void>[] = [];
    const reports: Report[] = [];
    let isSlow = false;
    try {
      if (await within(ATTACK_MS, this.#attack(input, scene)) === null) {
        scene.note("the attack does not end");
      }
      const limit = QUICK_IDS.includes(input.id) ? QUICK_MS : HANDSHAKE_MS;
      const heldMs = await this.#handshakes(limit, pending);
      isSlow = heldMs > limit;
      if (isSlow) notes.push(`others wait ${waitText(heldMs)} for a handshake`);
      // The first one may have begun before the attack.
      for (let i = 0; i < 2; i++) reports.push(await this.#bystanders.take());
    } finally {
      await scene[Symbol.asyncDispose]().catch((error) => scene.note(String(error)));
    }
    await Promise.all(pending);
    const verdict = await this.#verdict(isSlow, reports, notes);
    return { verdict, notes: [...notes, scene.notes].filter((note) => note !== "") };
  }

  /** Ends the target and the bystanders. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #attack(input: Input, scene: Scene): Promise<true> {
    try {
      await input.attack(scene);
    } catch (error) {
      scene.note((error as Error).message);
      if (input.isLegal) this.#isRefused = true;
    }
    return true;
  }

  async #verdict(isSlow: boolean, reports: Report[], notes: string[]): Promise<Verdict> {
    const late = sum(reports, "late");
    if (late > 0) notes.push(`others' frames wait for more than a second ${late}×`);
    // One burst can be late because the machine is busy.
    const wasHeldUp = isSlow || late > 1;
    const works = !this.#hasEnded && await this.#reconnects();
    if (!works) await pause(CRASH_MS);
    if (this.#hasEnded) {
      const code = await this.#target.process.awaitEnd();
      notes.push(SIGNALS[code] ?? `exit code ${code}`);
      return "died";
    }
    // What came late counts as received in a later report.
    reports.push(await this.#bystanders.take());
    const [sent, lost] = [sum(reports, "sent"), sum(reports, "lost")];
    if (lost > 0) notes.push(`bystanders lost ${lost} of ${sent} frames`);
    // Whoever loses everything is not only late.
    const { sent: lastSent, lost: lastLost } = reports.at(-1)!;
    if (lastLost > lastSent / 2) return "hung";
    if (!works) {
      const isAlone = await this.#handshakes(HANDSHAKE_MS, []) < HANDSHAKE_MS;
      notes.push(isAlone ? "the attacked port does not work again" : "no port takes a guest");
      return isAlone ? "port lost" : "hung";
    }
    if (wasHeldUp) {
      notes.push("until the attacker leaves");
      return "hung";
    }
    if (!await this.#isReleased(notes)) return "leaked";
    if (lost > 0) return "lost frames";
    return this.#isRefused ? "refused" : "survived";
  }

  get #hasEnded(): boolean {
    return this.#target.process.hasEnded;
  }

  // The time of the best of some handshakes on the free port; the first below the limit will do. One
  // that does not come to an end in time takes for ever, unless the attacker leaves.
  async #handshakes(limitMs: number, pending: Promise<void>[]): Promise<number> {
    let bestMs = Infinity;
    for (let i = 0; i < HANDSHAKES && !this.#hasEnded; i++) {
      const start = performance.now();
      const attached = TestGuest.attach(this.#sockets.free);
      const left = attached.then((guest) => guest[Symbol.asyncDispose]()).catch(() => {});
      const guest = await within(HANDSHAKE_MS, attached.catch(() => null));
      const tookMs = performance.now() - start;
      if (guest === null) {
        // It may still come to an end, when the attacker has gone.
        pending.push(left);
        return Infinity;
      }
      await left;
      bestMs = Math.min(bestMs, tookMs);
      if (tookMs < limitMs) break;
    }
    return this.#hasEnded ? 0 : bestMs;
  }

  // Whether new guests on the attacked and the free port get frames from each other.
  async #reconnects(): Promise<boolean> {
    return await within(RECONNECT_MS, this.#exchange().catch(() => false)) ?? false;
  }

  async #exchange(): Promise<boolean> {
    await using stack = new AsyncDisposableStack();
    const attach = async (path: string) => {
      const guest = await TestGuest.attach(path);
      stack.defer(() => guest[Symbol.asyncDispose]().catch(() => {}));
      return guest;
    };
    const one = await attach(this.#sockets.attacked);
    const two = await attach(this.#sockets.free);
    return await passes(one, two, 1) && await passes(two, one, 2);
  }

  async #isReleased(notes: string[]): Promise<boolean> {
    const { pid } = this.#target.process;
    const deadline = performance.now() + RELEASE_MS;
    for (;;) {
      const descriptors = surplus(descriptorKinds(pid), this.#baseline);
      const mappings = MAPPINGS.reduce((total, name) => total + countMappings(pid, name), 0);
      if (descriptors.length === 0 && mappings === 0) return true;
      if (performance.now() > deadline) {
        notes.push(`too many: ${[...descriptors, `${mappings} mappings`].join(", ")}`);
        return false;
      }
      await pause(LOOK_MS);
    }
  }
}

// What the descriptors of a process are, without the numbers that tell sockets and pipes apart.
function descriptorKinds(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return [...Deno.readDirSync(folder)].flatMap(({ name }) => {
    try {
      return Deno.readLinkSync(`${folder}/${name}`).replace(/:\[\d+\]$/, "");
    } catch {
      return []; // closed meanwhile
    }
  });
}

function sum(reports: readonly Report[], what: keyof Report): number {
  return reports.reduce((total, report) => total + report[what], 0);
}

function surplus(now: readonly string[], before: readonly string[]): string[] {
  const left = [...before];
  return now.filter((kind) => {
    const at = left.indexOf(kind);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

function waitText(ms: number): string {
  return ms === Infinity ? `more than ${HANDSHAKE_MS} ms` : `${ms.toFixed()} ms`;
}

// A switch may need a moment until it uses a port, so the frame is sent again and again.
async function passes(from: TestGuest, to: TestGuest, mark: number): Promise<boolean> {
  const source = stationAddress(0xc0 + mark);
  const frame = makeFrame(BROADCAST, source, 60, mark);
  for (const deadline = performance.now() + RECONNECT_MS; performance.now() < deadline;) {
    from.send(frame);
    try {
      const received = await to.receive(FRAME_MS);
      if (received.every((byte, i) => byte === frame[i])) return true;
    } catch {
      // Not yet.
    }
  }
  return false;
}
