import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, SwitchSim } from "../support/guest_sim.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);

function frames(count: number, first = 0): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => makeFrame(TO, FROM, 60 + (i % 200), first + i));
}

async function twoGuests(options: GuestOptions = {}): Promise<SwitchSim> {
  return await SwitchSim.create([options, options]);
}

for (const queueSize of [1, 2, 256, 32768]) {
  Deno.test(`SwitchSim carries frames in order over rings of ${queueSize} entries (2.7, G22)`, async () => {
    const sim = await twoGuests({ queueSize, buffers: Math.min(queueSize, 512), bufferBytes: 512 });
    const batch = Math.min(queueSize, 512);
    for (let round = 0; round < 3; round++) {
      const sent = frames(batch, round);
      for (const frame of sent) sim.guests[0]!.send(frame);
      sim.settle();
      deepStrictEqual(sim.guests[1]!.receive().map(({ frame }) => frame), sent);
      strictEqual(sim.guests[0]!.takeSent().length, batch);
    }
    ok(sim.guests.every(({ isCanaryAlive }) => isCanaryAlive));
  });
}

Deno.test("SwitchSim fills every entry of the largest ring (2.7)", async () => {
  const sim = await twoGuests({ queueSize: 32768, buffers: 32768, bufferBytes: 128 });
  const [sender, receiver] = sim.guests;
  for (let i = 0; i < 32768; i++) sender!.send(makeFrame(TO, FROM, 60, i));
  sim.settle();
  strictEqual(receiver!.takeChains().length, 32768);
  strictEqual(sender!.takeSent().length, 32768);
});

Deno.test("SwitchSim carries frames across the wrap of every index from 65535 to 0 (2.7.6, G05)", async () => {
  const sim = await twoGuests();
  const sent = frames(64);
  for (let done = 0; done < 70_000; done += sent.length) {
    for (const frame of sent) sim.guests[0]!.send(frame);
    strictEqual(sim.turn(), sent.length);
    strictEqual(sim.guests[1]!.receive().length, sent.length);
    strictEqual(sim.guests[0]!.takeSent().length, sent.length);
  }
  strictEqual(sim.counters(1).transmittedFrames, 1094 * 64);
});

Deno.test("SwitchSim takes a full ring whose index wraps from 65535 to 0 (2.7.6, G02)", async () => {
  const sim = await twoGuests({ queueSize: 8 });
  const [sender] = sim.guests;
  for (const frame of frames(8)) sender!.send(frame);
  const ring = sender!.raw(1);
  ring.availIndex = (65535 + 8) & 0xffff;
  ring.usedIndex = 65535;
  ring.skipUsed(65535);
  // Entry 65535 & 7 comes first, so the heads turn around by one place.
  sender!.startRing(1, 65535);
  strictEqual(sim.turn(), 8);
  strictEqual(ring.usedIndex, 7);
  deepStrictEqual(ring.takeUsed().map(({ id }) => id), [7, 0, 1, 2, 3, 4, 5, 6]);
});

Deno.test("SwitchSim returns transmit chains in order and with length 0 (5.1.6.2)", async () => {
  const sim = await twoGuests();
  for (const frame of frames(100)) sim.guests[0]!.send(frame);
  const ring = sim.guests[0]!.raw(1);
  sim.settle();
  const heads = Array.from({ length: 100 }, (_, id) => ({ id, len: 0 }));
  deepStrictEqual(ring.takeUsed(), heads);
});

Deno.test("SwitchSim takes at most 64 chains of a ring in one turn", async () => {
  const sim = await twoGuests();
  for (const frame of frames(150)) sim.guests[0]!.send(frame);
  deepStrictEqual([sim.turn(), sim.turn(), sim.turn(), sim.turn()], [64, 64, 22, 0]);
});

Deno.test("SwitchSim takes each ring of its list in a turn", async () => {
  const sim = await SwitchSim.create([{ pairs: 3 }, { pairs: 2 }]);
  for (let pair = 0; pair < 3; pair++) sim.guests[0]!.send(frames(1)[0]!, { pair });
  for (let pair = 0; pair < 2; pair++) sim.guests[1]!.send(frames(1)[0]!, { pair });
  strictEqual(sim.turn(), 5);
});

Deno.test("SwitchSim spreads the pairs of a sender over the receive queues of the destination", async () => {
  const sim = await SwitchSim.create([{ pairs: 4 }, { pairs: 2 }]);
  for (let pair = 0; pair < 4; pair++) {
    sim.guests[0]!.send(makeFrame(TO, FROM, 60, pair), { pair });
  }
  sim.turn();
  const marks = [0, 1].map((pair) =>
    sim.guests[1]!.receive(pair).map(({ frame }) => (frame[59]! - 59 * 7) & 0xff)
  );
  deepStrictEqual(marks, [[0, 2], [1, 3]]);
});

Deno.test("SwitchSim uses only receive queues that run (G94)", async () => {
  const sim = await SwitchSim.create([{ pairs: 2 }, { pairs: 2 }]);
  sim.guests[1]!.records.stopRing(0);
  for (let pair = 0; pair < 2; pair++) sim.guests[0]!.send(frames(1)[0]!, { pair });
  sim.turn();
  strictEqual(sim.guests[1]!.receive(1).length, 2);
});

Deno.test("SwitchSim carries frames with several poll loops over one receive queue", async () => {
  const sim = await SwitchSim.create([{}, {}, {}], { workers: 2 });
  for (const guest of [0, 1]) {
    for (let i = 0; i < 30; i++) {
      sim.guests[guest]!.send(makeFrame(TO, stationAddress(10 + guest), 60, i));
    }
  }
  sim.settle();
  strictEqual(sim.guests[2]!.receive().length, 60);
  strictEqual(sim.counters(2).transmittedFrames, 60);
});

Deno.test("SwitchSim leaves a ring that is not started alone", async () => {
  const sim = await twoGuests();
  sim.guests[0]!.records.stopRing(1);
  sim.guests[0]!.send(frames(1)[0]!);
  strictEqual(sim.turn(), 0);
  strictEqual(sim.guests[0]!.takeSent().length, 0);
});

Deno.test("SwitchSim drains and drops what a started but disabled queue sends (G93)", async () => {
  const sim = await twoGuests();
  sim.guests[0]!.records.setRingEnabled(1, false);
  for (const frame of frames(3)) sim.guests[0]!.send(frame);
  strictEqual(sim.turn(), 3);
  strictEqual(sim.guests[0]!.takeSent().length, 3);
  strictEqual(sim.guests[1]!.receive().length, 0);
  strictEqual(sim.counters(0).drops["queue disabled"], 3);
  strictEqual(sim.counters(0).receivedFrames, 0);
  strictEqual(sim.counters(0).learned, 0);
});

Deno.test("SwitchSim writes nothing into a started but disabled receive queue (G93)", async () => {
  const sim = await SwitchSim.create([{}, { pairs: 2 }]);
  const [sender, receiver] = sim.guests;
  receiver!.send(makeFrame(FROM, TO));
  sim.settle();
  receiver!.records.setRingEnabled(0, false);
  receiver!.records.setRingEnabled(2, false);
  const before = receiver!.memory.bytes.slice();
  sender!.send(frames(1)[0]!);
  sim.settle();
  deepStrictEqual(receiver!.memory.bytes, before);
  strictEqual(sim.counters(1).drops["not ready"], 1);
  strictEqual(sender!.takeSent().length, 1);
});

Deno.test("SwitchSim carries frames again once a queue is enabled", async () => {
  const sim = await twoGuests();
  sim.guests[1]!.records.setRingEnabled(0, false);
  sim.guests[0]!.send(frames(1)[0]!);
  sim.settle();
  sim.guests[1]!.records.setRingEnabled(0, true);
  sim.guests[0]!.send(frames(1)[0]!);
  sim.settle();
  strictEqual(sim.guests[1]!.receive().length, 1);
});
