import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { type LoopSample, ratesOf } from "../../bench/loop.ts";

/** A sample of two ports that received and transmitted 64-byte frames. */
function sample(atMs: number, rxFrames: [number, number], txFrames = rxFrames): LoopSample {
  return {
    atMs,
    ports: rxFrames.map((frames, port) => ({
      port,
      rxFrames: frames,
      rxBytes: frames * 64,
      rxErrors: 0,
      txFrames: txFrames[port]!,
      txBytes: txFrames[port]! * 64,
    })),
  };
}

Deno.test("ratesOf adds up the ports and divides by the time between the samples", () => {
  const rates = ratesOf([
    sample(5_000, [1_000_000, 2_000_000]),
    sample(6_000, [2_000_000, 3_000_000]),
    sample(7_500, [5_000_000, 6_000_000]),
  ]);
  deepStrictEqual(rates, {
    seconds: 2.5,
    mpps: 3.2,
    sampleMpps: [2, 4],
    stuck: false,
    lostFrames: 0,
    refusedFrames: 0,
    meanFrameSizeBytes: 64,
  });
});

Deno.test("ratesOf reports a loop as stuck when one port stands still in one sub-interval", () => {
  const { stuck, mpps } = ratesOf([
    sample(0, [100, 100]),
    sample(1_000, [200, 100]),
    sample(2_000, [300, 300]),
  ]);
  strictEqual(stuck, true);
  strictEqual(mpps, 0.0002);
});

Deno.test("ratesOf reports a loop without any frame as stuck", () => {
  const rates = ratesOf([sample(0, [0, 0]), sample(1_000, [0, 0])]);
  strictEqual(rates.stuck, true);
  strictEqual(rates.meanFrameSizeBytes, 0);
});

Deno.test("ratesOf counts frames that were transmitted and did not come back", () => {
  const rates = ratesOf([
    sample(0, [1_000, 1_000], [1_256, 1_256]),
    sample(1_000, [2_000, 2_000], [2_256, 2_266]),
  ]);
  strictEqual(rates.lostFrames, 10);
});

Deno.test("ratesOf refuses a single sample", () => {
  throws(() => ratesOf([sample(0, [0, 0])]), /1 samples, want two or more/);
});
