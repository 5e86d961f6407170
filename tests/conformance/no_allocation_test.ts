/**
 * A poll loop forwards ten million frames and allocates nothing for them: no garbage, nothing kept.
 *
 * The heap is looked at after every few bursts. Garbage shows as growth from one look to the next;
 * a collection now and then spoils one look, which the median of hundreds forgives.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import { readCounters } from "../../src/control/counters.ts";
import { Dataplane, loadDataplane } from "../../src/dataplane/dataplane.ts";
import { ringNumber, State, workerAt } from "../../src/dataplane/state.ts";
import {
  BURST,
  FDB_MASK,
  FDB_SEED,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
} from "../../src/dataplane/state_layout.ts";
import { PollLoop } from "../../src/poll/poll_loop.ts";
import { FlowSink, FlowSource } from "../support/flows.ts";
import { NO_KICKS } from "../support/kicks.ts";

const FRAMES = 10_000_000;
/** Looks at the heap before the first that counts: everything is compiled by then. */
const WARM_UP_LOOKS = 100;
const BURSTS_PER_LOOK = 256;
const FRAMES_PER_LOOK = BURSTS_PER_LOOK * BURST;
const LOOKS = Math.ceil(FRAMES / FRAMES_PER_LOOK);
/**
 * Growth from one look to the next. The smallest object of one burst in two would be 2 KiB, one of
 * each frame 256 KiB; a look at the clock for one burst in sixteen may be 512 bytes.
 */
const LIMIT_BYTES = 2048;
/** Growth from the first look to the last. */
const KEPT_LIMIT_BYTES = 2 ** 20;
const SOURCE = 0;
const SINK = 1;

/** One poll loop over a source and a receiver, in this thread. */
class Bench {
  readonly state = new State();
  readonly source: FlowSource;
  readonly sink: FlowSink;
  readonly loop: PollLoop;

  private constructor(modules: Awaited<ReturnType<typeof loadDataplane>>, frameBytes: number) {
    const { state } = this;
    state.set32(FDB_MASK, 1023);
    state.set64(FDB_SEED, 0x9e37_79b9_7f4a_7c15n);
    new BridgeMembers(state).setAgeing(0, 300);
    this.source = new FlowSource(state, SOURCE, SINK, frameBytes);
    this.source.send(this.source.size);
    this.sink = new FlowSink(state, SINK, 256);
    const memories = [this.source, this.sink].map(({ guest }) => guest.memory.memory);
    this.loop = new PollLoop({
      ...{ worker: 0, state, mode: "busy", signal: () => {}, kicks: NO_KICKS },
      dataplane: new Dataplane(modules, state.memory, memories),
    });
    const at = workerAt(0);
    state.set16(at + W_LIST, ringNumber(SOURCE, 1));
    state.set32(at + W_LIST_COUNT, 1);
    state.add32(at + W_LIST_GENERATION, 1);
  }

  static async create(frameBytes: number): Promise<Bench> {
    return new Bench(await loadDataplane(), frameBytes);
  }

  /** Forwards bursts; what came is offered again, what was sent is sent again. */
  forward(bursts: number): void {
    for (let i = 0; i < bursts; i++) {
      this.loop.turn();
      this.sink.offer(this.sink.skip());
      this.source.offer(BURST);
    }
  }
}

/** Bytes by which the heap grows while `body` runs, at every look. */
function growth(looks: number, body: () => void): number[] {
  const grown: number[] = [];
  let before = Deno.memoryUsage().heapUsed;
  for (let i = 0; i < looks; i++) {
    body();
    const after = Deno.memoryUsage().heapUsed;
    grown.push(after - before);
    before = after;
  }
  return grown;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

for (const frameBytes of [60, 1500]) {
  Deno.test(`PollLoop.turn allocates nothing for frames of ${frameBytes} bytes`, async () => {
    const bench = await Bench.create(frameBytes);
    const forward = () => bench.forward(BURSTS_PER_LOOK);
    growth(WARM_UP_LOOKS, forward);
    // A look allocates itself.
    const look = median(growth(WARM_UP_LOOKS, () => {}));
    const start = Deno.memoryUsage().heapUsed;
    const grown = median(growth(LOOKS, forward)) - look;
    const kept = Deno.memoryUsage().heapUsed - start;
    ok(grown < LIMIT_BYTES, `${grown} bytes of garbage for ${FRAMES_PER_LOOK} frames`);
    ok(kept < KEPT_LIMIT_BYTES, `${kept} bytes are kept`);
    const sent = (WARM_UP_LOOKS + LOOKS) * FRAMES_PER_LOOK;
    strictEqual(readCounters(bench.state, SINK, 1).transmittedFrames, sent);
  });
}
