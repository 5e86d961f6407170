/**
 * A guest that kicks all the time and never has work (G13): each kick costs the Worker a look at its
 * rings, in which it serves the others as well.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import { workerAt } from "../../src/dataplane/state.ts";
import { W_EPOCH, W_SLEEPING } from "../../src/dataplane/state_layout.ts";
import { BareGuest } from "../support/bare_guest.ts";
import { eventually } from "../support/eventually.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { countDescriptors } from "../support/leaks.ts";
import {
  type KickStormRole,
  STORM_CONTROL_BYTES,
  STORM_STOP,
  STORM_THOUSANDS,
} from "../support/kick_storm.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab } from "../support/test_lab.ts";

const SLICE_MS = 150;
/** Undisturbed and disturbed slices in turn; more only when the machine's other work hit one kind. */
const FEWEST_PAIRS = 3;
const MOST_PAIRS = 30;
/**
 * What is left to the others at least. On two processors the storm takes one for itself, and with the
 * Worker that it keeps awake there are two threads for the other.
 */
const SHARE = 0.25;
/** A sleeping Worker turns once a second. */
const FEW_TURNS = 2;

Deno.test("Switch serves the others while a guest kicks without work (G13)", async () => {
  using storm = new Storm();
  await using lab = await TestLab.open();
  await lab.exchange("b", "c");
  for (const port of ["b", "c"]) await lab.idle(port);
  using elsewhere = EventFd.create();
  // A thread has descriptors of its own once it has run.
  await storm.rage(elsewhere, () => Promise.resolve());
  const descriptors = countDescriptors();
  await attack(lab, storm, elsewhere);
  for (const port of ["a", "b", "c"]) await lab.idle(port);
  strictEqual(countDescriptors(), descriptors);
  await lab.exchange("a", "b");
});

async function attack(lab: TestLab, storm: Storm, elsewhere: EventFd): Promise<void> {
  using attacker = await BareGuest.attach(lab.path("a"));
  await using one = await TestGuest.attach(lab.path("b"));
  await using other = await TestGuest.attach(lab.path("c"));
  const counts = { quiet: 0, storm: 0 };
  const isServed = () => counts.storm > SHARE * counts.quiet;
  for (let pair = 0; pair < FEWEST_PAIRS || !isServed(); pair++) {
    ok(pair < MOST_PAIRS, JSON.stringify(counts));
    // The same storm on an eventfd that nobody watches takes as much of the machine.
    counts.quiet += await storm.rage(elsewhere, () => exchange(one, other));
    counts.storm += await storm.rage(attacker.kick, () => exchange(one, other));
  }
  const { receivedFrames, ringFaults } = lab.report("a").counters;
  deepStrictEqual([receivedFrames, ringFaults], [0, 0]);
  await checkSleeps(lab);
}

/** When the storm is over the Worker sleeps as before, and does not turn any more. */
async function checkSleeps({ state }: TestLab): Promise<void> {
  const at = workerAt(0);
  await eventually("the Worker sleeps", () => state.load32(at + W_SLEEPING) === 1 || null);
  const epoch = state.load32(at + W_EPOCH);
  await new Promise((resolve) => setTimeout(resolve, SLICE_MS));
  const turns = state.load32(at + W_EPOCH) - epoch;
  ok(turns <= FEW_TURNS, `${turns} turns without work`);
}

/** Passes frames to and fro for a while, each when the last one has arrived; returns how many. */
async function exchange(one: TestGuest, other: TestGuest): Promise<number> {
  const [to, from] = [stationAddress(3), stationAddress(2)];
  const end = performance.now() + SLICE_MS;
  let passed = 0;
  for (; performance.now() < end; passed++) {
    const frame = passed % 2 === 0 ? makeFrame(to, from) : makeFrame(from, to);
    const [sender, receiver] = passed % 2 === 0 ? [one, other] : [other, one];
    sender.send(frame);
    deepStrictEqual(await receiver.receive(), frame);
  }
  return passed;
}

/** A thread that writes to an eventfd without a pause while something else goes on. */
class Storm implements Disposable {
  readonly #worker = new Worker(new URL("../support/kick_storm.ts", import.meta.url), {
    type: "module",
  });
  readonly #control = new SharedArrayBuffer(STORM_CONTROL_BYTES);

  async rage<T>({ fd }: EventFd, meanwhile: () => Promise<T>): Promise<T> {
    const words = new Int32Array(this.#control).fill(0);
    await this.#say({ fd: fd.number, control: this.#control });
    try {
      return await meanwhile();
    } finally {
      await eventually("kicks", () => Atomics.load(words, STORM_THOUSANDS) > 0 || null);
      Atomics.store(words, STORM_STOP, 1);
      await this.#answer();
    }
  }

  async #say(role: KickStormRole): Promise<void> {
    this.#worker.postMessage(role);
    await this.#answer();
  }

  async #answer(): Promise<void> {
    await new Promise((resolve) => this.#worker.onmessage = resolve);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
