/**
 * Differential fuzzing of the data plane: random situations, one to three turns, and a comparison of
 * everything that the switch wrote or counted with the model's answer (see model.ts).
 *
 * An input follows from a seed and its number alone, so that it can be run again by itself.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import { Dataplane, loadDataplane } from "../../src/dataplane/dataplane.ts";
import { counterAt, ringAt, ringNumber, State, workerAt } from "../../src/dataplane/state.ts";
import {
  C_BAD_RX_CHAIN,
  C_CALLS,
  C_CHECKSUMMED,
  C_DROP_BAD_CHAIN,
  C_DROP_BAD_OFFLOAD,
  C_DROP_BAD_SEGMENTATION,
  C_DROP_DISABLED,
  C_DROP_NO_BUFFER,
  C_DROP_NOT_READY,
  C_DROP_RUNT,
  C_DROP_SAME_PORT,
  C_DROP_TOO_BIG,
  C_FLOODED,
  C_LEARNED,
  C_MOVED,
  C_RECEIVED_BYTES,
  C_RECEIVED_FRAMES,
  C_RING_FAULTS,
  C_SEGMENTED,
  C_TRANSMITTED_BYTES,
  C_TRANSMITTED_FRAMES,
  COUNTER_BLOCK_BYTES,
  FDB,
  FDB_ENTRY_BYTES,
  FDB_MASK,
  FDB_SEED,
  FDB_WAYS,
  RING_FAULT,
  RING_SIGNALLED,
  RING_SIGNALLED_VALID,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
} from "../../src/dataplane/state_layout.ts";
import { PollLoop } from "../../src/poll/poll_loop.ts";
import { GuestMemory } from "../support/guest_memory.ts";
import { NO_KICKS } from "../support/kicks.ts";
import { PortRecords } from "../support/port_records.ts";
import { Model } from "./model.ts";
import type { ModelGuest, ModelRing } from "./model_memory.ts";
import { positionOf } from "./model_packed.ts";
import { Random } from "./random.ts";
import {
  GuestMaker,
  type GuestPlan,
  type InputKind,
  REGION_BYTES,
  type RingPlan,
} from "./situation.ts";

/** How an input ended, when it did not end in a difference. */
export type Verdict = "compared" | "contained";

/** Something the switch did that the model does not. */
export class Difference extends Error {
  override readonly name = "Difference";
}

const GUESTS = 3;
const PAGE_BYTES = 65536;
const WORKER = 0;
const FDB_SETS = 8;
/** A turn takes microseconds; only a walk without an end takes this long. */
const TURN_LIMIT_MS = 2000;
/** Inputs between two looks at the page that nothing may ever write. */
const INPUTS_PER_FIRST_PAGE = 1024;

/** Counters that must agree; those in one row are compared by their sum. */
const COUNTERS: Readonly<Record<string, readonly number[]>> = {
  "frames received": [C_RECEIVED_FRAMES],
  "bytes received": [C_RECEIVED_BYTES],
  "frames transmitted": [C_TRANSMITTED_FRAMES],
  "bytes transmitted": [C_TRANSMITTED_BYTES],
  "frames without a buffer": [C_DROP_NO_BUFFER, C_DROP_NOT_READY],
  "frames that are too big": [C_DROP_TOO_BIG],
  "bad chains and runts": [C_DROP_BAD_CHAIN, C_DROP_RUNT],
  "bad offloads": [C_DROP_BAD_OFFLOAD],
  "frames on a disabled queue": [C_DROP_DISABLED],
  "frames to the same port": [C_DROP_SAME_PORT],
  "bad receive chains": [C_BAD_RX_CHAIN],
  "frames flooded": [C_FLOODED],
  "addresses learned": [C_LEARNED],
  "addresses moved": [C_MOVED],
  "ring faults": [C_RING_FAULTS],
  "calls": [C_CALLS],
  "super-packets cut": [C_SEGMENTED],
  "checksums finished": [C_CHECKSUMMED],
  "super-packets that cannot be cut": [C_DROP_BAD_SEGMENTATION],
};

/** One guest, kept from input to input. */
interface FuzzGuest {
  readonly memory: GuestMemory;
  readonly view: DataView;
  readonly records: PortRecords;
  /** The page with both regions, as the switch leaves it and as it should be. */
  readonly actual: Buffer;
  readonly expected: Buffer;
  readonly expectedBytes: Uint8Array<ArrayBuffer>;
}

/** The kind of an input, unless told otherwise: half are packed, half have offloads. */
export function kindOf(index: number): InputKind {
  return { isPacked: index % 2 === 1, hasOffloads: index % 4 >= 2 };
}

/** A switch and guests for any number of inputs. */
export class RingFuzz {
  readonly #state = new State();
  readonly #guests: readonly FuzzGuest[];
  /** What both regions hold before an input, with canaries around; the second page of a memory. */
  readonly #template: Buffer;
  readonly #loop: PollLoop;
  #calls: number[] = [];
  #runs = 0;

  private constructor(modules: Awaited<ReturnType<typeof loadDataplane>>) {
    const state = this.#state;
    state.set32(FDB_MASK, FDB_SETS - 1);
    state.set64(FDB_SEED, 0x9e37_79b9_7f4a_7c15n);
    new BridgeMembers(state).setAgeing(0, 300);
    this.#guests = Array.from({ length: GUESTS }, (_, port) => makeGuest(state, port));
    this.#template = makeTemplate(this.#guests[0]!.memory);
    this.#loop = new PollLoop({
      ...{ worker: WORKER, state, mode: "busy", kicks: NO_KICKS },
      dataplane: new Dataplane(
        modules,
        state.memory,
        this.#guests.map(({ memory }) => memory.memory),
      ),
      signal: (ring) => this.#calls.push(ring),
    });
    this.#listRings();
  }

  /** Makes the switch and its guests. */
  static async create(): Promise<RingFuzz> {
    return new RingFuzz(await loadDataplane());
  }

  /**
   * Runs one input.
   *
   * @param seed The run.
   * @param index The input's number in it.
   * @param kind What kind of guests it has.
   * @returns Whether everything could be compared, or only that the guests stayed in their memory.
   * @throws {Difference} When the switch did something else than the model.
   */
  run(seed: number, index: number, kind: InputKind = kindOf(index)): Verdict {
    const random = new Random(seed, index);
    const plans = this.#guests.map((guest, port) => this.#prepare(random, guest, port, kind));
    this.#clear();
    const model = new Model(
      plans.map((plan, port) => modelGuest(plan, this.#guests[port]!.expectedBytes)),
    );
    const turns = random.chance(0.7) ? 1 : random.between(2, 3);
    for (let turn = 0; turn < turns; turn++) {
      model.turn();
      const start = performance.now();
      this.#loop.turn();
      if (performance.now() - start > TURN_LIMIT_MS) throw new Difference("the turn took too long");
    }
    if (this.#runs++ % INPUTS_PER_FIRST_PAGE === 0) this.#checkFirstPages();
    if (model.isUncertain) this.#checkCanaries();
    else this.#compare(model);
    return model.isUncertain ? "contained" : "compared";
  }

  #prepare(random: Random, guest: FuzzGuest, port: number, kind: InputKind): GuestPlan {
    guest.memory.bytes.set(this.#template, PAGE_BYTES);
    const plan = new GuestMaker(random, guest.memory, guest.view, kind).make();
    guest.records.setFeatures(plan.features);
    guest.records.setRegions(plan.regions);
    plan.rings.forEach((ring, index) => this.#startRing(guest, port, index, ring));
    guest.expectedBytes.set(guest.memory.bytes.subarray(PAGE_BYTES), PAGE_BYTES);
    return plan;
  }

  #startRing({ records }: FuzzGuest, port: number, index: number, ring: RingPlan): void {
    const { size, places, signalled } = ring;
    const number = ringNumber(port, index);
    records.setRingEnabled(index, ring.isEnabled);
    records.startRing(index, { size, places, index: ring.index, callFd: number });
    if (!ring.isStarted) records.stopRing(index);
    if (signalled === null) return;
    this.#state.set32(ringAt(number) + RING_SIGNALLED, signalled);
    this.#state.set32(ringAt(number) + RING_SIGNALLED_VALID, 1);
  }

  #clear(): void {
    this.#state.clear(FDB, FDB_SETS * FDB_WAYS * FDB_ENTRY_BYTES);
    for (let port = 0; port < GUESTS; port++) {
      this.#state.clear(counterAt(WORKER, port, 0), COUNTER_BLOCK_BYTES);
    }
    this.#calls = [];
  }

  // The rings never change their numbers; the first turn reads the list, with all rings stopped.
  #listRings(): void {
    const at = workerAt(WORKER);
    this.#guests.forEach((_, port) => {
      this.#state.set16(at + W_LIST + 2 * port, ringNumber(port, 1));
    });
    this.#state.set32(at + W_LIST_COUNT, GUESTS);
    this.#state.add32(at + W_LIST_GENERATION, 1);
    this.#loop.turn();
  }

  // The comparison covers the canaries too, except that of the first page.
  #checkCanaries(): void {
    this.#guests.forEach(({ memory, actual }, port) => {
      const [first, second] = memory.regions.map((region) => region.localAddress - PAGE_BYTES);
      const gaps = [[first! + REGION_BYTES, second!], [second! + REGION_BYTES, PAGE_BYTES]];
      for (const [from, to] of gaps) {
        if (actual.subarray(from, to).equals(this.#template.subarray(from, to))) continue;
        throw new Difference(`guest ${port} was written outside its regions`);
      }
    });
  }

  #checkFirstPages(): void {
    this.#guests.forEach(({ memory }, port) => {
      if (memory.isCanaryAlive) return;
      throw new Difference(`guest ${port} was written in its first page, now or lately`);
    });
  }

  #compare(model: Model): void {
    this.#guests.forEach((guest, port) => {
      compareMemory(guest, port);
      this.#compareCounters(model, port);
      [0, 1].forEach((index) => this.#compareFault(model, port, index));
    });
    const calls = model.calls.map(([port, index]) => ringNumber(port, index));
    const [actual, expected] = [this.#calls, calls].map((rings) => rings.toSorted().join());
    if (actual !== expected) throw new Difference(`calls of rings ${actual}, want ${expected}`);
  }

  #compareCounters(model: Model, port: number): void {
    for (const [what, places] of Object.entries(COUNTERS)) {
      let [actual, expected] = [0, 0];
      for (const place of places) {
        actual += this.#state.get32(counterAt(WORKER, port, place));
        expected += model.counters[port]![place / 8]!;
      }
      if (actual === expected) continue;
      throw new Difference(`port ${port} counted ${actual} ${what}, want ${expected}`);
    }
  }

  #compareFault(model: Model, port: number, index: number): void {
    const actual = this.#state.get32(ringAt(ringNumber(port, index)) + RING_FAULT) !== 0;
    const { receive, transmit } = model.guests[port]!;
    const expected = (index === 0 ? receive : transmit).isBroken;
    if (actual === expected) return;
    const state = (isBroken: boolean): string => isBroken ? "quarantined" : "sound";
    throw new Difference(`ring ${index} of port ${port} is ${state(actual)}, want the opposite`);
  }
}

function makeGuest(state: State, port: number): FuzzGuest {
  const regions = [0, 1].map((i) => ({
    guestAddress: BigInt(i * REGION_BYTES),
    sizeBytes: REGION_BYTES,
  }));
  const memory = new GuestMemory(regions);
  const expectedBytes = new Uint8Array(2 * PAGE_BYTES);
  return {
    ...{ memory, expectedBytes },
    view: new DataView(memory.memory.buffer),
    records: new PortRecords(state, port, 0),
    actual: Buffer.from(memory.memory.buffer, PAGE_BYTES),
    expected: Buffer.from(expectedBytes.buffer, PAGE_BYTES),
  };
}

// Random bytes in both regions, with canaries as GuestMemory laid them around.
function makeTemplate(memory: GuestMemory): Buffer {
  const template = Buffer.from(memory.bytes.slice(PAGE_BYTES));
  const random = new Random(0, 0);
  for (const { localAddress } of memory.regions) {
    for (let i = 0; i < REGION_BYTES; i++) template[localAddress - PAGE_BYTES + i] = random.next();
  }
  return template;
}

function modelGuest(plan: GuestPlan, bytes: Uint8Array<ArrayBuffer>): ModelGuest {
  const [receive, transmit] = plan.rings.map((ring) => modelRing(ring, plan.isPacked));
  const view = new DataView(bytes.buffer);
  return { ...plan, bytes, view, receive: receive!, transmit: transmit! };
}

function modelRing(ring: RingPlan, isPacked: boolean): ModelRing {
  const { places: { desc, avail, used }, size, isStarted, isEnabled } = ring;
  const place = (index: number): number => isPacked ? positionOf(index, size) : index;
  const [start, signalled] = [ring.index, ring.signalled];
  return {
    ...{ desc, avail, used, size, isStarted, isEnabled, isBroken: false },
    ...{ nextAvail: place(start), nextUsed: place(start) },
    signalled: signalled === null ? null : place(signalled),
  };
}

function compareMemory({ actual, expected, memory, expectedBytes }: FuzzGuest, port: number): void {
  if (actual.equals(expected)) return;
  const at = memory.bytes.findIndex((byte, i) => i >= PAGE_BYTES && byte !== expectedBytes[i]);
  const region = memory.regions.findLastIndex(({ localAddress }) => localAddress <= at);
  const offset = at - memory.regions[region]!.localAddress;
  const hex = (bytes: Uint8Array): string => bytes.slice(at, at + 16).toHex();
  throw new Difference(
    `memory of guest ${port} differs from byte ${offset} of region ${region} on: ` +
      `${hex(memory.bytes)}, want ${hex(expectedBytes)}`,
  );
}
