import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, type SendOptions, SwitchSim } from "../support/guest_sim.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);
const PACKED = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED);
const INDIRECT = PACKED | featureSet(VIRTIO_F_INDIRECT_DESC);
const MERGEABLE = PACKED | featureSet(VIRTIO_NET_F_MRG_RXBUF);
const EVENTS = PACKED | featureSet(VIRTIO_F_EVENT_IDX);
/** VIRTQ_DESC_F_WRITE (2.8.6) and what a used descriptor may have besides: nothing but marks. */
const WRITE = 2;
const MARKS = 0x8080;

/** Sends a burst of numbered frames and checks that the receiver gets just these. */
function exchange(sim: SwitchSim, count: number, mark: number, send: SendOptions = {}): void {
  const [sender, receiver] = sim.guests;
  const frames = Array.from({ length: count }, (_, i) => makeFrame(TO, FROM, 60 + i % 9, mark + i));
  for (const frame of frames) sender!.send(frame, send);
  sim.settle();
  deepStrictEqual(receiver!.receive().map(({ frame }) => frame), frames);
  deepStrictEqual(sender!.takeSent().map(({ length }) => length), new Array(count).fill(0));
}

for (const size of [1, 2, 3, 5, 255, 256]) {
  for (const features of [PACKED, EVENTS]) {
    const name = `SwitchSim carries frames round and round a packed ring of ${size}`;
    Deno.test(`${name} with features ${features.toString(16)} (2.8, G22)`, async () => {
      const guest = { features, queueSize: size };
      const sim = await SwitchSim.create([guest, guest]);
      const burst = Math.min(size, 64);
      for (let done = 0; done < 5 * size + 2; done += burst) exchange(sim, burst, done);
      ok(sim.guests[1]!.isCanaryAlive);
    });
  }
}

Deno.test("SwitchSim carries frames round and round a packed ring of 32768 (2.8, G22)", async () => {
  const guest = { features: PACKED, queueSize: 32768, sendBytes: 16384 };
  const sim = await SwitchSim.create([guest, guest]);
  const [sender, receiver] = sim.guests;
  let received = 0;
  for (let sent = 0; sent < 2 * 32768 + 64; sent += 64) {
    for (let i = 0; i < 64; i++) sender!.send(makeFrame(TO, FROM, 14 + i));
    sim.turn();
    sender!.takeSent();
    received += receiver!.receive().filter(({ frame }, i) => frame.length === 14 + i).length;
  }
  strictEqual(received, 2 * 32768 + 64);
});

Deno.test("SwitchSim carries frames between packed and split rings", async () => {
  const split = { queueSize: 16 };
  const packed = { features: PACKED, queueSize: 11 };
  for (const [from, to] of [[split, packed], [packed, split]]) {
    const sim = await SwitchSim.create([from!, to!]);
    for (let i = 0; i < 12; i++) exchange(sim, 7, i);
  }
});

for (const size of [3, 4, 7]) {
  for (const chain of [2, 3]) {
    const name = `SwitchSim takes chains of ${chain} at every place of a packed ring of ${size}`;
    Deno.test(`${name} (2.8.6, G91)`, async () => {
      const sim = await SwitchSim.create([{ features: PACKED, queueSize: size }, {}]);
      for (let i = 0; i < 4 * size; i++) {
        exchange(sim, 1, i, { pieces: new Array(chain - 1).fill(20) });
      }
    });

    const fills = `SwitchSim fills chains of ${chain} at every place of a packed ring of ${size}`;
    Deno.test(`${fills} (2.8.6, G91)`, async () => {
      const receiver = { features: PACKED, queueSize: size, buffers: 0 };
      const sim = await SwitchSim.create([{}, receiver]);
      for (let i = 0; i < 4 * size; i++) {
        const lengths = chain === 2 ? [30, 500] : [5, 40, 100];
        sim.guests[1]!.postNew(lengths);
        const frame = makeFrame(TO, FROM, 90, i);
        sim.guests[0]!.send(frame);
        sim.settle();
        const [used] = sim.guests[1]!.takeChains();
        deepStrictEqual(used?.bytes.slice(12), frame);
        strictEqual(used?.length, 12 + 90);
        sim.guests[0]!.takeSent();
      }
      ok(sim.guests[1]!.isCanaryAlive);
    });
  }
}

for (const size of [1, 2, 16, 255]) {
  Deno.test(`SwitchSim takes a chain as long as a packed ring of ${size} (2.8.6, G28)`, async () => {
    const sim = await SwitchSim.create([{ features: PACKED, queueSize: size }, {}]);
    for (let i = 0; i < 3; i++) exchange(sim, 1, i, { pieces: new Array(size - 1).fill(1) });
  });
}

for (const entries of [1, 2, 17, 300]) {
  const name = `SwitchSim takes a table of ${entries} from a packed ring of 4, larger ones too`;
  Deno.test(`${name} (2.8.7)`, async () => {
    const sim = await SwitchSim.create([{ features: INDIRECT, queueSize: 4 }, {}]);
    const frame = makeFrame(TO, FROM, 400);
    const pieces = new Array(entries - 1).fill(1);
    for (let i = 0; i < 9; i++) {
      sim.guests[0]!.send(frame, { pieces, isIndirect: true });
      sim.settle();
      deepStrictEqual(sim.guests[1]!.receive().map((one) => one.frame), [frame]);
      strictEqual(sim.guests[0]!.takeSent().length, 1);
    }
  });
}

Deno.test("SwitchSim fills receive buffers that a table of a packed ring lists (2.8.7)", async () => {
  const sim = await SwitchSim.create([{}, { features: INDIRECT, buffers: 0, queueSize: 3 }]);
  const [sender, receiver] = sim.guests;
  const table = receiver!.memory.localOf(receiver!.allocate(48));
  const buffers = [12, 30, 100].map((length) => ({
    address: Number(receiver!.allocate(length)),
    length,
    isWritable: true,
  }));
  receiver!.pairs[0]!.receive.addIndirect(buffers, 0, table);
  receiver!.pairs[0]!.receive.publish();
  const frame = makeFrame(TO, FROM);
  sender!.send(frame);
  sim.turn();
  deepStrictEqual(receiver!.pairs[0]!.receive.take(), { token: 0, length: 12 + frame.length });
  const got = [1, 2].map((i) => receiver!.memory.read(BigInt(buffers[i]!.address), 30));
  deepStrictEqual(got, [frame.slice(0, 30), frame.slice(30)]);
});

async function receiving(options: GuestOptions): Promise<SwitchSim> {
  return await SwitchSim.create([{}, { features: MERGEABLE, ...options }]);
}

for (const bufferBytes of [64, 1526]) {
  const name = `SwitchSim fills packed receive buffers of ${bufferBytes} bytes but the last one`;
  Deno.test(`${name} (5.1.6.4)`, async () => {
    const sim = await receiving({ bufferBytes, buffers: 60, queueSize: 61 });
    for (const length of [14, 51, 52, 53, 1514, 2 * bufferBytes - 12, 3000]) {
      const frame = makeFrame(TO, FROM, length);
      sim.guests[0]!.send(frame);
      sim.settle();
      const [received] = sim.guests[1]!.receive();
      deepStrictEqual(received?.frame, frame);
      const count = Math.ceil((12 + length) / bufferBytes);
      strictEqual(received!.header[10]! | received!.header[11]! << 8, count);
      const full = new Array(count - 1).fill(bufferBytes);
      deepStrictEqual(received?.lengths, [...full, 12 + length - (count - 1) * bufferBytes]);
    }
    ok(sim.guests[1]!.isCanaryAlive);
  });
}

Deno.test("SwitchSim uses all packed buffers of a frame or none when too few are there (G88)", async () => {
  const sim = await receiving({ bufferBytes: 256, buffers: 4, queueSize: 9 });
  const [sender, receiver] = sim.guests;
  const ring = receiver!.rawPacked(0);
  const before = Array.from({ length: 9 }, (_, slot) => ring.flags(slot));
  sender!.send(makeFrame(TO, FROM, 4 * 256 - 12 + 1));
  sim.settle();
  deepStrictEqual(Array.from({ length: 9 }, (_, slot) => ring.flags(slot)), before);
  strictEqual(sim.counters(1).drops["no buffer"], 1);
  const frame = makeFrame(TO, FROM, 4 * 256 - 12);
  sender!.send(frame);
  sim.settle();
  deepStrictEqual(receiver!.receive()[0]?.frame, frame);
});

Deno.test("SwitchSim drops a frame that fits no packed buffer and leaves the buffer posted (G83)", async () => {
  const sim = await SwitchSim.create([{}, { features: PACKED, bufferBytes: 128, buffers: 2 }]);
  const [sender, receiver] = sim.guests;
  sender!.send(makeFrame(TO, FROM, 128 - 12 + 1));
  sim.settle();
  strictEqual(sim.counters(1).drops["too big"], 1);
  strictEqual(receiver!.rawPacked(0).used(0), null);
  sender!.takeSent();
  exchange(sim, 2, 0);
});

Deno.test("SwitchSim drops frames without a packed receive buffer and recovers at once (G85)", async () => {
  const sim = await SwitchSim.create([{}, { features: PACKED, buffers: 0, queueSize: 7 }]);
  for (let i = 0; i < 100; i++) {
    sim.guests[0]!.send(makeFrame(TO, FROM));
    sim.turn();
    sim.guests[0]!.takeSent();
  }
  strictEqual(sim.counters(1).drops["no buffer"], 100);
  sim.guests[1]!.postNew([2048]);
  sim.guests[0]!.send(makeFrame(TO, FROM, 77));
  sim.turn();
  deepStrictEqual(sim.guests[1]!.takeChains().map(({ length }) => length), [12 + 77]);
});

Deno.test("SwitchSim uses packed chains in their order and writes used descriptors in full (2.8.8)", async () => {
  const sim = await SwitchSim.create([{ features: PACKED, queueSize: 8 }, {}]);
  const [sender] = sim.guests;
  const ring = sender!.rawPacked(1);
  const at = sender!.allocate(300);
  const frame = makeFrame(TO, FROM);
  sender!.memory.write(at + 12n, frame);
  const one = { addr: at, len: 72 };
  const two = [{ addr: at, len: 12, flags: 1, id: 7 }, { addr: at + 12n, len: 60, id: 3 }];
  ring.offer([{ ...one, id: 5 }, ...two, { ...one, id: 0 }]);
  sim.turn();
  // The last descriptor of a chain names it; a chain of two takes two slots (2.8.4).
  const wanted = [[0, 5], [1, 3], [3, 0]] as const;
  for (const [slot, id] of wanted) deepStrictEqual(ring.used(slot), { id, len: 0, flags: MARKS });
  deepStrictEqual(sim.guests[1]!.receive().map((received) => received.frame), [
    frame,
    frame,
    frame,
  ]);
});

Deno.test("SwitchSim sets the write flag of a used descriptor that it wrote to (2.8.8)", async () => {
  const sim = await SwitchSim.create([{}, { features: PACKED, buffers: 0, queueSize: 4 }]);
  const ring = sim.guests[1]!.rawPacked(0);
  sim.guests[1]!.postNew([200]);
  sim.guests[0]!.send(makeFrame(TO, FROM));
  sim.turn();
  const { flags, len } = ring.used(0)!;
  deepStrictEqual([flags, len], [MARKS | WRITE, 72]);
});

Deno.test("SwitchSim goes on where a packed ring stood when it was stopped (2.8.1)", async () => {
  for (const size of [3, 8]) {
    const sim = await SwitchSim.create([{ features: PACKED, queueSize: size }, {}]);
    for (let i = 0; i < 3 * size; i++) {
      const wrap = Math.trunc(i / size) % 2 === 0 ? 0x8000 : 0;
      sim.guests[0]!.records.stopRing(1);
      sim.guests[0]!.startRing(1, i % size | wrap);
      exchange(sim, 1, i);
    }
  }
});

Deno.test("SwitchSim discards frames of a packed queue that is started but disabled (G93)", async () => {
  const sim = await SwitchSim.create([{ features: PACKED, queueSize: 5 }, {}]);
  const [sender, receiver] = sim.guests;
  sender!.records.setRingEnabled(1, false);
  for (let i = 0; i < 12; i++) {
    sender!.send(makeFrame(TO, FROM), { pieces: [12] });
    sim.turn();
    deepStrictEqual(sender!.takeSent().map(({ length }) => length), [0]);
  }
  strictEqual(sim.counters(0).drops["queue disabled"], 12);
  deepStrictEqual(receiver!.receive(), []);
  sender!.records.setRingEnabled(1, true);
  exchange(sim, 1, 0);
});

Deno.test("SwitchSim writes nothing into a packed receive queue that is disabled (G93)", async () => {
  const sim = await SwitchSim.create([{}, { features: PACKED }, {}]);
  // Its transmit queue is told not to kick.
  sim.turn();
  const before = sim.guests[1]!.memory.bytes.slice();
  sim.guests[1]!.records.setRingEnabled(0, false);
  sim.guests[0]!.send(makeFrame(TO, FROM));
  sim.turn();
  deepStrictEqual(sim.guests[1]!.memory.bytes, before);
});

Deno.test("SwitchSim leaves a packed ring alone that has nothing new (G14)", async () => {
  const sim = await SwitchSim.create([{ features: PACKED }, {}]);
  sim.turn();
  const before = sim.guests[0]!.memory.bytes.slice();
  for (let i = 0; i < 100; i++) strictEqual(sim.turn(), 0);
  deepStrictEqual(sim.guests[0]!.memory.bytes, before);
});
