/**
 * A guest whose vCPUs write the available ring anew while the switch takes a burst from it: what was
 * read first counts (G04, G08).
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { FAULT_AVAIL_INDEX } from "../../src/dataplane/state_layout.ts";
import {
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../src/virtio/layouts.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { Race } from "../support/race.ts";
import type { Flip } from "../support/racing_words.ts";
import { STEADY_NUMBER, SteadyReceiver, SteadySender } from "../support/steady_rings.ts";

const SIZE = 16;
const [RECEIVE, TRANSMIT] = [0, 1];
const RACE_MS = 300;
/** On a busy machine it takes longer until both threads run at the same time. */
const LONGEST_RACE_MS = 10_000;
const ROUNDS_PER_CLOCK = 64;
/** How often each outcome must be seen. */
const FEWEST = 32;
/** Chains of one burst, each with a head that flips. */
const BURST = 8;
const HEADER_BYTES = 12;
const BUFFER_BYTES = 256;

/** Runs `round` while a vCPU flips words, and until `isSeen`. */
async function race(
  guest: GuestSim,
  flips: readonly Omit<Flip, "memory">[],
  round: () => void,
  isSeen: () => boolean,
): Promise<void> {
  const vcpu = await Race.start({
    memories: [guest.memory.memory],
    flips: flips.map((flip) => ({ ...flip, memory: 0 })),
    follows: [],
  });
  try {
    const start = performance.now();
    for (let now = start; now < start + RACE_MS || !isSeen(); now = performance.now()) {
      ok(now < start + LONGEST_RACE_MS, "the threads do not race");
      for (let i = 0; i < ROUNDS_PER_CLOCK; i++) round();
    }
  } finally {
    await vcpu.stop();
  }
  ok(guest.isCanaryAlive);
}

/** An attacker, and a bystander with room for what it sends. */
async function open(): Promise<[SwitchSim, GuestSim, GuestSim]> {
  const attacker = { queueSize: SIZE, buffers: 0 };
  const sim = await SwitchSim.create([attacker, { buffers: 0, sendBytes: 2 ** 20 }]);
  return [sim, sim.guests[0]!, sim.guests[1]!];
}

Deno.test("SwitchSim goes by the available index that it read first in a burst (G04)", async () => {
  const [sim, attacker] = await open();
  const ring = attacker.raw(TRANSMIT);
  const frame = makeFrame(BROADCAST, stationAddress(0));
  const addr = attacker.allocate(HEADER_BYTES + frame.length);
  attacker.memory.write(addr + BigInt(HEADER_BYTES), frame);
  ring.describe(new Array(SIZE).fill({ addr, len: HEADER_BYTES + frame.length }));
  ring.offer(...Array(SIZE).keys());
  ring.availIndex = 1;
  // One further on, which is right, or so far that everything would be taken several times.
  const flip = { at: ring.places.avail + 2, bytes: 2 as const, values: [1n, 0x8000n] };
  const seen = { right: 0, wrong: 0 };
  await race(attacker, [flip], () => {
    attacker.startRing(TRANSMIT, 0);
    const taken = sim.turn();
    const outcome = [taken, ring.usedIndex, sim.fault(0, TRANSMIT)];
    ring.usedIndex = 0;
    if (taken > 0) {
      seen.right++;
      return deepStrictEqual(outcome, [1, 1, 0]);
    }
    seen.wrong++;
    // A ring that is quiet is not looked at in each turn.
    if (outcome[2] !== 0) deepStrictEqual(outcome, [0, 0, FAULT_AVAIL_INDEX]);
  }, () => seen.right >= FEWEST && seen.wrong >= FEWEST);
});

Deno.test("SwitchSim gives back the head that it took, whatever stands there by then (G08)", async () => {
  const [sim, attacker, bystander] = await open();
  const receiver = new SteadyReceiver(bystander);
  const ring = attacker.raw(TRANSMIT);
  describe(attacker, TRANSMIT);
  const heads = new Set<number>();
  const round = () => {
    ring.availIndex += BURST;
    sim.settle();
    const ids = ring.takeUsed().map(({ id }) => id);
    const lengths: number[] = [];
    receiver.receive((frame) => lengths.push(frame.length));
    // The head tells how long its frame is.
    deepStrictEqual(lengths, ids.map((id) => lengthOf(id)));
    for (const id of ids) heads.add(id);
  };
  await race(attacker, flipsOfEntries(attacker, TRANSMIT), round, () => heads.size === BURST);
});

Deno.test("SwitchSim fills the buffer of the head that it gives back (G08)", async () => {
  const [sim, attacker, bystander] = await open();
  const broadcast = makeFrame(BROADCAST, stationAddress(1));
  const sender = new SteadySender(bystander, [broadcast]);
  const ring = attacker.raw(RECEIVE);
  const buffers = describe(attacker, RECEIVE);
  const words = new DataView(attacker.memory.memory.buffer);
  const heads = new Set<number>();
  let sent = 0;
  const round = () => {
    ring.availIndex += BURST;
    sender.send(BURST);
    sim.settle();
    strictEqual(sender.takeSent(), BURST);
    const used = ring.takeUsed();
    strictEqual(used.length, BURST);
    // A head that was taken twice has the later frame.
    const frameOf = new Map(used.map(({ id }, i) => [id, sent + i]));
    for (const [id, number] of frameOf) {
      const at = buffers[id]! + HEADER_BYTES + STEADY_NUMBER;
      strictEqual(words.getUint32(at, true), number, `head ${id}`);
      heads.add(id);
    }
    sent += BURST;
  };
  await race(attacker, flipsOfEntries(attacker, RECEIVE), round, () => heads.size === BURST);
});

/**
 * Describes chains that start at the heads 0 to 7: those of odd ones have two descriptors.
 *
 * @returns Where each head's buffer is in the guest's memory.
 */
function describe(guest: GuestSim, index: number): number[] {
  const ring = guest.raw(index);
  const flags = index === RECEIVE ? WRITE : 0;
  const frame = makeFrame(BROADCAST, stationAddress(0), BUFFER_BYTES);
  return Array.from({ length: BURST }, (_, head) => {
    const addr = guest.allocate(HEADER_BYTES + BUFFER_BYTES);
    guest.memory.write(addr + BigInt(HEADER_BYTES), frame);
    const bytes = index === RECEIVE ? BUFFER_BYTES : lengthOf(head);
    if (head % 2 === 0) ring.describe([{ addr, len: HEADER_BYTES + bytes, flags }], head);
    else {
      const next = BURST + head;
      ring.describe([{ addr, len: HEADER_BYTES, flags: flags | NEXT, next }], head);
      ring.describe([{ addr: addr + BigInt(HEADER_BYTES), len: bytes, flags }], next);
    }
    return guest.memory.localOf(addr);
  });
}

function lengthOf(head: number): number {
  return 100 + head;
}

function flipsOfEntries(guest: GuestSim, index: number): Omit<Flip, "memory">[] {
  const { avail } = guest.raw(index).places;
  const values = Array.from({ length: BURST }, (_, head) => BigInt(head));
  return Array.from({ length: SIZE }, (_, slot) => ({
    ...{ at: avail + 4 + 2 * slot, bytes: 2 as const, values },
  }));
}
