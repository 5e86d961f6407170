/**
 * Plays a driver that sleeps against a poll Worker that never does, and counts.
 *
 * @module
 */
import { threadProcessors } from "../../ffi/affinity.ts";
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import { WorkerPool } from "../../src/control/worker_pool.ts";
import { loadDataplane } from "../../src/dataplane/dataplane.ts";
import { ringAt, ringNumber, State } from "../../src/dataplane/state.ts";
import { RING_CALL_FD } from "../../src/dataplane/state_layout.ts";
import { hasFeature, VIRTIO_F_EVENT_IDX } from "../../src/virtio/features.ts";
import { BROADCAST, makeFrame, stationAddress } from "./frames.ts";
import { GuestSim } from "./guest_sim.ts";
import type { SleepingDriverReport, SleepingDriverRole, WakeUps } from "./sleeping_driver.ts";

const SIZE = 16;
const TRANSMIT = 1;

/**
 * Plays.
 *
 * @param features What the guest negotiated.
 * @param rounds How many chains it sends, one at a time.
 * @param patienceMs How long it sends at most: on a busy machine each sleep takes a time slice.
 */
export async function countWakeUps(
  features: bigint,
  rounds: number,
  patienceMs: number,
): Promise<WakeUps> {
  const state = new State();
  new BridgeMembers(state).setAgeing(0, 300);
  const guest = new GuestSim(state, 0, { features, queueSize: SIZE, buffers: 0 });
  const fail = (error: Error) => {
    throw error;
  };
  const pool = new WorkerPool(state, {
    ...{ onStuck: () => {}, onDeath: () => {}, onFailure: fail },
    onReplaced: (_, error) => fail(error),
  });
  const url = new URL("./sleeping_driver.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  const processors = threadProcessors();
  try {
    const ready = nextReport(worker);
    worker.postMessage(
      {
        ...roleOf(guest, features),
        ...{ rounds, patienceMs, processor: processors.at(-1)! },
      } satisfies SleepingDriverRole,
    );
    const { callFd } = await ready as Extract<SleepingDriverReport, { kind: "ready" }>;
    state.set32(ringAt(ringNumber(0, TRANSMIT)) + RING_CALL_FD, callFd);
    const pin = processors.slice(0, 1);
    await pool.start(
      { workers: 1, poll: "busy", pin },
      [guest.memory.memory],
      await loadDataplane(),
    );
    pool.add(ringNumber(0, TRANSMIT), null);
    const over = nextReport(worker);
    worker.postMessage(null);
    return (await over as Extract<SleepingDriverReport, { kind: "over" }>).wakeUps;
  } finally {
    await pool.stop();
    worker.terminate();
  }
}

function roleOf(
  guest: GuestSim,
  features: bigint,
): Omit<SleepingDriverRole, "rounds" | "patienceMs" | "processor"> {
  const frame = makeFrame(BROADCAST, stationAddress(0));
  const length = guest.headerBytes + frame.length;
  const address = guest.allocate(length);
  guest.memory.write(address + BigInt(guest.headerBytes), frame);
  const { guestAddress, localAddress } = guest.memory.regions[0]!;
  return {
    ...{ memory: guest.memory.memory, memoryAddress: Number(guestAddress) - localAddress },
    ...{ places: guest.raw(TRANSMIT).places, size: SIZE, isPacked: guest.isPacked },
    ...{ address: Number(address), length },
    hasEventIndex: hasFeature(features, VIRTIO_F_EVENT_IDX),
  };
}

async function nextReport(worker: Worker): Promise<SleepingDriverReport> {
  return await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
  });
}
