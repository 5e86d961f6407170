import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Dataplane, loadDataplane } from "../../../src/dataplane/dataplane.ts";
import { ringNumber, State, workerAt } from "../../../src/dataplane/state.ts";
import {
  W_BUSY_POLLS,
  W_COMMAND,
  W_COMMAND_STOP,
  W_EPOCH,
  W_FRAMES_TAKEN,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
  W_POLLS,
  W_SLEEPING,
  W_SLEEPS,
} from "../../../src/dataplane/state_layout.ts";
import { PollLoop, type PollMode } from "../../../src/poll/poll_loop.ts";
import { VIRTQ_USED_F_NO_NOTIFY } from "../../../src/virtio/layouts.ts";
import { makeFrame, stationAddress } from "../../support/frames.ts";
import { GuestSim } from "../../support/guest_sim.ts";

const WORKER = 3;
const AT = workerAt(WORKER);
const FRAME = makeFrame(stationAddress(2), stationAddress(1));

/** A loop over one guest's transmit ring; `sleep` says what happens while it sleeps. */
class Bench {
  readonly state = new State();
  readonly guest = new GuestSim(this.state, 0, {});
  readonly sleeps: number[] = [];
  readonly signals: number[] = [];
  readonly loop: PollLoop;

  private constructor(
    modules: Awaited<ReturnType<typeof loadDataplane>>,
    mode: PollMode,
    sleep: (bench: Bench) => void,
  ) {
    this.loop = new PollLoop({
      ...{ worker: WORKER, state: this.state, mode },
      dataplane: new Dataplane(modules, this.state.memory, [this.guest.memory.memory]),
      signal: (fd) => this.signals.push(fd),
      kicks: {
        wait: (timeoutMs) => {
          this.sleeps.push(timeoutMs);
          sleep(this);
          return 0;
        },
        token: () => 0,
      },
    });
    this.setList([ringNumber(0, 1)]);
  }

  static async create(mode: PollMode, sleep: (bench: Bench) => void = stop): Promise<Bench> {
    return new Bench(await loadDataplane(), mode, sleep);
  }

  setList(rings: readonly number[]): void {
    rings.forEach((ring, i) => this.state.set16(AT + W_LIST + i * 2, ring));
    this.state.set32(AT + W_LIST_COUNT, rings.length);
    this.state.add32(AT + W_LIST_GENERATION, 1);
  }

  get refusesKicks(): boolean {
    return this.guest.raw(1).usedFlags === VIRTQ_USED_F_NO_NOTIFY;
  }
}

function stop({ state }: Bench): void {
  state.store32(AT + W_COMMAND, W_COMMAND_STOP);
}

Deno.test("PollLoop.turn moves the epoch on by one, work or not", async () => {
  const { loop, guest, state } = await Bench.create("busy");
  for (let turn = 1; turn <= 3; turn++) {
    loop.turn();
    strictEqual(state.get32(AT + W_EPOCH), turn);
  }
  guest.send(FRAME);
  strictEqual(loop.turn(), 1);
  strictEqual(state.get32(AT + W_EPOCH), 4);
});

Deno.test("PollLoop.turn refuses kicks of rings that are new in its list", async () => {
  const bench = await Bench.create("busy");
  strictEqual(bench.refusesKicks, false);
  bench.loop.turn();
  strictEqual(bench.refusesKicks, true);
});

Deno.test("PollLoop.turn reads its list again only when the generation grows", async () => {
  const { loop, guest, state, setList } = await Bench.create("busy");
  loop.turn();
  state.set32(AT + W_LIST_COUNT, 0);
  guest.send(FRAME);
  strictEqual(loop.turn(), 1);
  setList.call({ state } as Bench, []);
  guest.send(FRAME);
  strictEqual(loop.turn(), 0);
});

Deno.test("PollLoop.turn signals the call descriptor of a guest once per burst", async () => {
  const { loop, guest, signals } = await Bench.create("busy");
  for (let i = 0; i < 5; i++) guest.send(FRAME);
  loop.turn();
  deepStrictEqual(signals, [ringNumber(0, 1)]);
});

Deno.test("PollLoop.run returns at once when it is told to stop, and counts as asleep", async () => {
  const bench = await Bench.create("event");
  stop(bench);
  bench.loop.run();
  deepStrictEqual(bench.sleeps, []);
  strictEqual(bench.state.get32(AT + W_EPOCH), 0);
  strictEqual(bench.state.get32(AT + W_SLEEPING), 1);
});

for (const mode of ["event", "adaptive"] as const) {
  Deno.test(`PollLoop.run sleeps when idle in mode ${mode}, kicks wanted and marked asleep`, async () => {
    let sleeping = -1;
    let refusesKicks = true;
    const bench = await Bench.create(mode, (at) => {
      sleeping = at.state.get32(AT + W_SLEEPING);
      refusesKicks = at.refusesKicks;
      stop(at);
    });
    bench.loop.run();
    deepStrictEqual(bench.sleeps, [1000]);
    strictEqual(sleeping, 1);
    strictEqual(refusesKicks, false);
    strictEqual(bench.state.getFloat(AT + W_SLEEPS), 1);
  });

  Deno.test(`PollLoop.run takes frames that came while it slept in mode ${mode}`, async () => {
    let wasAwake = 1;
    const bench = await Bench.create(mode, (at) => {
      if (at.sleeps.length === 1) at.guest.send(FRAME);
      else stop(at);
      wasAwake &= at.state.get32(AT + W_SLEEPING);
    });
    bench.loop.run();
    strictEqual(bench.sleeps.length, 2);
    strictEqual(wasAwake, 1);
    strictEqual(bench.guest.takeSent().length, 1);
  });
}

Deno.test("PollLoop.run refuses kicks again after it slept", async () => {
  const seen: boolean[] = [];
  const bench = await Bench.create("event", (at) => {
    if (at.sleeps.length === 2) stop(at);
  });
  const { loop } = bench;
  const turn = loop.turn.bind(loop);
  loop.turn = () => {
    const taken = turn();
    seen.push(bench.refusesKicks);
    return taken;
  };
  loop.run();
  deepStrictEqual(seen, [true, true]);
});

Deno.test("PollLoop.run does not sleep when chains come between its last look and the wish for kicks", async () => {
  const bench = await Bench.create("event");
  const { loop, guest } = bench;
  const turn = loop.turn.bind(loop);
  let turns = 0;
  loop.turn = () => {
    const taken = turn();
    // The guest sends right behind a turn that found nothing.
    if (++turns === 1) guest.send(FRAME);
    return taken;
  };
  loop.run();
  // First turn: nothing, no sleep. Second: the frame. Third: nothing, sleep.
  deepStrictEqual([turns, bench.sleeps.length], [3, 1]);
  strictEqual(guest.takeSent().length, 1);
});

Deno.test("PollLoop.run does not sleep when its list or its command changed meanwhile", async () => {
  const bench = await Bench.create("event");
  const { loop } = bench;
  const turn = loop.turn.bind(loop);
  let turns = 0;
  loop.turn = () => {
    const taken = turn();
    turns++;
    if (turns === 1) bench.setList([]);
    if (turns === 2) stop(bench);
    return taken;
  };
  loop.run();
  deepStrictEqual([turns, bench.sleeps.length], [2, 0]);
});

Deno.test("PollLoop.run never sleeps in mode busy", async () => {
  const bench = await Bench.create("busy");
  const { loop } = bench;
  const turn = loop.turn.bind(loop);
  let turns = 0;
  loop.turn = () => {
    if (++turns === 5000) stop(bench);
    return turn();
  };
  loop.run();
  deepStrictEqual([turns, bench.sleeps.length], [5000, 0]);
  strictEqual(bench.refusesKicks, true);
});

Deno.test("PollLoop.run looks for work many times before it sleeps in mode adaptive", async () => {
  const bench = await Bench.create("adaptive");
  bench.loop.run();
  ok(bench.state.get32(AT + W_EPOCH) >= 32);
});

Deno.test("PollLoop.run spins anew after work in mode adaptive", async () => {
  const bench = await Bench.create("adaptive", (at) => {
    if (at.sleeps.length === 1) at.guest.send(FRAME);
    else stop(at);
  });
  bench.loop.run();
  ok(bench.state.get32(AT + W_EPOCH) >= 2 * 32 + 1);
});

Deno.test("PollLoop.run writes its statistics before it sleeps and when it stops", async () => {
  const bench = await Bench.create("event");
  for (let i = 0; i < 70; i++) bench.guest.send(FRAME);
  bench.loop.run();
  const statistics = [W_POLLS, W_BUSY_POLLS, W_FRAMES_TAKEN, W_SLEEPS];
  // 64 chains, 6 chains, nothing, then asleep.
  deepStrictEqual(statistics.map((at) => bench.state.getFloat(AT + at)), [3, 2, 70, 1]);
});
