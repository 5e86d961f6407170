/**
 * Several poll Workers fill one receive ring at full speed, while this thread plays the drivers:
 * every frame arrives once, intact and in its flow's order; also while control stops and starts rings,
 * and when each chain has an index update of its own.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type PortCounters, readCounters } from "../../src/control/counters.ts";
import { WorkerPool } from "../../src/control/worker_pool.ts";
import { loadDataplane } from "../../src/dataplane/dataplane.ts";
import { ringAt, ringNumber, State, workerAt } from "../../src/dataplane/state.ts";
import {
  FDB_MASK,
  FDB_SEED,
  RING_LOCK,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  W_LIST,
  W_LIST_COUNT,
} from "../../src/dataplane/state_layout.ts";
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import { eventually } from "../support/eventually.ts";
import { FlowSink, FlowSource } from "../support/flows.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";

const SECONDS = 2;
const STOPS = 300;
/** Writes of the available index: once around its range, in one second. */
const UPDATES = 65_536;
/** The receiver's ring holds what all sources can have on the way. */
const SINK_SIZE = 1024;
/** Plain copies, copies that end within the snapshot, and long ones. */
const FRAME_BYTES = [60, 200, 1000] as const;
const SINK = FRAME_BYTES.length;
/** Frames written before the receiver is looked at again. */
const BATCH = 32;

/** Sources, one receiver and Workers that never sleep. */
class SharedRing implements AsyncDisposable {
  readonly state = new State();
  readonly sources: readonly FlowSource[];
  readonly sink: FlowSink;
  readonly pool: WorkerPool;
  /** Frames that were lost while the receiver's ring was stopped. */
  lost = 0;
  /** The Worker of each source. */
  readonly workers: number[] = [];

  private constructor() {
    this.state.set32(FDB_MASK, 1023);
    this.state.set64(FDB_SEED, 0x9e37_79b9_7f4a_7c15n);
    new BridgeMembers(this.state).setAgeing(0, 300);
    this.sources = FRAME_BYTES.map((bytes, port) => new FlowSource(this.state, port, SINK, bytes));
    this.sink = new FlowSink(this.state, SINK, SINK_SIZE);
    const fail = (error: Error) => {
      throw error;
    };
    this.pool = new WorkerPool(this.state, {
      onStuck: () => {},
      onDeath: () => {},
      onReplaced: (_, error) => fail(error),
      onFailure: fail,
    });
  }

  static async start(workers: number): Promise<SharedRing> {
    const shared = new SharedRing();
    // Sources do not receive: what is flooded goes to the sink alone.
    for (const { guest } of shared.sources) guest.records.stopRing(0);
    const guests = [...shared.sources, shared.sink].map(({ guest }) => guest.memory.memory);
    await shared.pool.start({ workers, poll: "busy", pin: [] }, guests, await loadDataplane());
    shared.sources.forEach((_, port) => {
      shared.workers.push(shared.pool.add(ringNumber(port, 1), null));
    });
    await shared.#introduce();
    return shared;
  }

  // A frame to nobody, so that the switch knows where the receiver is.
  async #introduce(): Promise<void> {
    const { guest } = this.sink;
    const ring = ringNumber(SINK, 1);
    const worker = this.pool.add(ring, null);
    guest.send(makeFrame(stationAddress(99), stationAddress(SINK)));
    await eventually("the first frame", () => guest.takeSent()[0] ?? null);
    this.pool.remove(ring, worker, null);
  }

  /** Frames sent so far. */
  get sent(): number {
    return this.sources.reduce((sum, { available }) => sum + available, 0);
  }

  /** Plays the drivers once: takes what came, sends what there is room for. */
  drive(): void {
    this.sink.receive();
    let room = SINK_SIZE - (this.sent - this.sink.received - this.lost);
    for (const source of this.sources) room -= source.send(Math.min(room, BATCH));
  }

  /** Sends nothing until everything on the way has arrived or is lost. */
  drain(): void {
    while (this.sources.some(({ outstanding }) => outstanding > 0)) this.sink.receive();
    this.sink.receive();
    this.lost = this.sent - this.sink.received;
  }

  /** Drops of all ports that are not 0. */
  drops(): Partial<PortCounters["drops"]> {
    const reports = [...this.sources.keys(), SINK]
      .map((port) => readCounters(this.state, port, this.pool.count).drops);
    const all = reports.flatMap((drops) => Object.entries(drops));
    return Object.fromEntries(all.filter(([, count]) => count > 0));
  }

  /** Stops a source's ring; nothing may move afterwards. Starts it again. */
  restartSource(port: number): void {
    const source = this.sources[port]!;
    const ring = ringNumber(port, 1);
    source.guest.records.stopRing(1);
    this.pool.remove(ring, this.workers[port]!, null);
    const before = source.usedIndex;
    this.#requireQuiet(ring, before);
    source.send(BATCH);
    this.sink.receive();
    this.#requireQuiet(ring, before);
    strictEqual(source.usedIndex, before);
    source.restart();
    this.workers[port] = this.pool.add(ring, null);
  }

  /** Stops the receiver's ring; nothing may move afterwards. Starts it again and drains. */
  restartSink(): void {
    this.sink.guest.records.stopRing(0);
    this.pool.quiesce();
    const before = this.sink.usedIndex;
    this.#requireQuiet(ringNumber(SINK, 0), before);
    this.sink.receive();
    for (const source of this.sources) source.send(1);
    this.#requireQuiet(ringNumber(SINK, 0), before);
    strictEqual(this.sink.usedIndex, before);
    this.sink.restart();
    this.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.stop();
  }

  // Everything taken was given back, and nobody holds the lock.
  #requireQuiet(ring: number, index: number): void {
    const at = ringAt(ring);
    const words = [RING_NEXT_AVAIL, RING_NEXT_USED, RING_LOCK];
    deepStrictEqual(words.map((word) => this.state.get32(at + word)), [index, index, 0]);
  }
}

/** The rings in the list of a Worker. */
function listOf(state: State, worker: number): number[] {
  const at = workerAt(worker);
  const length = state.get32(at + W_LIST_COUNT);
  return Array.from({ length }, (_, i) => state.get16(at + W_LIST + 2 * i));
}

for (const workers of [2, 3]) {
  Deno.test(`${workers} Workers deliver every frame once, intact and in order into one ring`, async () => {
    await using shared = await SharedRing.start(workers);
    const end = performance.now() + SECONDS * 1000;
    while (performance.now() < end) shared.drive();
    shared.drain();
    deepStrictEqual([shared.lost, shared.sink.gaps, shared.drops()], [0, 0, {}]);
    ok(shared.sources.every(({ available }) => available > 1000));
    deepStrictEqual(shared.sink.next, shared.sources.map(({ available }) => available));
  });
}

Deno.test("Workers deliver every frame once while rings are stopped and started", async () => {
  await using shared = await SharedRing.start(3);
  for (let stop = 0; stop < STOPS; stop++) {
    for (let i = 0; i < 20; i++) shared.drive();
    shared.restartSource(stop % SINK);
  }
  shared.drain();
  deepStrictEqual([shared.lost, shared.sink.gaps, shared.drops()], [0, 0, {}]);
});

Deno.test("Workers lose only what they count while the receiver's ring is stopped and started", async () => {
  await using shared = await SharedRing.start(3);
  for (let stop = 0; stop < STOPS; stop++) {
    for (let i = 0; i < 20; i++) shared.drive();
    shared.restartSink();
  }
  deepStrictEqual(shared.drops(), shared.lost === 0 ? {} : { "not ready": shared.lost });
});

Deno.test("A Worker takes 65,536 chains in a second, each with an index of its own, from a ring of 256 (G23)", async () => {
  await using shared = await SharedRing.start(1);
  const [source] = shared.sources;
  strictEqual(source!.size, 256);
  const start = performance.now();
  for (let updates = 0; updates < UPDATES;) {
    // On a machine that is too busy for that it takes longer.
    const due = Math.min(UPDATES, (performance.now() - start) / 1000 * UPDATES);
    while (updates < due && source!.send(1) === 1) {
      if (++updates % BATCH === 0) shared.sink.receive();
    }
    shared.sink.receive();
  }
  shared.drain();
  deepStrictEqual([shared.lost, shared.sink.gaps, shared.drops()], [0, 0, {}]);
  strictEqual(shared.sink.next[0], UPDATES);
});

Deno.test("RingInstance.reserve gives up a ring that stays locked, and counts what it drops", async () => {
  const sim = await SwitchSim.create([{}, {}]);
  const [one, two] = sim.guests;
  const lock = ringAt(ringNumber(1, 0)) + RING_LOCK;
  const frame = makeFrame(stationAddress(2), stationAddress(1));
  sim.state.store32(lock, 9);
  one!.send(frame);
  sim.settle();
  strictEqual(sim.counters(1).drops["not ready"], 1);
  strictEqual(one!.takeSent().length, 1);
  strictEqual(sim.state.load32(lock), 9);
  sim.state.store32(lock, 0);
  one!.send(frame);
  sim.settle();
  deepStrictEqual(two!.receive().map((received) => received.frame), [frame]);
});

Deno.test("WorkerPool gives each Worker as many rings, and takes those of a port away again", async () => {
  await using shared = await SharedRing.start(3);
  const { state, pool } = shared;
  deepStrictEqual(shared.workers, [0, 1, 2]);
  const rings = [1, 3, 5, 7].map((index) => ringNumber(SINK, index));
  const owners = rings.map((ring) => pool.add(ring, null));
  deepStrictEqual(owners, [0, 1, 2, 0]);
  deepStrictEqual(listOf(state, 0), [ringNumber(0, 1), rings[0], rings[3]]);
  rings.forEach((ring, i) => pool.remove(ring, owners[i]!, null));
  for (const worker of [0, 1, 2]) deepStrictEqual(listOf(state, worker), [ringNumber(worker, 1)]);
  // A place that became free is the next to be taken.
  pool.remove(ringNumber(1, 1), 1, null);
  strictEqual(pool.add(ringNumber(1, 1), null), 1);
});
