/**
 * The flood over a wire in memory, to a host of the switch, with a clock that goes on by a millisecond
 * whenever it is read.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { parseMac } from "../../../src/ethernet/frame.ts";
import { parseIpv4 } from "../../../src/ethernet/ipv4.ts";
import type { FrameHandler, Nic } from "../../../src/host/nic.ts";
import { type FloodPlan, type FloodResult, runPingFlood } from "../../../src/host/ping_flood.ts";
import { Station } from "../../../src/host/station.ts";

const plan: FloodPlan = {
  source: parseMac("52:54:00:00:00:02"),
  sourceIp: parseIpv4("10.0.0.2"),
  destination: parseMac("52:54:00:00:00:01"),
  destinationIp: parseIpv4("10.0.0.1"),
  dataBytes: 56,
  window: 8,
  seconds: 0.2,
};

/** What the flood uses of an interface; what a host answers comes back as `change` leaves it. */
class Wire {
  mostOnTheWay = 0;
  #answers: Uint8Array[] = [];
  readonly #station = new Station({
    ...{ mac: plan.destination, ipv4: plan.destinationIp, ipv6: [], dhcp: null },
  });

  constructor(readonly change: (frames: Uint8Array[]) => Uint8Array[] = (frames) => frames) {}

  send(frame: Uint8Array): boolean {
    const answer = this.#station.answer(frame.slice(), 0);
    if (answer !== null) this.#answers.push(answer);
    this.mostOnTheWay = Math.max(this.mostOnTheWay, this.#answers.length);
    return true;
  }

  flush(): void {}

  poll(handler: FrameHandler): number {
    const frames = this.change(this.#answers);
    this.#answers = [];
    frames.forEach(handler);
    return frames.length;
  }

  wait(): void {}
}

function flood(wire: Wire, more: Partial<FloodPlan> = {}): FloodResult {
  const { now } = performance;
  let milliseconds = 0;
  performance.now = () => milliseconds++;
  try {
    return runPingFlood(wire as unknown as Nic, { ...plan, ...more });
  } finally {
    performance.now = now;
  }
}

Deno.test("runPingFlood gets an answer to every ping, and keeps the window", () => {
  for (const window of [1, 8]) {
    const wire = new Wire();
    const { sent, answered, roundTripsMs } = flood(wire, { window });
    ok(sent > window);
    strictEqual(answered, sent);
    strictEqual(roundTripsMs.length, sent);
    strictEqual(wire.mostOnTheWay, window);
    ok(roundTripsMs.every((ms, i) => ms > 0 && ms >= (roundTripsMs[i - 1] ?? 0)));
  }
});

Deno.test("runPingFlood counts pings that are not answered", () => {
  let number = 0;
  const { sent, answered } = flood(new Wire((frames) => frames.filter(() => number++ !== 5)));
  strictEqual(answered, sent - 1);
});

Deno.test("runPingFlood ends when nobody answers", () => {
  const { sent, answered, seconds } = flood(new Wire(() => []));
  strictEqual(sent, plan.window);
  strictEqual(answered, 0);
  strictEqual(seconds, 0);
});

Deno.test("runPingFlood counts no answer twice, and no damaged one", () => {
  const damaged = (frame: Uint8Array) => {
    const copy = frame.slice();
    copy[50]! ^= 1;
    return copy;
  };
  const wire = new Wire((frames) =>
    frames.flatMap((frame) => [damaged(frame), frame.subarray(0, 40), frame, frame])
  );
  const { sent, answered } = flood(wire);
  strictEqual(answered, sent);
});
