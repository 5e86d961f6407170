import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { ringNumber } from "../../src/dataplane/state.ts";
import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_USED_F_NO_NOTIFY } from "../../src/virtio/layouts.ts";
import { Dataplane, loadDataplane, type RingInstance } from "../../src/dataplane/dataplane.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";

const EVENT_INDEX = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX);
const FLAGS = featureSet(VIRTIO_F_VERSION_1);
/** Ring numbers, which stand for call descriptors: what guest 0 sends, what guest 1 receives. */
const SENT = ringNumber(0, 1);
const RECEIVED = ringNumber(1, 0);

async function pairOf(features: bigint): Promise<SwitchSim> {
  const options = { features, queueSize: 64, buffers: 32 };
  return await SwitchSim.create([options, options]);
}

function send(sim: SwitchSim, count: number): void {
  for (let i = 0; i < count; i++) {
    sim.guests[0]!.send(makeFrame(stationAddress(2), stationAddress(1)));
  }
}

/** Sends some frames in one turn and returns who is called; everything used is taken back. */
function callsFor(sim: SwitchSim, count: number): number[] {
  send(sim, count);
  sim.turn();
  sim.guests[0]!.takeSent();
  sim.guests[1]!.receive();
  return sim.takeCalls().toSorted((a, b) => a - b);
}

/** The ring code of guest 0, for `arm` and `disarm`. */
async function ringCode(sim: SwitchSim): Promise<RingInstance> {
  const memories = sim.guests.map(({ memory }) => memory.memory);
  return new Dataplane(await loadDataplane(), sim.state.memory, memories).ring(0);
}

/** A value relative to where the ring's used index will stand after `ahead` more chains. */
function setUsedEvent(guest: GuestSim, index: number, value: number): void {
  guest.raw(index).usedEvent = value & 0xffff;
}

Deno.test("SwitchSim calls both guests once per burst when their flags allow it (2.7.7.2)", async () => {
  const sim = await pairOf(FLAGS);
  deepStrictEqual(callsFor(sim, 10), [SENT, RECEIVED]);
  deepStrictEqual(callsFor(sim, 1), [SENT, RECEIVED]);
  strictEqual(sim.counters(0).calls, 2);
});

Deno.test("SwitchSim calls no guest whose flags forbid it (2.7.7.2)", async () => {
  const sim = await pairOf(FLAGS);
  sim.guests[0]!.pairs[0]!.transmit.disableCalls();
  deepStrictEqual(callsFor(sim, 10), [RECEIVED]);
  sim.guests[1]!.pairs[0]!.receive.disableCalls();
  deepStrictEqual(callsFor(sim, 10), []);
  sim.guests[0]!.pairs[0]!.transmit.enableCalls();
  deepStrictEqual(callsFor(sim, 10), [SENT]);
});

Deno.test("SwitchSim honours only bit 0 of the available ring's flags (2.7.7.2, G09)", async () => {
  const sim = await pairOf(FLAGS);
  sim.guests[0]!.raw(1).availFlags = 0xffff & ~VIRTQ_AVAIL_F_NO_INTERRUPT;
  sim.guests[1]!.raw(0).availFlags = 0xffff;
  deepStrictEqual(callsFor(sim, 3), [SENT]);
});

Deno.test("SwitchSim ignores the flags when the event index was negotiated (2.7.7.2, G09)", async () => {
  const sim = await pairOf(EVENT_INDEX);
  sim.guests[0]!.raw(1).availFlags = 0xffff;
  sim.guests[1]!.raw(0).availFlags = 0xffff;
  deepStrictEqual(callsFor(sim, 3), [SENT, RECEIVED]);
});

Deno.test("SwitchSim calls at the first burst after a start whatever the event index says (2.7.7.2)", async () => {
  const sim = await pairOf(EVENT_INDEX);
  setUsedEvent(sim.guests[0]!, 1, 40_000);
  setUsedEvent(sim.guests[1]!, 0, 40_000);
  deepStrictEqual(callsFor(sim, 5), [SENT, RECEIVED]);
  deepStrictEqual(callsFor(sim, 5), []);
  sim.guests[0]!.startRing(1, 10);
  deepStrictEqual(callsFor(sim, 5), [SENT]);
});

Deno.test("SwitchSim calls when the used index crosses the event index, else not (2.7.10)", async () => {
  const sim = await pairOf(EVENT_INDEX);
  callsFor(sim, 1);
  // After the first burst the index is 1; a burst of n takes it to 1 + n, crossing 1 to n.
  const cases = [[1, 1, true], [0, 1, false], [2, 1, false], [1, 5, true], [5, 5, true]] as const;
  for (const [event, count, isCalled] of cases) {
    const at = sim.guests[0]!.raw(1).usedIndex - 1;
    setUsedEvent(sim.guests[0]!, 1, at + event);
    setUsedEvent(sim.guests[1]!, 0, at + event);
    deepStrictEqual(callsFor(sim, count), isCalled ? [SENT, RECEIVED] : [], `${event} ${count}`);
  }
});

Deno.test("SwitchSim calls a guest that asks each time across the wrap of the index (2.7.10)", async () => {
  const sim = await pairOf(EVENT_INDEX);
  for (let done = 0; done < 70_000; done += 32) {
    sim.guests[0]!.pairs[0]!.transmit.enableCalls();
    sim.guests[1]!.pairs[0]!.receive.enableCalls();
    deepStrictEqual(callsFor(sim, 32), [SENT, RECEIVED], `after ${done} frames`);
  }
});

Deno.test("SwitchSim does not call a guest that never asks again until the index wraps (2.7.10)", async () => {
  const sim = await pairOf(EVENT_INDEX);
  let calls = 0;
  for (let done = 0; done < 65_536 + 32; done += 32) calls += callsFor(sim, 32).length;
  // Both guests left their event index at 0: the start, and once more after 65,536 chains.
  strictEqual(calls, 4);
});

Deno.test("SwitchSim calls at most once per burst whatever the event index is (G10)", async () => {
  const sim = await pairOf(EVENT_INDEX);
  for (let event = 0; event < 0x10000; event += 257) {
    setUsedEvent(sim.guests[0]!, 1, event);
    const calls = callsFor(sim, 3).filter((ring) => ring === SENT);
    strictEqual(calls.length <= 1, true);
  }
});

Deno.test("SwitchSim signals nobody for a ring without a call descriptor", async () => {
  const sim = await pairOf(FLAGS);
  const { places, size } = sim.guests[0]!.raw(1);
  sim.guests[0]!.records.startRing(1, { size, places, index: 0, callFd: -1 });
  deepStrictEqual(callsFor(sim, 3), [RECEIVED]);
});

Deno.test("SwitchSim refuses kicks of the rings that it polls (2.7.10)", async () => {
  for (const features of [FLAGS, EVENT_INDEX]) {
    const sim = await pairOf(features);
    sim.turn();
    const kicks = Array.from({ length: 200 }, () => {
      const isKick = sim.guests[0]!.send(makeFrame(stationAddress(2), stationAddress(1)));
      callsFor(sim, 0);
      return isKick;
    });
    deepStrictEqual(kicks.filter((isKick) => isKick), []);
  }
});

Deno.test("RingInstance.arm asks for a kick with the next chain (2.7.10)", async () => {
  for (const features of [FLAGS, EVENT_INDEX]) {
    const sim = await pairOf(features);
    callsFor(sim, 7);
    const code = await ringCode(sim);
    strictEqual(code.arm(SENT), 0);
    strictEqual(sim.guests[0]!.send(makeFrame(stationAddress(2), stationAddress(1))), true);
    code.disarm(SENT);
    callsFor(sim, 0);
    strictEqual(sim.guests[0]!.send(makeFrame(stationAddress(2), stationAddress(1))), false);
  }
});

Deno.test("RingInstance.arm says so when chains came in between (2.7.10)", async () => {
  for (const features of [FLAGS, EVENT_INDEX]) {
    const sim = await pairOf(features);
    sim.turn();
    send(sim, 1);
    strictEqual((await ringCode(sim)).arm(SENT), 1);
  }
});

Deno.test("RingInstance.arm writes avail_event only when the event index was negotiated (2.7.10)", async () => {
  const withFlags = await pairOf(FLAGS);
  withFlags.turn();
  strictEqual(withFlags.guests[0]!.raw(1).usedFlags, VIRTQ_USED_F_NO_NOTIFY);
  strictEqual(withFlags.guests[0]!.raw(1).availEvent, 0);
  (await ringCode(withFlags)).arm(SENT);
  strictEqual(withFlags.guests[0]!.raw(1).usedFlags, 0);
  const withIndex = await pairOf(EVENT_INDEX);
  callsFor(withIndex, 3);
  strictEqual(withIndex.guests[0]!.raw(1).usedFlags, 0);
  (await ringCode(withIndex)).arm(SENT);
  strictEqual(withIndex.guests[0]!.raw(1).availEvent, 3);
});

Deno.test("RingInstance.arm and disarm leave a ring that is stopped or broken alone", async () => {
  const sim = await pairOf(FLAGS);
  sim.turn();
  const code = await ringCode(sim);
  sim.guests[0]!.raw(1).availIndex = 1000;
  sim.turn();
  strictEqual(code.arm(SENT), 0);
  strictEqual(sim.guests[0]!.raw(1).usedFlags, VIRTQ_USED_F_NO_NOTIFY);
  sim.guests[0]!.startRing(1);
  sim.guests[0]!.records.stopRing(1);
  strictEqual(code.arm(SENT), 0);
  strictEqual(sim.guests[0]!.raw(1).usedFlags, VIRTQ_USED_F_NO_NOTIFY);
});
