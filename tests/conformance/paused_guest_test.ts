/**
 * A guest that is paused with full rings while others talk (G96): it costs them nothing, finds what
 * came while there was room, and goes on where it was.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { featureSet, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { STEADY_NUMBER, SteadyReceiver, SteadySender } from "../support/steady_rings.ts";

/** Entries of the paused guest's rings. */
const SIZE = 64;
/** Frames between the others meanwhile. */
const FRAMES = 100_000;
/** Frames of a turn: half to the receiver, half to everybody. */
const BURST = 64;
const [PAUSED, SENDER, RECEIVER] = [0, 1, 2];

for (const format of [[], [VIRTIO_F_RING_PACKED]]) {
  const name = format.length > 0 ? "packed" : "split";
  Deno.test(`SwitchSim lets a guest with full ${name} rings pause for as long as it likes (G96)`, async () => {
    const features = featureSet(VIRTIO_F_VERSION_1, ...format);
    const other = { buffers: 0, sendBytes: 2 ** 20 };
    const paused = { features, queueSize: SIZE, buffers: SIZE };
    const sim = await SwitchSim.create([paused, other, other]);
    const beside = new Beside(sim);
    fillTransmitQueue(sim.guests[PAUSED]!);
    for (let sent = 0; sent < FRAMES; sent += BURST) beside.pass();
    const { transmittedFrames, ringFaults, drops } = sim.counters(PAUSED);
    // One more came while the switch learned where the others are.
    deepStrictEqual([transmittedFrames, ringFaults], [1 + SIZE, 0]);
    strictEqual(drops["no buffer"], beside.flooded - SIZE);
    resume(sim, beside);
    ok(sim.guests.every(({ isCanaryAlive }) => isCanaryAlive));
  });
}

/** Frames from one bystander to the other and to everybody. */
class Beside {
  /** Frames sent to everybody. */
  flooded = 0;
  readonly #sim: SwitchSim;
  readonly #sender: SteadySender;
  readonly #receiver: SteadyReceiver;
  #arrived = 0;

  constructor(sim: SwitchSim) {
    this.#sim = sim;
    const [, sender, receiver] = sim.guests;
    const frames = [stationAddress(RECEIVER), BROADCAST].map((to) => {
      return makeFrame(to, stationAddress(SENDER), 100);
    });
    this.#sender = new SteadySender(sender!, frames);
    this.#receiver = new SteadyReceiver(receiver!);
    receiver!.send(makeFrame(BROADCAST, stationAddress(RECEIVER)));
    sim.settle();
    // That frame is in the paused guest's ring as well.
    sim.guests[PAUSED]!.receive();
  }

  /** Passes a burst on; every frame arrives, in its order. */
  pass(): void {
    this.#sender.send(BURST);
    this.#sim.settle();
    strictEqual(this.#sender.takeSent(), BURST);
    this.#receiver.receive((frame) => {
      // What the paused guest sent before has another length.
      if (frame.length === 100) strictEqual(numberOf(frame), this.#arrived++);
    });
    this.flooded += BURST / 2;
    strictEqual(this.#arrived, 2 * this.flooded);
  }
}

/** Its vCPUs stop just when everything it may send is in the queue. */
function fillTransmitQueue(guest: GuestSim): void {
  for (let i = 0; i < SIZE; i++) guest.send(makeFrame(BROADCAST, stationAddress(PAUSED), 60));
}

/** The guest finds its rings as it may expect them, and both carry frames. */
function resume(sim: SwitchSim, beside: Beside): void {
  const guest = sim.guests[PAUSED]!;
  strictEqual(guest.takeSent().length, SIZE);
  const first = guest.receive().map(({ frame }) => numberOf(frame));
  // Every other frame was for everybody; the first ones found room.
  deepStrictEqual(first, Array.from({ length: SIZE }, (_, i) => 2 * i + 1));
  const before = 2 * beside.flooded;
  beside.pass();
  const next = guest.receive().map(({ frame }) => numberOf(frame));
  deepStrictEqual(next, Array.from({ length: BURST / 2 }, (_, i) => before + 2 * i + 1));
  const sent = sim.counters(PAUSED).receivedFrames;
  guest.send(makeFrame(BROADCAST, stationAddress(PAUSED), 60));
  sim.settle();
  strictEqual(sim.counters(PAUSED).receivedFrames, sent + 1);
}

function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(STEADY_NUMBER, true);
}
