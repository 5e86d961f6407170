import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { PIECES, Stream } from "../../soak/stream.ts";
import { BROADCAST, makeFrame, stationAddress } from "../../support/frames.ts";
import { build, cut, type Packet, TCP_ACK } from "../../support/packets.ts";

const [FROM, TO] = [stationAddress(1), stationAddress(2)];
const CYCLE = 49;

/** The frames of some chains as they are to arrive. */
function arrivals(stream: Stream, chains: number): Uint8Array[] {
  return Array.from({ length: chains }, (_, i) => {
    const { frame } = stream.peek();
    stream.advance();
    return i % CYCLE === CYCLE - 1 ? pieces(Math.floor(i / CYCLE)) : [frame.slice()];
  }).flat();
}

function pieces(cycle: number): Uint8Array[] {
  const variant = cycle % 16;
  const packet: Packet = {
    ...{ to: TO, from: FROM, tags: [], version: 4, transport: "tcp" },
    ...{ networkOptions: 0, transportOptions: 12, flags: TCP_ACK, ports: [40_000, 5201] },
    ...{ identification: variant, sequence: variant * 2 ** 16 },
    payload: Uint8Array.from({ length: 65_483 }, (_, i) => (variant + i * 7) & 0xff),
  };
  return cut(packet, 1448).map((piece) => build(piece, false).frame);
}

Deno.test("Stream takes its own frames and the pieces of its super-packets, cycle after cycle", () => {
  const stream = new Stream(FROM, TO, true);
  const frames = arrivals(stream, 20 * CYCLE);
  strictEqual(frames.length, 20 * (CYCLE - 1 + PIECES));
  for (const frame of frames) deepStrictEqual(stream.accept(frame), { kind: "good", missing: 0 });
});

Deno.test("Stream says how many frames are due for a chain", () => {
  const stream = new Stream(FROM, TO, true);
  const due: number[] = [];
  for (let i = 0; i < CYCLE; i++) {
    due.push(stream.peek().frames);
    stream.advance();
  }
  deepStrictEqual(due, [...new Array(CYCLE - 1).fill(1), PIECES]);
});

Deno.test("Stream counts what is missing, across cycles and within a super-packet", () => {
  const stream = new Stream(FROM, TO, true);
  const frames = arrivals(stream, 3 * CYCLE);
  const kept = [0, 5, 50, 60, 200];
  const missing = kept.map((i) => stream.accept(frames[i]!));
  deepStrictEqual(
    missing,
    [0, 4, 44, 9, 139].map((missing) => ({ kind: "good", missing })),
  );
});

Deno.test("Stream refuses a frame that comes twice, late, or with another byte", () => {
  const stream = new Stream(FROM, TO, true);
  const frames = arrivals(stream, CYCLE);
  for (const i of [0, 1, 48]) stream.accept(frames[i]!);
  strictEqual(stream.accept(frames[1]!).kind, "bad");
  strictEqual(stream.accept(frames[2]!).kind, "bad");
  for (const i of [49, 50]) {
    const damaged = frames[i]!.slice();
    damaged[damaged.length - 1]! ^= 1;
    strictEqual(stream.accept(damaged).kind, "bad");
  }
  strictEqual(stream.accept(frames[49]!.subarray(0, 1000)).kind, "bad");
});

Deno.test("Stream leaves the frames of others alone", () => {
  const stream = new Stream(FROM, TO, false);
  for (const to of [BROADCAST, stationAddress(3)]) {
    deepStrictEqual(stream.accept(makeFrame(to, FROM)), { kind: "foreign" });
  }
});
