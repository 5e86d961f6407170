/**
 * The loop over a wire in memory, with a clock that goes on by a millisecond whenever it is read.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { ETHERNET, ETHERTYPE_EXPERIMENT } from "../../../src/ethernet/frame.ts";
import { type LoopPlan, type LoopResult, runClosedLoop } from "../../../src/host/closed_loop.ts";
import type { FrameHandler, Nic } from "../../../src/host/nic.ts";

const plan: LoopPlan = {
  source: Uint8Array.of(0x52, 0x54, 0, 0, 0, 1),
  destination: Uint8Array.of(0x52, 0x54, 0, 0, 0, 2),
  frameBytes: 64,
  window: 8,
  seconds: 0.1,
};

/** What the loop uses of an interface; what is sent comes back as `change` leaves it. */
class Wire {
  readonly sent: Uint8Array[] = [];
  mostOnTheWay = 0;
  waits = 0;
  #onTheWay: Uint8Array[] = [];
  #unflushed: Uint8Array[] = [];

  constructor(
    readonly room: number = 256,
    readonly change: (frames: Uint8Array[]) => Uint8Array[] = (frames) => frames,
  ) {}

  send(frame: Uint8Array): boolean {
    if (this.#unflushed.length === this.room) return false;
    this.#unflushed.push(frame.slice());
    this.sent.push(frame.slice());
    return true;
  }

  flush(): void {
    this.#onTheWay.push(...this.change(this.#unflushed));
    this.#unflushed = [];
    this.mostOnTheWay = Math.max(this.mostOnTheWay, this.#onTheWay.length);
  }

  poll(handler: FrameHandler): number {
    const frames = this.#onTheWay;
    this.#onTheWay = [];
    for (const frame of frames) handler(frame);
    return frames.length;
  }

  wait(): void {
    this.waits++;
  }
}

/** Runs the loop with the test's clock. */
function runLoop(wire: Wire, more: Partial<LoopPlan> = {}): LoopResult {
  const { now } = performance;
  let milliseconds = 0;
  performance.now = () => milliseconds++;
  try {
    return runClosedLoop(wire as unknown as Nic, { ...plan, ...more });
  } finally {
    performance.now = now;
  }
}

Deno.test("runClosedLoop gets every frame back over a good wire", () => {
  const { sent, returned, disordered, seconds } = runLoop(new Wire());
  ok(sent > plan.window);
  strictEqual(returned, sent);
  strictEqual(disordered, 0);
  ok(seconds >= plan.seconds && seconds < plan.seconds + 0.01);
});

Deno.test("runClosedLoop sends numbered frames of the size and addresses given", () => {
  const wire = new Wire();
  runLoop(wire, { frameBytes: 100 });
  wire.sent.forEach((frame, i) => {
    const view = new DataView(frame.buffer);
    const { source, destination } = plan;
    const header = ETHERNET.read(view);
    strictEqual(frame.length, 100);
    strictEqual(header.type, ETHERTYPE_EXPERIMENT);
    ok(header.source.every((byte, at) => byte === source[at]));
    ok(header.destination.every((byte, at) => byte === destination[at]));
    strictEqual(view.getUint32(ETHERNET.size, true), i);
  });
});

Deno.test("runClosedLoop has never more frames on the way than the window", () => {
  const wire = new Wire();
  runLoop(wire, { window: 3 });
  strictEqual(wire.mostOnTheWay, 3);
});

Deno.test("runClosedLoop sends what fits when the ring is smaller than the window", () => {
  const wire = new Wire(2);
  const { sent, returned } = runLoop(wire);
  strictEqual(wire.mostOnTheWay, 2);
  strictEqual(returned, sent);
});

Deno.test("runClosedLoop counts frames that change places", () => {
  const { sent, returned, disordered } = runLoop(new Wire(256, (frames) => frames.toReversed()));
  strictEqual(returned, sent);
  ok(disordered > 0);
});

Deno.test("runClosedLoop ends without frames that are lost, and counts each gap once", () => {
  let number = 0;
  const wire = new Wire(256, (frames) => frames.filter(() => number++ !== 5));
  const { sent, returned, disordered } = runLoop(wire);
  strictEqual(returned, sent - 1);
  strictEqual(disordered, 1);
});

Deno.test("runClosedLoop ends when nothing comes back", () => {
  const { sent, returned, seconds } = runLoop(new Wire(256, () => []));
  strictEqual(sent, plan.window);
  strictEqual(returned, 0);
  strictEqual(seconds, 0);
});

Deno.test("runClosedLoop ignores frames of others and frames that are too short", () => {
  const stranger = new Uint8Array(64);
  const short = new Uint8Array(16);
  short.set([0x88, 0xb5], 12);
  const { sent, returned } = runLoop(
    new Wire(256, (frames) => frames.length === 0 ? [] : [stranger, ...frames, short]),
  );
  strictEqual(returned, sent);
});
