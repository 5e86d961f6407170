import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  featureSet,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, SwitchSim } from "../support/guest_sim.ts";
import { checksumOf, NEEDS_CSUM, onesSum, virtioHeader } from "../support/packets.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);
const SENDER = featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_CSUM);
const MERGEABLE = featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF);

async function pairWith(receiver: GuestOptions): Promise<SwitchSim> {
  return await SwitchSim.create([{ features: SENDER }, receiver]);
}

/** What a frame is to become when the sum of everything from `start` on is put at start + offset. */
function finished(frame: Uint8Array, start: number, offset: number): Uint8Array {
  const copy = frame.slice();
  new DataView(copy.buffer).setUint16(start + offset, checksumOf(frame.subarray(start)));
  return copy;
}

function check(
  sim: SwitchSim,
  frame: Uint8Array,
  start: number,
  offset: number,
  pieces: readonly number[] = [],
): void {
  const header = virtioHeader({ flags: NEEDS_CSUM, csum_start: start, csum_offset: offset });
  sim.guests[0]!.send(frame, { header, pieces });
  sim.turn();
  sim.guests[0]!.takeSent();
  const [received] = sim.guests[1]!.receive();
  deepStrictEqual(received?.frame, finished(frame, start, offset), `${start} ${offset}`);
  deepStrictEqual([...received!.header.slice(0, 10)], new Array(10).fill(0));
}

for (const bufferBytes of [64, 71, 2048]) {
  const name = `SwitchSim finishes checksums anywhere in receive buffers of ${bufferBytes} bytes`;
  Deno.test(`${name} (5.1.6.2)`, async () => {
    const sim = await pairWith({ features: MERGEABLE, bufferBytes, buffers: 256 });
    // Behind each other, so that the checksum's two bytes lie in two buffers now and then.
    for (let start = 14; start < 150; start++) {
      check(sim, makeFrame(TO, FROM, 300, start), start, 6);
    }
    for (let offset = 0; offset < 150; offset++) check(sim, makeFrame(TO, FROM, 300), 14, offset);
    ok(sim.guests[1]!.isCanaryAlive);
  });
}

Deno.test("SwitchSim finishes a checksum over sender buffers cut anywhere (5.1.6.2)", async () => {
  const sim = await pairWith({});
  const cases = fc.record({
    length: fc.integer({ min: 16, max: 1800 }),
    start: fc.nat(),
    offset: fc.nat(),
    pieces: fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 20 }),
  });
  fc.assert(
    fc.property(cases, ({ length, start, offset, pieces }) => {
      const at = 14 + start % (length - 15);
      check(sim, makeFrame(TO, FROM, length, start), at, offset % (length - 1 - at), pieces);
    }),
    { numRuns: 400 },
  );
  strictEqual(sim.counters(1).checksummed, 400);
});

Deno.test("SwitchSim finishes a checksum over the largest frame (5.1.6.2)", async () => {
  const sim = await pairWith({ bufferBytes: 65561, buffers: 1 });
  const frame = makeFrame(TO, FROM, 65549);
  frame.fill(0xff, 14);
  check(sim, frame, 34, 16);
  check(sim, makeFrame(TO, FROM, 65549), 35, 16, [77, 1, 4001, 20_003]);
});

Deno.test("SwitchSim never writes zero for a finished checksum: in UDP that means none (RFC 768)", async () => {
  const sim = await pairWith({});
  const frame = makeFrame(TO, FROM);
  const view = new DataView(frame.buffer);
  // The sum of everything is made all ones, whose complement is zero.
  view.setUint16(58, 0);
  view.setUint16(58, 0xffff - onesSum(frame.subarray(34)));
  strictEqual(onesSum(frame.subarray(34)), 0xffff);
  check(sim, frame, 34, 6);
  frame.fill(0, 34);
  check(sim, frame, 34, 6);
});

Deno.test("SwitchSim leaves a checksum open for a receiver that takes it so (5.1.6.4)", async () => {
  const features = featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_GUEST_CSUM);
  const sim = await pairWith({ features });
  const frame = makeFrame(TO, FROM, 700);
  const header = virtioHeader({ flags: NEEDS_CSUM, csum_start: 35, csum_offset: 13 });
  sim.guests[0]!.send(frame, { header });
  sim.turn();
  const [received] = sim.guests[1]!.receive();
  deepStrictEqual(received?.frame, frame);
  deepStrictEqual(received?.header, new Uint8Array([...header, 1, 0]));
  strictEqual(sim.counters(1).checksummed, 0);
});

Deno.test("SwitchSim does not touch the sender's copy of a frame whose checksum it finishes", async () => {
  const sim = await pairWith({});
  sim.turn();
  const [sender] = sim.guests;
  const at = sender!.allocate(72);
  const header = virtioHeader({ flags: NEEDS_CSUM, csum_start: 14, csum_offset: 2 });
  sender!.memory.write(at, new Uint8Array([...header, 0, 0, ...makeFrame(TO, FROM)]));
  const before = sender!.memory.read(at, 72);
  sender!.sendBuffers([{ address: Number(at), length: 72, isWritable: false }]);
  sim.turn();
  strictEqual(sim.counters(1).checksummed, 1);
  deepStrictEqual(sender!.memory.read(at, 72), before);
});
