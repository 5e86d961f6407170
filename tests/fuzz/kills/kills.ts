/**
 * Kills the switch with SIGKILL at random instants under traffic and starts it again, and looks that
 * nothing is lost for ever: no queue stands still, no guest dies, no connection ends.
 *
 * Some kills come while the switch starts and talks to its front-ends.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { Labswitch, type LabswitchOptions } from "../../support/labswitch.ts";
import { Random } from "../random.ts";
import type { Load, LoadKind } from "./load.ts";
import { emptyReport, hasLosses, type KillReport } from "./report.ts";

/** What is done. */
export interface KillOptions {
  /** What keeps frames moving. */
  readonly kind: LoadKind;
  /** How often the switch is killed. */
  readonly kills: number;
  /** What the instants are drawn from, 32 bits. */
  readonly seed: number;
  /** Which run of this seed it is; 0 unless given. */
  readonly run?: number;
  /** Signal; SIGTERM lets the switch close its ports first. SIGKILL unless given. */
  readonly signal?: "SIGKILL" | "SIGTERM";
  /** Told after each kill what came of it. */
  readonly onProgress?: (line: string) => void;
}

/** So long traffic runs at most before the next kill. */
const MAX_RUN_MS = 150;
/** One kill of so many comes while the switch starts. */
const EARLY_KILL_SHARE = 0.2;
/** So long the switch takes to start and to attach to its front-ends, on a busy machine. */
const MAX_START_MS = 600;
/** Between two looks at the counters. */
const LOOK_MS = 3;
/** A receiver that is not scheduled may still find frames of the dead switch in its rings. */
const SETTLE_MS = 20;
/** A queue that has not moved for so long after a start is stuck. */
const STUCK_MS = 30_000;

/**
 * Kills a switch again and again under one load.
 *
 * @param options What is done.
 * @returns What was counted; a stuck queue and whatever else was lost end the run early.
 * @throws {Error} When the switch does not start again, or frames arrive that were never sent.
 */
export async function runKills(options: KillOptions): Promise<KillReport> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-kills-" });
  try {
    const run = new KillRun(options, folder);
    await run.run();
    return run.report;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** One run. */
class KillRun {
  readonly report = emptyReport();
  readonly #options: KillOptions;
  readonly #folder: string;
  readonly #random: Random;

  constructor(options: KillOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#random = new Random(options.seed, options.run ?? 0);
  }

  async run(): Promise<void> {
    const { kind, kills } = this.#options;
    let lab = await Labswitch.start(this.#labOptions);
    try {
      await using load = await kind.start(lab, this.#folder);
      while (this.report.kills < kills) {
        await delay(this.#random.below(MAX_RUN_MS));
        const killedMs = await this.#end(lab);
        await this.#killEarly();
        lab = Labswitch.spawn(this.#labOptions);
        await this.#awaitRecovery(lab, load, killedMs);
        if (hasLosses(this.report)) return;
      }
      await load.finish();
    } finally {
      await lab[Symbol.asyncDispose]();
    }
  }

  get #labOptions(): LabswitchOptions {
    return { folder: this.#folder, topology: this.#options.kind.topology };
  }

  // Returns when the switch got the signal; it has ended when the promise resolves.
  async #end(lab: Labswitch): Promise<number> {
    const atMs = performance.now();
    if (this.#options.signal === "SIGTERM") await lab.stop();
    else await lab.kill();
    this.report.kills++;
    return atMs;
  }

  // Starts switches that die before long, as often as the dice want.
  async #killEarly(): Promise<void> {
    const { kind, kills, signal } = this.#options;
    if (!kind.bearsEarlyKills || signal === "SIGTERM") return;
    while (this.report.kills < kills && this.#random.chance(EARLY_KILL_SHARE)) {
      const lab = Labswitch.spawn(this.#labOptions);
      await delay(this.#random.below(MAX_START_MS));
      await this.#end(lab);
      this.report.earlyKills++;
    }
  }

  async #awaitRecovery(lab: Labswitch, load: Load, killedMs: number): Promise<void> {
    const ready = lab.awaitReady().then(() => performance.now());
    const [readyMs, { firstMs, allMs }] = await Promise.all([ready, this.#awaitFrames(load)]);
    const { guests, connections } = await load.losses();
    this.report.guestsLost += guests;
    this.report.connectionsLost += connections;
    const { kind, kills, onProgress } = this.#options;
    const what = `${kind.name}: kill ${this.report.kills} of ${kills}`;
    if (hasLosses(this.report)) {
      onProgress?.(`${what}: something is lost; the switch said:\n${lab.output}`);
      return;
    }
    const outage = {
      firstFrameMs: firstMs - killedMs,
      allQueuesMs: allMs - killedMs,
      readyMs: readyMs - killedMs,
    };
    this.report.outages.push(outage);
    onProgress?.(
      `${what}: first frame after ${outage.firstFrameMs.toFixed(0)} ms, ` +
        `all queues after ${outage.allQueuesMs.toFixed(0)} ms`,
    );
  }

  async #awaitFrames(load: Load): Promise<{ firstMs: number; allMs: number }> {
    const before = await settled(load);
    const queues = await load.queues();
    const startMs = performance.now();
    const isStuck = () => performance.now() - startMs > STUCK_MS;
    while (await load.received() <= before && !isStuck()) await delay(LOOK_MS);
    const firstMs = performance.now();
    for (;;) {
      const now = await load.queues();
      const still = [...queues].filter(([name, count]) => now.get(name)! <= count + load.slack);
      if (still.length === 0) break;
      if (isStuck()) {
        this.report.stuckQueues.push(...still.map(([name]) => name));
        break;
      }
      await delay(LOOK_MS);
    }
    return { firstMs, allMs: performance.now() };
  }
}

// Frames received when the last one of a dead switch has been taken.
async function settled(load: Load): Promise<number> {
  for (let before = await load.received();;) {
    await delay(SETTLE_MS);
    const now = await load.received();
    if (now === before) return now;
    before = now;
  }
}
