/**
 * The data plane dies while it gives chains of a packed ring back, and the ring goes on all the same.
 *
 * It is made to die after a certain write: the ring's record is changed so that descriptors before a
 * certain one seem to lie outside of memory, where a write traps. Those behind it seem to lie at the
 * beginning of memory, from where they are put back.
 *
 * @module
 */
import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { resumePacked } from "../../src/control/packed_position.ts";
import { Dataplane, loadDataplane } from "../../src/dataplane/dataplane.ts";
import { ringAt, ringNumber } from "../../src/dataplane/state.ts";
import { RING_DESC } from "../../src/dataplane/state_layout.ts";
import { featureSet, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { WRAP_COUNTER } from "../../src/virtio/packed_layouts.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";

const FEATURES = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED);
const SIZE = 150;
const DESCRIPTOR_BYTES = 16;
/** Descriptors of each chain of the burst. */
const BURST = [1, 1, 3, 1, 2, 4, 1, 1];
const BURST_SLOTS = BURST.reduce((sum, slots) => sum + slots, 0);
/** Where the burst begins: a whole round is passed before the last one. */
const STARTS = [0, 1, SIZE - BURST_SLOTS, SIZE + 7];
const WORKER = 0;
const TRANSMIT = 1;

const MODULES = await loadDataplane();

for (const start of STARTS) {
  const name = `Data plane dies while it gives back descriptors ${start} and on of ${SIZE}`;
  Deno.test(`${name}, and the ring tells where it stands (X06)`, async () => {
    for (let written = 0; written <= BURST_SLOTS; written++) await die(start, written);
  });
}

async function die(start: number, written: number): Promise<void> {
  const sim = await burstAt(start);
  const { memory, transmitRings: [ring] } = sim.guests[0]!;
  const at = ringAt(ring!) + RING_DESC;
  const table = Number(sim.state.get64(at));
  const code = new Dataplane(MODULES, sim.state.memory, sim.guests.map((one) => one.memory.memory))
    .ring(0);
  strictEqual(code.receive(WORKER, ring!), BURST.length);

  const first = start % SIZE + BURST_SLOTS - written;
  const copied = (SIZE - first) * DESCRIPTOR_BYTES;
  const from = table + first * DESCRIPTOR_BYTES;
  const canary = memory.bytes.slice(0, copied);
  memory.bytes.copyWithin(0, from, from + copied);
  sim.state.set64(at, BigInt.asUintN(64, -BigInt(first * DESCRIPTOR_BYTES)));
  const complete = () => code.complete(WORKER, ring!);
  if (written < BURST_SLOTS) throws(complete, WebAssembly.RuntimeError);
  else complete();
  memory.bytes.copyWithin(from, 0, copied);
  memory.bytes.set(canary, 0);

  const words = new Uint16Array(memory.memory.buffer, table, SIZE * DESCRIPTOR_BYTES / 2);
  const position = resumePacked({ words, size: SIZE, isReceiveQueue: false });
  strictEqual(position, offWrap(start + (written > 0 ? BURST_SLOTS : 0)), `${written} written`);
  const tokens = sim.guests[0]!.takeSent().map(({ token }, _, [one]) => token - one!.token);
  deepStrictEqual(tokens, written > 0 ? [...BURST.keys()] : []);
}

// A guest that has sent frame by frame so far, and now a burst that nobody has taken yet.
async function burstAt(start: number): Promise<SwitchSim> {
  const sim = await SwitchSim.create([{ features: FEATURES, queueSize: SIZE }, {}]);
  const [sender] = sim.guests;
  const frame = makeFrame(stationAddress(2), stationAddress(1));
  for (let i = 0; i < start; i++) {
    sender!.send(frame);
    sim.settle();
    sender!.takeSent();
  }
  for (const slots of BURST) sender!.send(frame, { pieces: new Array(slots - 1).fill(1) });
  strictEqual(sender!.transmitRings[0], ringNumber(0, TRANSMIT));
  return sim;
}

function offWrap(position: number): number {
  const isFirstRound = position % (2 * SIZE) < SIZE;
  return position % SIZE + (isFirstRound ? WRAP_COUNTER : 0);
}
