import { ok, strictEqual, throws } from "node:assert/strict";
import { quiesce } from "../../../src/control/quiescence.ts";
import { State, workerAt } from "../../../src/dataplane/state.ts";
import {
  W_COMMAND,
  W_COMMAND_STOP,
  W_EPOCH,
  W_SLEEPING,
} from "../../../src/dataplane/state_layout.ts";
import type { QuiescenceRole } from "../../support/quiescence_worker.ts";

/** Runs `body` beside a Worker that turns, sleeps or is stuck. */
async function beside(
  state: State,
  role: Omit<QuiescenceRole, "memory">,
  body: () => void,
): Promise<void> {
  const url = new URL("../../support/quiescence_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  try {
    await new Promise((resolve) => {
      worker.onmessage = resolve;
      worker.postMessage({ memory: state.memory, ...role });
    });
    body();
  } finally {
    state.store32(workerAt(role.worker) + W_COMMAND, W_COMMAND_STOP);
    worker.terminate();
  }
}

Deno.test("quiesce returns at once when every Worker sleeps", () => {
  const state = new State();
  for (const worker of [0, 1, 2]) state.store32(workerAt(worker) + W_SLEEPING, 1);
  quiesce(state, 3);
});

Deno.test("quiesce returns at once without Workers", () => {
  quiesce(new State(), 0);
});

Deno.test("quiesce waits until a Worker has finished the turn it is in", async () => {
  const state = new State();
  await beside(state, { worker: 0, turnMs: 30, isSleeper: false }, () => {
    const epoch = state.load32(workerAt(0) + W_EPOCH);
    quiesce(state, 1);
    ok(state.load32(workerAt(0) + W_EPOCH) > epoch);
  });
});

Deno.test("quiesce waits until a Worker falls asleep", async () => {
  const state = new State();
  await beside(state, { worker: 0, turnMs: 30, isSleeper: true }, () => {
    quiesce(state, 1);
    strictEqual(state.load32(workerAt(0) + W_SLEEPING), 1);
  });
});

Deno.test("quiesce waits for the second Worker when the first one sleeps", async () => {
  const state = new State();
  state.store32(workerAt(0) + W_SLEEPING, 1);
  await beside(state, { worker: 1, turnMs: 30, isSleeper: false }, () => {
    const epoch = state.load32(workerAt(1) + W_EPOCH);
    quiesce(state, 2);
    ok(state.load32(workerAt(1) + W_EPOCH) > epoch);
  });
});

Deno.test("quiesce takes an epoch that wraps for one that moved", async () => {
  const state = new State();
  state.store32(workerAt(0) + W_EPOCH, 0xffffffff);
  await beside(state, { worker: 0, turnMs: 20, isSleeper: false }, () => quiesce(state, 1));
});

// The bound of five seconds is not an argument, so this test waits for it once.
Deno.test("quiesce throws and names the Worker that does not come around", async () => {
  const state = new State();
  await beside(state, { worker: 0, turnMs: 1, isSleeper: false }, () => {
    throws(() => quiesce(state, 2), /^Error: Cannot quiesce: poll Worker 1 /);
  });
});
