/**
 * Runs of the generator over a path that a test makes up, on a clock that goes on whenever it is read.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { BackendBroken, Generator } from "../../src/bench/generator.ts";
import { SEAL, SEQUENCE } from "../../src/bench/frame_layout.ts";
import { HEADER_BYTES, RINGS } from "../../src/bench/memory_layout.ts";
import { runOnce, type RunPlan, type RunResult, TransmitStuck } from "../../src/bench/run.ts";
import { type Change, MadeUpPath } from "../support/made_up_path.ts";

/** What the clock goes on by when it is read. */
const STEP_MS = 0.05;
const START_MS = 1000;
const PLAN: RunPlan = { frameBytes: 100, flows: 1, seconds: 0.2, window: 8, ratePps: null };
/** 20 frames per millisecond, 4000 in all. */
const PACED: RunPlan = { ...PLAN, ratePps: 20_000 };
const RING = { size: 256, isPacked: false };
/** What the seal multiplies a frame's number with. */
const SPREAD = 0x9e3779b1;
const FORMATS = [RING, { size: 256, isPacked: true }];

interface Setting {
  readonly plan?: RunPlan;
  readonly ring?: typeof RING;
  readonly change?: Change;
  readonly isBackwards?: boolean;
  readonly clock?: { ms: number };
}

async function run(
  { plan = PLAN, ring = RING, change, isBackwards = false, clock = { ms: START_MS } }: Setting,
) {
  const generator = await Generator.load();
  const path = new MadeUpPath(generator, generator.layOut(ring), ring, change);
  path.isBackwards = isBackwards;
  const progress: number[] = [];
  const result = runOnce(generator, plan, {
    kick: () => path.turn(),
    onProgress: (mpps) => progress.push(mpps),
    isStopped: () => false,
    now: () => clock.ms += STEP_MS,
  });
  return { generator, progress, result: result! };
}

/** Does something to the frame that is the `n`th of port 0 in the whole run, from 0. */
function once(n: number, what: (frames: Uint8Array[], at: number) => void): Change {
  let before = 0;
  return (frames, port) => {
    if (port !== 0) return frames;
    const at = n - before;
    before += frames.length;
    if (at >= 0 && at < frames.length) what(frames, at);
    return frames;
  };
}

/** A frame with a later number, sealed as the generator does it. */
function madeUp(frame: Uint8Array, ahead: number): Uint8Array {
  const copy = frame.slice();
  const view = new DataView(copy.buffer);
  const [number, seal] = [SEQUENCE - HEADER_BYTES, SEAL - HEADER_BYTES];
  const before = view.getUint32(number, true);
  view.setUint32(number, before + ahead, true);
  const change = Math.imul(before, SPREAD) ^ Math.imul(before + ahead, SPREAD);
  view.setUint32(seal, view.getUint32(seal, true) ^ change, true);
  return copy;
}

/** What went wrong with frames. */
function faults({ lost, reordered, duplicated, corrupted, foreign }: RunResult) {
  return { lost, reordered, duplicated, corrupted, foreign };
}

const NO_FAULTS = { lost: 0, reordered: 0, duplicated: 0, corrupted: 0, foreign: 0 };

for (const ring of FORMATS) {
  const format = ring.isPacked ? "packed" : "split";

  Deno.test(`generator finds no fault with a path that has none, ${format} rings`, async () => {
    const { result, progress } = await run({ ring });
    deepStrictEqual(faults(result), NO_FAULTS);
    ok(result.sent > 2 * ring.size, "the rings did not wrap");
    ok(result.mpps > 0 && result.gbps > 0 && result.latency === null);
    strictEqual(result.stalls, 0);
    ok(progress.length > 0);
  });

  Deno.test(`generator takes buffers back in any order, ${format} rings`, async () => {
    const { result } = await run({ ring, isBackwards: true });
    deepStrictEqual(faults(result), NO_FAULTS);
    ok(result.sent > 2 * ring.size);
  });

  Deno.test(`generator sends every frame of a schedule, ${format} rings`, async () => {
    const { result } = await run({ ring, plan: PACED });
    deepStrictEqual(faults(result), NO_FAULTS);
    strictEqual(result.sent + result.unsent, 4000 + 1);
    ok(result.unsent < 20, `${result.unsent} unsent`);
  });

  Deno.test(`generator finds a lost frame, ${format} rings`, async () => {
    const { result } = await run({
      ring,
      change: once(400, (frames, at) => frames.splice(at, 1)),
    });
    deepStrictEqual(faults(result), { ...NO_FAULTS, lost: 1 });
  });
}

Deno.test("generator finds a duplicated frame", async () => {
  const change = once(40, (frames, at) => frames.splice(at, 0, frames[at]!));
  deepStrictEqual(faults((await run({ change })).result), { ...NO_FAULTS, duplicated: 1 });
});

Deno.test("generator finds a reordered frame", async () => {
  let held: Uint8Array | null = null;
  const change: Change = (frames, port) => {
    if (port !== 0) return frames;
    const late = held === null ? [] : [held];
    held = null;
    return [...frames, ...late];
  };
  const hold = once(40, (frames, at) => held = frames.splice(at, 1)[0]!);
  const { result } = await run({ change: (frames, port) => hold(change(frames, port), port) });
  deepStrictEqual(faults(result), { ...NO_FAULTS, reordered: 1 });
});

Deno.test("generator finds a corrupted frame: stamp, body and length", async () => {
  const lostToo = { ...NO_FAULTS, lost: 1, corrupted: 1 };
  for (const offset of [0, 5, 6, 11, 18, 22, 26, 30, 38]) {
    const change = once(64, (frames, at) => frames[at]![offset]! ^= 4);
    deepStrictEqual(faults((await run({ change })).result), lostToo, `byte ${offset}`);
  }
  // One of 64 frames is compared to its last byte.
  const last = once(64, (frames, at) => frames[at]![99]! ^= 1);
  deepStrictEqual(faults((await run({ change: last })).result), lostToo);
  const shorter = once(65, (frames, at) => frames[at] = frames[at]!.subarray(0, 99));
  deepStrictEqual(faults((await run({ change: shorter })).result), lostToo);
});

Deno.test("generator is not kept running by frames that it never sent", async () => {
  let last: Uint8Array | null = null;
  let ahead = 1000;
  const change: Change = (frames, port) => {
    if (port !== 0) return frames;
    last = frames.at(-1) ?? last;
    return last === null ? frames : [...frames, madeUp(last, ahead++)];
  };
  const { result } = await run({ change });
  const { corrupted, ...rest } = faults(result);
  deepStrictEqual({ ...rest, corrupted: 0 }, NO_FAULTS);
  ok(corrupted > 5000, `${corrupted}`);
});

Deno.test("generator does not count frames of others, and those that come back to where they left", async () => {
  const stranger = new Uint8Array(60);
  const change = once(40, (frames) => frames.push(stranger));
  deepStrictEqual(faults((await run({ change })).result), { ...NO_FAULTS, foreign: 1 });
  let returned: Uint8Array | null = null;
  const keep = once(40, (frames, at) => returned = frames[at]!);
  const reflect: Change = (frames, port) => {
    if (port === 0) return keep(frames, port);
    const more = returned === null ? [] : [returned];
    returned = null;
    return [...frames, ...more];
  };
  const { result } = await run({ change: reflect });
  deepStrictEqual(faults(result), { ...NO_FAULTS, foreign: 1 });
});

Deno.test("generator gives each flow addresses and numbers of its own", async () => {
  const addresses = new Set<string>();
  let most = 0;
  const change: Change = (frames) => {
    for (const frame of frames) {
      addresses.add(frame.subarray(0, 12).join());
      most = Math.max(most, new DataView(frame.buffer, frame.byteOffset).getUint32(20, true));
    }
    return frames;
  };
  const { result } = await run({ plan: { ...PLAN, flows: 3 }, change });
  deepStrictEqual(faults(result), NO_FAULTS);
  strictEqual(addresses.size, 6);
  ok(most <= Math.ceil(result.sent / 6) + 1, `${most} of ${result.sent}`);
});

Deno.test("generator does not lose its pace when one of several flows loses a frame", async () => {
  const change = once(100, (frames, at) => frames.splice(at, 1));
  const { result } = await run({ plan: { ...PLAN, flows: 4 }, change });
  deepStrictEqual(faults(result), { ...NO_FAULTS, lost: 1 });
  strictEqual(result.stalls, 0);
});

Deno.test("generator goes on with its window after everything on the way was lost", async () => {
  let turns = 0;
  let most = 0;
  const change: Change = (frames, port) => {
    if (port === 0) turns++;
    most = Math.max(most, frames.length);
    return turns > 100 && turns < 110 ? [] : frames;
  };
  const { result } = await run({ plan: { ...PLAN, seconds: 5 }, change });
  strictEqual(result.lost, 16);
  strictEqual(result.stalls, 1);
  strictEqual(most, PLAN.window);
  ok(result.sent > 10_000, `${result.sent}`);
});

Deno.test("generator measures latency from the instant at which a frame was due", async () => {
  // The path stands still for 100 ms of the clock: frames that were due meanwhile have waited.
  let turns = 0;
  const held: Uint8Array[][] = [[], []];
  const change: Change = (frames, port) => {
    if (port === 0) turns++;
    held[port]!.push(...frames);
    if (turns > 5000 && turns < 6000) return [];
    const all = held[port]!;
    held[port] = [];
    return all;
  };
  const plan = { ...PACED, seconds: 1 };
  const ring = { size: 1024, isPacked: false };
  const { result } = await run({ plan, change, ring });
  const { p50Ns, p99Ns, maxNs } = result.latency!;
  deepStrictEqual(faults(result), NO_FAULTS);
  ok(p50Ns < 1e6, `p50 ${p50Ns}`);
  ok(p99Ns > 50e6, `p99 ${p99Ns}`);
  ok(maxNs > 90e6 && maxNs < 200e6, `max ${maxNs}`);
});

Deno.test("generator ends with an error when a back-end gives back what it did not have", async () => {
  const generator = await Generator.load();
  const [receive] = generator.layOut(RING);
  generator.begin(PLAN);
  const view = new DataView(generator.memory.buffer);
  view.setUint32(receive!.used + 4, RING.size, true);
  view.setUint16(receive!.used + 2, 1, true);
  throws(() => generator.closedLoop(1), BackendBroken);
});

Deno.test("generator ends with an error when a back-end says that it used more than there is", async () => {
  const generator = await Generator.load();
  const places = generator.layOut(RING);
  generator.begin(PLAN);
  new DataView(generator.memory.buffer).setUint16(places[1]!.used + 2, RING.size + 1, true);
  generator.setWindow(RING.size);
  throws(() => {
    for (let i = 0; i < 100; i++) generator.closedLoop(1);
    void generator.isIdle;
    generator.closedLoop(1);
  }, BackendBroken);
});

Deno.test("generator ends with an error when a back-end does not read its queue", async () => {
  const generator = await Generator.load();
  generator.layOut(RING);
  let ms = 0;
  const thread = {
    kick: () => {},
    onProgress: () => {},
    isStopped: () => false,
    now: () => ms += 1,
  };
  throws(() => runOnce(generator, PLAN, thread), TransmitStuck);
});

Deno.test("generator stops when it is told to", async () => {
  const generator = await Generator.load();
  const path = new MadeUpPath(generator, generator.layOut(RING), RING);
  for (const plan of [PLAN, PACED]) {
    let ms = 0;
    const result = runOnce(generator, { ...plan, seconds: 3600 }, {
      kick: () => path.turn(),
      onProgress: () => {},
      isStopped: () => ms > 2000,
      now: () => ms += STEP_MS,
    });
    strictEqual(result, null);
    ok(ms < 10_000, `${ms}`);
  }
});

/** Holds all frames back from an instant on, and lets one go now and then. */
function trickle(clock: { readonly ms: number }, fromMs: number, everyMs: number): Change {
  const held: Uint8Array[][] = [[], []];
  let next = fromMs;
  return (frames, port) => {
    if (clock.ms < fromMs) return frames;
    held[port]!.push(...frames);
    if (clock.ms < next) return [];
    next = clock.ms + everyMs;
    return held[port]!.splice(0, 1);
  };
}

/** When a run of PLAN's length has sent its last frame: it is warmed up for 300 ms. */
const SENT_MS = START_MS + 300 + 1000 * PLAN.seconds;

Deno.test("generator waits for what is on the way, but not for ever", async () => {
  for (const plan of [PLAN, { ...PACED, ratePps: 2000 }]) {
    const clock = { ms: START_MS };
    const change = trickle(clock, SENT_MS - 20, 900);
    const { result } = await run({ plan: { ...plan, window: 32 }, change, clock });
    ok(result.lost > 0, "nothing was held back");
    ok(clock.ms > SENT_MS + 9_000 && clock.ms < SENT_MS + 11_000, `${clock.ms}`);
  }
});

Deno.test("generator stops while it waits for what is on the way", async () => {
  for (const plan of [PLAN, PACED]) {
    const generator = await Generator.load();
    const clock = { ms: START_MS };
    const change = trickle(clock, SENT_MS - 20, 900);
    const path = new MadeUpPath(generator, generator.layOut(RING), RING, change);
    const result = runOnce(generator, plan, {
      kick: () => path.turn(),
      onProgress: () => {},
      isStopped: () => clock.ms > SENT_MS + 100,
      now: () => clock.ms += STEP_MS,
    });
    strictEqual(result, null);
    ok(clock.ms < SENT_MS + 200, `${clock.ms}`);
  }
});

Deno.test("generator keeps its records out of what back-ends are given", async () => {
  const generator = await Generator.load();
  const places = generator.layOut(RING);
  for (const { desc } of places) ok(desc > RINGS + 4 * 64);
});
