import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Dataplane, loadDataplane, type RingInstance } from "../../src/dataplane/dataplane.ts";
import { ringNumber } from "../../src/dataplane/state.ts";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import {
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
} from "../../src/virtio/packed_layouts.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";

const FLAGS = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED);
const EVENTS = FLAGS | featureSet(VIRTIO_F_EVENT_IDX);
/** Ring numbers, which stand for call descriptors: what guest 0 sends, what guest 1 receives. */
const SENT = ringNumber(0, 1);
const RECEIVED = ringNumber(1, 0);
/** Entries of each ring; no power of two. */
const SIZE = 24;

async function pairOf(features: bigint): Promise<SwitchSim> {
  const options = { features, queueSize: SIZE, buffers: SIZE };
  return await SwitchSim.create([options, options]);
}

/** Sends some frames in one turn and returns who is called; everything used is taken back. */
function callsFor(sim: SwitchSim, count: number): number[] {
  for (let i = 0; i < count; i++) {
    sim.guests[0]!.send(makeFrame(stationAddress(2), stationAddress(1)));
  }
  sim.turn();
  sim.guests[0]!.takeSent();
  sim.guests[1]!.receive();
  return sim.takeCalls().toSorted((a, b) => a - b);
}

/** Says what a guest wants to be called for; `position` counts on through all rounds. */
function wish(guest: GuestSim, index: number, flags: number, position = 0): void {
  const ring = guest.rawPacked(index);
  ring.driverEvent = { off_wrap: ring.offWrap(position), flags };
}

function wishBoth(sim: SwitchSim, flags: number, position = 0): void {
  wish(sim.guests[0]!, 1, flags, position);
  wish(sim.guests[1]!, 0, flags, position);
}

/** The ring code of guest 0, for `arm` and `disarm`. */
async function ringCode(sim: SwitchSim): Promise<RingInstance> {
  const memories = sim.guests.map(({ memory }) => memory.memory);
  return new Dataplane(await loadDataplane(), sim.state.memory, memories).ring(0);
}

for (const features of [FLAGS, EVENTS]) {
  const suffix = `with features ${features.toString(16)}`;

  Deno.test(`SwitchSim calls once per burst of packed chains ${suffix} (2.8.14)`, async () => {
    const sim = await pairOf(features);
    wishBoth(sim, RING_EVENT_FLAGS_ENABLE);
    deepStrictEqual(callsFor(sim, 10), [SENT, RECEIVED]);
    deepStrictEqual(callsFor(sim, 1), [SENT, RECEIVED]);
    strictEqual(sim.counters(0).calls, 2);
  });

  Deno.test(`SwitchSim calls nobody whose packed ring disables events ${suffix} (2.8.14)`, async () => {
    const sim = await pairOf(features);
    sim.guests[0]!.pairs[0]!.transmit.disableCalls();
    wish(sim.guests[1]!, 0, RING_EVENT_FLAGS_ENABLE);
    deepStrictEqual(callsFor(sim, 10), [RECEIVED]);
    sim.guests[1]!.pairs[0]!.receive.disableCalls();
    for (let i = 0; i < 10; i++) deepStrictEqual(callsFor(sim, 11), []);
    sim.guests[0]!.pairs[0]!.transmit.enableCalls();
    deepStrictEqual(callsFor(sim, 10), [SENT]);
  });

  Deno.test(`SwitchSim refuses kicks of the packed rings that it polls ${suffix} (2.8.14)`, async () => {
    const sim = await pairOf(features);
    sim.turn();
    for (let i = 0; i < 5 * SIZE; i++) {
      const isKick = sim.guests[0]!.send(makeFrame(stationAddress(2), stationAddress(1)));
      strictEqual(isKick, false);
      callsFor(sim, 0);
    }
  });

  Deno.test(`SwitchSim wants a kick for the next packed chain before it sleeps ${suffix} (2.8.14)`, async () => {
    const sim = await pairOf(features);
    const code = await ringCode(sim);
    for (let i = 0; i < 3 * SIZE; i++) {
      strictEqual(code.arm(SENT), 0);
      const kicks = [0, 1].map(() =>
        sim.guests[0]!.send(makeFrame(stationAddress(2), stationAddress(1)))
      );
      // The event names one descriptor; the flag asks for every one.
      deepStrictEqual(kicks, [true, features === FLAGS], `chain ${2 * i}`);
      strictEqual(code.arm(SENT), 1);
      code.disarm(SENT);
      callsFor(sim, 0);
    }
  });
}

Deno.test("SwitchSim calls always when a packed ring names a descriptor without the feature (2.8.14)", async () => {
  const sim = await pairOf(FLAGS);
  wishBoth(sim, RING_EVENT_FLAGS_DESC, 23);
  deepStrictEqual(callsFor(sim, 1), [SENT, RECEIVED]);
  deepStrictEqual(callsFor(sim, 1), [SENT, RECEIVED]);
});

Deno.test("SwitchSim calls at the first burst after a start whatever descriptor is named (2.8.14)", async () => {
  const sim = await pairOf(EVENTS);
  wishBoth(sim, RING_EVENT_FLAGS_DESC, 20);
  deepStrictEqual(callsFor(sim, 5), [SENT, RECEIVED]);
  deepStrictEqual(callsFor(sim, 5), []);
  sim.guests[0]!.startRing(1, 10 | 0x8000);
  deepStrictEqual(callsFor(sim, 5), [SENT]);
  deepStrictEqual(callsFor(sim, 5), []);
  deepStrictEqual(callsFor(sim, 1), [SENT, RECEIVED]);
});

Deno.test("SwitchSim calls when it uses the named descriptor of the named round, else not (2.8.14)", async () => {
  const sim = await pairOf(EVENTS);
  callsFor(sim, 1);
  const random = [1, 5, 7, 2, 11, 3, 24, 1, 23, 13, 8, 24, 24, 5];
  for (let at = 1, i = 0; i < 140; i++) {
    const count = random[i % random.length]!;
    // From one before the burst to one behind it, and the same slots one round later.
    const ahead = [-1, 0, count - 1, count, SIZE, SIZE + count - 1][i % 6]!;
    wishBoth(sim, RING_EVENT_FLAGS_DESC, at + ahead);
    const isCalled = ahead >= 0 && ahead < count;
    deepStrictEqual(callsFor(sim, count), isCalled ? [SENT, RECEIVED] : [], `${at} ${ahead}`);
    at += count;
  }
});

Deno.test("SwitchSim calls when the named descriptor is in the middle of a used chain (2.8.14)", async () => {
  const sim = await pairOf(EVENTS);
  const [sender] = sim.guests;
  const frame = makeFrame(stationAddress(2), stationAddress(1));
  sender!.send(frame);
  callsFor(sim, 0);
  for (let at = 1, i = 0; at < 200; at += 8, i++) {
    wish(sender!, 1, RING_EVENT_FLAGS_DESC, at + i % 4);
    for (const isCalled of [true, false]) {
      sender!.send(frame, { pieces: [12, 20, 20] });
      deepStrictEqual(callsFor(sim, 0).includes(SENT), isCalled, `chain at ${at}`);
    }
  }
});

Deno.test("SwitchSim calls a guest that asks each time, round after round (2.8.14)", async () => {
  const sim = await pairOf(EVENTS);
  for (let done = 0; done < 50 * SIZE; done += 7) {
    sim.guests[0]!.pairs[0]!.transmit.enableCalls();
    sim.guests[1]!.pairs[0]!.receive.enableCalls();
    deepStrictEqual(callsFor(sim, 7), [SENT, RECEIVED], `after ${done} frames`);
  }
});

Deno.test("SwitchSim calls at most once per burst whatever the event structure says (G10)", async () => {
  const sim = await pairOf(EVENTS);
  const ring = sim.guests[0]!.rawPacked(1);
  for (let word = 0; word < 0x10000; word += 127) {
    ring.driverEvent = { off_wrap: word, flags: word & 3 };
    const calls = callsFor(sim, 3).filter((called) => called === SENT);
    strictEqual(calls.length <= 1, true);
  }
});

Deno.test("SwitchSim names the next packed descriptor and its round when it arms (2.8.14)", async () => {
  const sim = await pairOf(EVENTS);
  const code = await ringCode(sim);
  const ring = sim.guests[0]!.rawPacked(1);
  for (let at = 0; at < 3 * SIZE; at += 5) {
    code.arm(SENT);
    const wanted = { off_wrap: ring.offWrap(at), flags: RING_EVENT_FLAGS_DESC };
    deepStrictEqual(ring.deviceEvent, wanted);
    code.disarm(SENT);
    strictEqual(ring.deviceEvent.flags, RING_EVENT_FLAGS_DISABLE);
    callsFor(sim, 5);
  }
});
