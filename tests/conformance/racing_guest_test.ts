import { ok } from "node:assert/strict";
import { featureSet, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";
import {
  RACE_BITS,
  RACE_ENDED,
  RACE_STARTED,
  type RacingVcpuRole,
} from "../support/racing_vcpu.ts";

const SIZE = 32768;
const PACKED = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED);
/** How many accesses the vCPU waits between descriptors: one of them fits the machine. */
const DELAYS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 14];
const RACES_PER_DELAY = 2;
const AVAIL = 0x80;

async function startVcpu(role: RacingVcpuRole): Promise<Worker> {
  const url = new URL("../support/racing_vcpu.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  const isRunning = new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage(role);
  await isRunning;
  return worker;
}

// Each chain is refused, so that one frame goes through the whole ring; a vCPU that makes chains
// available behind the switch would have it go on for ever, and fill more than a Worker has.
Deno.test("SwitchSim takes no more packed chains for a burst than the ring has, whatever races (G92)", async () => {
  const sim = await SwitchSim.create([{}, { features: PACKED, queueSize: SIZE, buffers: 0 }]);
  const [sender, victim] = sim.guests;
  const ring = victim!.rawPacked(0);
  const { memory } = victim!.memory;
  const races = new SharedArrayBuffer(8);
  const control = new Int32Array(races);
  const words = new Uint16Array(memory.buffer);
  const readable = Array.from({ length: SIZE }, (_, id) => ({ addr: 0n, len: 1, id }));
  ring.offer(readable);
  const vcpu = await startVcpu({ memory, desc: ring.places.desc, size: SIZE, races });
  try {
    let race = 0;
    let before = 0;
    for (const delay of DELAYS) {
      for (let i = 0; i < RACES_PER_DELAY; i++) {
        victim!.records.stopRing(0);
        victim!.startRing(0);
        for (let slot = 0; slot < SIZE; slot++) {
          words[(ring.places.desc + slot * 16 + 14) >> 1] = AVAIL;
        }
        sender!.send(makeFrame(stationAddress(2), stationAddress(1)));
        const started = delay << RACE_BITS | ++race;
        Atomics.store(control, RACE_STARTED, started);
        sim.turn();
        sender!.takeSent();
        while (Atomics.load(control, RACE_ENDED) !== started);
        const { badReceiveChains } = sim.counters(1);
        ok(badReceiveChains - before <= SIZE, `${badReceiveChains - before} chains were taken`);
        before = badReceiveChains;
      }
    }
  } finally {
    vcpu.terminate();
  }
  ok(victim!.isCanaryAlive);
});
