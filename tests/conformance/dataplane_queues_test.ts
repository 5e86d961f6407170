import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { featureSet, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, SwitchSim } from "../support/guest_sim.ts";
import { SENDER_FEATURES } from "../support/offload_guests.ts";
import { build, cut, offloadHeader, type Packet } from "../support/packets.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);
const VERSION_1 = featureSet(VIRTIO_F_VERSION_1);
const PACKED = VERSION_1 | featureSet(VIRTIO_F_RING_PACKED);

/** A frame of flow `flow`: every kind of packet, ports and tags that differ. */
function packetOf(flow: number, payload = 20): Packet {
  return {
    ...{ to: TO, from: FROM, networkOptions: 0, transportOptions: 0 },
    tags: [[], [0x8100], [0x88a8, 0x8100]][Math.trunc(flow / 4) % 3]!,
    version: flow % 2 === 0 ? 4 : 6,
    transport: flow % 4 < 2 ? "tcp" : "udp",
    ...{ identification: 1, sequence: 1, flags: 0, ports: [1000 + flow, 80] },
    payload: new Uint8Array(payload).fill(flow),
  };
}

/** What a flow is known by in a received frame: its first payload byte, which all its frames share. */
const flowOf = (frame: Uint8Array): number => frame.at(-2)!;
/** The number of the frame within its flow. */
const numberOf = (frame: Uint8Array): number => frame.at(-1)!;

function frameOf(flow: number, number: number): Uint8Array {
  const { frame } = build(packetOf(flow), false);
  frame[frame.length - 1] = number;
  return frame;
}

async function simWith(pairs: number, more: GuestOptions = {}): Promise<SwitchSim> {
  const receiver = { features: VERSION_1, pairs, queueSize: 128, buffers: 100, bufferBytes: 256 };
  const sender = { features: SENDER_FEATURES, pairs: 4, buffers: 0 };
  return await SwitchSim.create([sender, { ...receiver, ...more }]);
}

/** Sends frames in one burst; returns those that arrived, by receive queue. */
function deliver(
  sim: SwitchSim,
  frames: readonly Uint8Array[],
  pair = 0,
  header = new Uint8Array(),
): Uint8Array[][] {
  for (const frame of frames) sim.guests[0]!.send(frame, { pair, header });
  sim.settle();
  sim.guests[0]!.takeSent(pair);
  const [, receiver] = sim.guests;
  return receiver!.pairs.map((_, queue) => receiver!.receive(queue).map(({ frame }) => frame));
}

/** The one queue that a frame arrives in. */
function queueOf(sim: SwitchSim, frame: Uint8Array, pair = 0): number {
  const queues = deliver(sim, [frame], pair);
  deepStrictEqual(queues.flat(), [frame]);
  return queues.findIndex((frames) => frames.length > 0);
}

for (const features of [VERSION_1, PACKED]) {
  for (const pairs of [1, 2, 3, 128]) {
    const name = `SwitchSim keeps each flow in one of ${pairs} receive queues and in order`;
    Deno.test(`${name} with features ${features.toString(16)} (5.1.6.5.6.1, L21)`, async () => {
      const sim = await simWith(pairs, { features });
      const queues: Uint8Array[][] = sim.guests[1]!.pairs.map(() => []);
      for (let number = 0; number < 10; number++) {
        const burst = Array.from({ length: 48 }, (_, flow) => frameOf(flow, number));
        deliver(sim, burst).forEach((frames, i) => queues[i]!.push(...frames));
      }
      strictEqual(queues.flat().length, 480);
      for (let flow = 0; flow < 48; flow++) {
        const numbers = queues.map((frames) =>
          frames.filter((frame) => flowOf(frame) === flow).map(numberOf)
        ).filter((some) => some.length > 0);
        deepStrictEqual(numbers, [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]], `flow ${flow}`);
      }
      ok(sim.guests[1]!.isCanaryAlive);
    });
  }
}

Deno.test("SwitchSim keeps the frames of a flow in order within one burst (L21)", async () => {
  const sim = await simWith(3);
  const burst = Array.from({ length: 63 }, (_, i) => frameOf(i % 7, Math.trunc(i / 7)));
  const queues = deliver(sim, burst);
  for (let flow = 0; flow < 7; flow++) {
    const numbers = queues.flat().filter((frame) => flowOf(frame) === flow).map(numberOf);
    deepStrictEqual(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8], `flow ${flow}`);
  }
});

/** Ways in which flows differ, as frames by flow. */
const SPREADS: Readonly<Record<string, (flow: number) => Uint8Array>> = {
  "source ports of TCP over IPv4": (flow) => portsFrame({ version: 4, transport: "tcp" }, flow, 80),
  "source ports of TCP over IPv6": (flow) => portsFrame({ version: 6, transport: "tcp" }, flow, 80),
  "destination ports of UDP over IPv4": (flow) =>
    portsFrame({ version: 4, transport: "udp" }, 80, flow),
  "destination ports of UDP over IPv6": (flow) =>
    portsFrame({ version: 6, transport: "udp" }, 80, flow),
  "ports behind two tags": (flow) =>
    portsFrame({ version: 4, transport: "tcp", tags: [0x88a8, 0x8100] }, flow, 80),
  "IPv4 sources": (flow) => addressFrame(4, 14 + 15, flow),
  "IPv4 destinations": (flow) => addressFrame(4, 14 + 19, flow),
  "IPv6 sources": (flow) => addressFrame(6, 14 + 23, flow),
  "IPv6 destinations": (flow) => addressFrame(6, 14 + 39, flow),
  "stations of no IP": (flow) => makeFrame(TO, stationAddress(1000 + flow)),
};

function portsFrame(more: Partial<Packet>, source: number, destination: number): Uint8Array {
  return build({ ...packetOf(0), ...more, ports: [source, destination] }, false).frame;
}

function addressFrame(version: 4 | 6, at: number, value: number): Uint8Array {
  const { frame } = build({ ...packetOf(0), version }, false);
  frame[at] = value;
  return frame;
}

for (const [what, frameOfFlow] of Object.entries(SPREADS)) {
  Deno.test(`SwitchSim spreads flows that differ in ${what} over the receive queues`, async () => {
    for (const pairs of [2, 3, 5, 8, 16]) {
      const sim = await simWith(pairs);
      const counts = new Array<number>(pairs).fill(0);
      for (let flow = 0; flow < 256; flow += 64) {
        const burst = Array.from({ length: 64 }, (_, i) => frameOfFlow(flow + i));
        deliver(sim, burst).forEach((frames, i) => counts[i]! += frames.length);
      }
      strictEqual(counts.reduce((sum, count) => sum + count, 0), 256);
      // A fair share is 256 / pairs; a hash that ignores the field puts everything in one queue.
      ok(counts.every((count) => count > 256 / pairs / 4), `${pairs} queues: ${counts}`);
    }
  });
}

Deno.test("SwitchSim uses most of 128 receive queues", async () => {
  const sim = await simWith(128);
  const used = new Set<number>();
  for (let flow = 0; flow < 512; flow++) {
    used.add(queueOf(sim, portsFrame({}, flow, 443)));
  }
  ok(used.size > 110, `${used.size}`);
});

for (const pairs of [2, 3, 4, 128]) {
  Deno.test(`SwitchSim shifts the choice among ${pairs} queues by the sender's pair`, async () => {
    const sim = await simWith(pairs);
    for (let flow = 0; flow < 12; flow++) {
      const queues = [0, 1, 2, 3].map((pair) => queueOf(sim, frameOf(flow, 0), pair));
      const wanted = [0, 1, 2, 3].map((pair) => (queues[0]! + pair) % pairs);
      deepStrictEqual(queues, wanted, `flow ${flow}`);
    }
  });
}

Deno.test("SwitchSim never uses a receive queue that is disabled or stopped (G93, G94)", async () => {
  const sim = await simWith(4);
  const { records } = sim.guests[1]!;
  const burst = Array.from({ length: 60 }, (_, flow) => frameOf(flow, 0));
  const usedQueues = (): number[] =>
    deliver(sim, burst).flatMap((frames, queue) => frames.length > 0 ? [queue] : []);
  deepStrictEqual(usedQueues(), [0, 1, 2, 3]);
  records.setRingEnabled(2, false);
  deepStrictEqual(usedQueues(), [0, 2, 3]);
  records.stopRing(0);
  deepStrictEqual(usedQueues(), [2, 3]);
  records.setRingEnabled(6, false);
  deepStrictEqual(usedQueues(), [2]);
  records.setRingEnabled(4, false);
  deepStrictEqual(usedQueues(), []);
  records.setRingEnabled(2, true);
  deepStrictEqual(usedQueues(), [1]);
  strictEqual(sim.counters(1).transmittedFrames, 5 * 60);
});

Deno.test("SwitchSim works when queue 7 of 8 is enabled first and alone (G95)", async () => {
  const sim = await simWith(8);
  for (let pair = 0; pair < 7; pair++) sim.guests[1]!.records.setRingEnabled(2 * pair, false);
  const queues = deliver(sim, Array.from({ length: 50 }, (_, flow) => frameOf(flow, 0)));
  strictEqual(queues[7]!.length, 50);
});

Deno.test("SwitchSim keeps the frames of other queues when one has no buffers (X21)", async () => {
  const sim = await simWith(2, { buffers: 10, queueSize: 16 });
  const flows = Array.from({ length: 64 }, (_, flow) => flow);
  const full = flows.filter((flow) => queueOf(sim, frameOf(flow, 0)) === 0);
  const other = flows.filter((flow) => !full.includes(flow));
  const burst = [
    ...Array.from({ length: 20 }, (_, i) => frameOf(full[0]!, i)),
    ...Array.from({ length: 10 }, (_, i) => frameOf(other[0]!, i)),
  ];
  const queues = deliver(sim, burst);
  deepStrictEqual(queues[0]!.map(numberOf), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  deepStrictEqual(queues[1]!.map(numberOf), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  strictEqual(sim.counters(1).drops["no buffer"], 10);
});

Deno.test("SwitchSim keeps the other queues of a guest when one of its rings is broken (R2)", async () => {
  const sim = await simWith(2);
  const flows = Array.from({ length: 64 }, (_, flow) => frameOf(flow, 0));
  const before = deliver(sim, flows);
  sim.guests[1]!.raw(0).availIndex += 1000;
  const after = deliver(sim, flows);
  deepStrictEqual(after, [[], before[1]]);
  ok(sim.fault(1, 0) !== 0);
  strictEqual(sim.counters(1).drops["not ready"], before[0]!.length);
});

Deno.test("SwitchSim puts the pieces of a super-packet where its flow's frames go (L21)", async () => {
  const sim = await simWith(3);
  for (let flow = 0; flow < 24; flow++) {
    const packet = packetOf(flow, 900);
    const queue = queueOf(sim, build(packetOf(flow), false).frame);
    const header = offloadHeader(packet, 100);
    const queues = deliver(sim, [build(packet, true).frame], 0, header);
    const pieces = cut(packet, 100).map((piece) => build(piece, false).frame);
    deepStrictEqual(queues, queues.map((_, i) => i === queue ? pieces : []));
  }
});

Deno.test("SwitchSim keeps all fragments of a datagram in one queue (RFC 791, 3.1)", async () => {
  const sim = await simWith(8);
  for (let flow = 0; flow < 40; flow++) {
    const fragments = [0x20, 0x20, 0x00].map((more, i) => {
      const frame = portsFrame({ version: 4, transport: "udp" }, flow + 300 * i, 80 + i);
      frame[20] = more | (i === 2 ? 1 : 0);
      frame[21] = i * 7;
      frame[29] = flow;
      return frame;
    });
    strictEqual(new Set(fragments.map((frame) => queueOf(sim, frame))).size, 1, `flow ${flow}`);
  }
});

Deno.test("SwitchSim takes DF for no fragment: ports still count (RFC 791, 3.1)", async () => {
  const sim = await simWith(8);
  const queues = Array.from({ length: 40 }, (_, flow) => {
    const frame = portsFrame({ version: 4, transport: "udp" }, flow, 80);
    frame[20] = 0x40;
    return queueOf(sim, frame);
  });
  ok(new Set(queues).size > 4);
});

/** Headers that promise more than the frame holds, or something that nobody knows. */
const ODD_STARTS: readonly (readonly number[])[] = [
  [0x08, 0x00],
  [0x08, 0x00, 0x4f, 0, 0, 0, 0, 0, 0, 0, 64, 6],
  [0x08, 0x00, 0x40, 0, 0, 0, 0, 0, 0, 0, 64, 6],
  [0x08, 0x00, 0xff, 0xff],
  [0x86, 0xdd],
  [0x86, 0xdd, 0x60, 0, 0, 0, 0xff, 0xff, 44, 64],
  [0x86, 0xdd, 0x45],
  [0x81, 0x00],
  [0x81, 0x00, 0, 1, 0x08, 0x00],
  [0x81, 0x00, 0, 1, 0x81, 0x00, 0, 2, 0x81, 0x00, 0, 3, 0x08, 0x00],
  [0x88, 0xa8, 0, 1, 0x86, 0xdd, 0x60],
  [0x08, 0x06],
  [0x00, 0x00],
  [0xff, 0xff],
];

Deno.test("SwitchSim delivers short and odd frames once, to whatever queue (L01, L12, L18)", async () => {
  for (const pairs of [2, 3, 128]) {
    const sim = await simWith(pairs);
    for (const start of ODD_STARTS) {
      for (const length of [14, 15, 18, 22, 33, 34, 38, 53, 54, 60, 63, 64, 65, 66, 200]) {
        const frame = makeFrame(TO, FROM, length, length);
        frame.set(start.slice(0, length - 12), 12);
        queueOf(sim, frame);
      }
    }
    ok(sim.guests[1]!.isCanaryAlive);
  }
});
