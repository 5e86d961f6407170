/**
 * More frames than a guest can take: only those for this guest are dropped, each is counted, and when it
 * is over, or the guest takes frames again, nothing is left of it.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { eventually, nextTurn } from "../support/eventually.ts";
import { introduce, numbered, SteadyFlow } from "../support/steady_flow.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab } from "../support/test_lab.ts";

const PORTS = ["a", "b", "c"] as const;
const [A, B, C] = [1, 2, 3] as const;
const FRAMES = 500;
/** Buffers of a guest that takes nothing. */
const RING_SIZE = 16;
const OVERLOAD_MS = 2000;
/** Frames that each of two guests sends in a turn. */
const BURST = 8;
/** The third one takes one of so many frames that are sent. */
const FACTOR = 10;

/** Declares a test with three guests that know each other. */
function testLoad(
  name: string,
  test: (lab: TestLab, guests: readonly [TestGuest, TestGuest, TestGuest]) => Promise<void>,
): void {
  Deno.test(name, async () => {
    await using lab = await TestLab.open({ ports: PORTS });
    await using a = await TestGuest.attach(lab.path("a"));
    await using b = await TestGuest.attach(lab.path("b"));
    await using c = await TestGuest.attach(lab.path("c"));
    await introduce([a, b, c]);
    await test(lab, [a, b, c]);
  });
}

function drops(lab: TestLab, port: string): number {
  const { drops } = lab.report(port).counters;
  strictEqual(Object.values(drops).reduce((sum, count) => sum + count, 0), drops["no buffer"]);
  return drops["no buffer"];
}

testLoad(
  "Switch drops what a slow guest does not take, and nothing else (X21)",
  async (lab, guests) => {
    const [a, b, c] = guests;
    const beside = new SteadyFlow(a, c, [A, C]);
    for (let number = 0; number < FRAMES; number++) {
      // Sent before the next one of the other flow, whose arrival proves that this one was dealt with.
      ok(a.send(numbered(B, A, number)));
      await settle(lab, number + 1);
      await beside.pass();
    }
    deepStrictEqual(PORTS.map((port) => drops(lab, port)), [0, FRAMES - RING_SIZE, 0]);
    // The slow guest itself is heard all the time, and takes what was for it.
    const back = new SteadyFlow(b, c, [B, C]);
    for (let i = 0; i < FRAMES; i++) await back.pass();
    for (let number = 0; number < RING_SIZE; number++) {
      deepStrictEqual(await b.receive(), numbered(B, A, number));
    }
    const again = new SteadyFlow(a, b, [A, B]);
    for (let i = 0; i < FRAMES; i++) await again.pass();
    strictEqual(drops(lab, "b"), FRAMES - RING_SIZE);
  },
);

/** Waits until so many frames for the slow guest were placed in its ring or dropped. */
async function settle(lab: TestLab, frames: number): Promise<void> {
  const dropped = Math.max(0, frames - RING_SIZE);
  await eventually("a drop", () => drops(lab, "b") === dropped || null);
}

testLoad(
  "Switch recovers at once from ten times the load that a guest can take (X20)",
  async (lab, guests) => {
    const [a, b, c] = guests;
    const [fromA, fromC] = [numbered(B, A, 0), numbered(B, C, 0)];
    let [sent, received] = [0, 0];
    const take = () => {
      const frame = b.tryReceive();
      if (frame === null) return false;
      received++;
      return true;
    };
    for (const end = performance.now() + OVERLOAD_MS; performance.now() < end;) {
      for (let i = 0; i < BURST; i++) {
        if (a.send(fromA)) sent++;
        if (c.send(fromC)) sent++;
      }
      if (sent > FACTOR * (received + 1)) take();
      await nextTurn();
    }
    ok(received > 0 && sent > FACTOR * received, `${sent} sent, ${received} taken`);
    // Each frame has arrived or is counted, and nothing is under way any more.
    await eventually("the last frame of the overload", () => {
      while (take());
      return received + drops(lab, "b") === sent || null;
    });
    const dropped = drops(lab, "b");
    console.log(`${sent} frames in ${OVERLOAD_MS} ms, ${dropped} of them dropped`);
    for (const [from, station] of [[a, A], [c, C]] as const) {
      const flow = new SteadyFlow(from, b, [station, B]);
      await flow.pass();
      console.log(`the first frame after it took ${flow.longestMs.toFixed(2)} ms`);
      for (let i = 0; i < FRAMES; i++) await flow.pass();
    }
    strictEqual(drops(lab, "b"), dropped);
  },
);
