import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);
const MERGEABLE = featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF);
const INDIRECT = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC);

/** Every length that copying code treats in its own way, and those around it. */
const LENGTHS = [
  ...Array.from({ length: 287 }, (_, i) => 14 + i),
  ...[320, 335, 336, 337, 511, 512, 513, 1023, 1024, 1025, 1500, 1513, 1514, 1515, 1518, 1522],
  ...[2047, 2048, 2049, 4095, 4096, 4097, 9000, 9014, 16384, 32767, 32768, 65535, 65548, 65549],
];

for (const features of [0n, featureSet(VIRTIO_F_VERSION_1)]) {
  const name = `SwitchSim copies frames of every length with features ${features.toString(16)}`;
  Deno.test(name, async () => {
    const options = { features, buffers: 4, bufferBytes: 65561 };
    const sim = await SwitchSim.create([options, options]);
    for (const length of LENGTHS) {
      const frame = makeFrame(TO, FROM, length, length);
      sim.guests[0]!.send(frame);
      sim.turn();
      sim.guests[0]!.takeSent();
      deepStrictEqual(sim.guests[1]!.receive().map((received) => received.frame), [frame]);
    }
    ok(sim.guests[1]!.isCanaryAlive);
  });
}

Deno.test("SwitchSim changes nothing behind a frame in its buffer, nor anything of the sender (L23)", async () => {
  const sim = await SwitchSim.create([{}, { buffers: 1, bufferBytes: 512 }]);
  const [sender, receiver] = sim.guests;
  for (const length of [14, 15, 16, 17, 31, 33, 59, 60, 63, 64, 65, 79, 80, 81, 255, 256, 300]) {
    receiver!.memory.bytes.fill(0xa5, ...bufferOf(receiver!));
    sender!.send(makeFrame(TO, FROM, length));
    const before = sender!.memory.bytes.slice(...sendArea(sender!));
    sim.turn();
    deepStrictEqual(sender!.memory.bytes.slice(...sendArea(sender!)), before);
    const [start, end] = bufferOf(receiver!);
    const behind = receiver!.memory.bytes.slice(start + 12 + length, end);
    deepStrictEqual(behind, new Uint8Array(behind.length).fill(0xa5), `${length} bytes`);
    receiver!.receive();
  }
});

/** The only receive buffer that the guest posted; it lies behind both rings. */
function bufferOf(guest: SwitchSim["guests"][number]): [number, number] {
  const start = Math.ceil(guest.raw(1).places.end / 64) * 64;
  return [start, start + 512];
}

function sendArea(guest: SwitchSim["guests"][number]): [number, number] {
  const start = bufferOf(guest)[1];
  return [start, start + 65536];
}

Deno.test("SwitchSim copies a frame cut anywhere into a buffer cut anywhere", async () => {
  const sim = await SwitchSim.create([{}, { buffers: 0 }]);
  const [sender, receiver] = sim.guests;
  const length = 100;
  const total = 12 + length;
  for (let cut = 1; cut < total; cut++) {
    for (const writeCut of [1, 11, 12, 13, 27, 28, 29, 75, 76, 77, total - 1, cut]) {
      const frame = makeFrame(TO, FROM, length, cut + writeCut);
      receiver!.postNew([writeCut, total - writeCut]);
      sender!.send(frame, { pieces: [cut] });
      sim.turn();
      sender!.takeSent();
      deepStrictEqual(receiver!.takeChains()[0]?.bytes.slice(12), frame, `${cut} ${writeCut}`);
    }
  }
});

/** Lengths of pieces: mostly short ones, around the widths that code copies by. */
const pieces = (maxLength: number) =>
  fc.array(fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 3000 })), {
    maxLength,
  });
const frameLength = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 14, max: 400 }) },
  { weight: 2, arbitrary: fc.integer({ min: 400, max: 3000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 3000, max: 65549 }) },
);

Deno.test("SwitchSim copies frames in any pieces to buffers in any pieces", async () => {
  const sim = await SwitchSim.create([
    { features: INDIRECT, sendBytes: 1 << 20 },
    { features: MERGEABLE, buffers: 0, sendBytes: 1 << 20 },
  ]);
  const [sender, receiver] = sim.guests;
  fc.assert(
    fc.property(
      ...[frameLength, pieces(40), fc.boolean(), fc.array(pieces(8), { maxLength: 6 })] as const,
      (length, cuts, isIndirect, posted) => {
        const frame = makeFrame(TO, FROM, length, cuts.length);
        const chains = posted.filter((lengths) => lengths.reduce((a, b) => a + b, 0) >= 12);
        for (const lengths of chains) receiver!.postNew(lengths);
        receiver!.postNew([70_000]);
        sender!.send(frame, { pieces: cuts, isIndirect });
        sim.turn();
        sender!.takeSent();
        strictEqual(receivedBytes(receiver!, frame), true);
        drain(sim);
      },
    ),
    { numRuns: 1500 },
  );
  ok(sim.guests.every(({ isCanaryAlive }) => isCanaryAlive));
});

/** Whether the used chains hold exactly this frame and say so in num_buffers. */
function receivedBytes(receiver: SwitchSim["guests"][number], frame: Uint8Array): boolean {
  const chains = receiver.takeChains();
  const bytes = chains.flatMap((chain) => [...chain.bytes]);
  strictEqual(bytes[10]! | bytes[11]! << 8, chains.length);
  strictEqual(bytes.length, 12 + frame.length);
  return frame.every((byte, i) => byte === bytes[12 + i]);
}

/** Uses up the receive chains that a frame left over. */
function drain(sim: SwitchSim): void {
  const [sender, receiver] = sim.guests;
  while (receiver!.pairs[0]!.receive.outstanding > 0) {
    sender!.send(makeFrame(TO, FROM));
    sim.turn();
    sender!.takeSent();
    receiver!.takeChains();
  }
}
