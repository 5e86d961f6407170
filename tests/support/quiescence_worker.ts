/**
 * A Worker that plays a poll loop for tests of quiescence: it moves its epoch on, or is stuck.
 *
 * @module
 */
import { State, workerAt } from "../../src/dataplane/state.ts";
import {
  W_COMMAND,
  W_COMMAND_STOP,
  W_EPOCH,
  W_SLEEPING,
} from "../../src/dataplane/state_layout.ts";

/** What the Worker does. */
export interface QuiescenceRole {
  /** The state memory. */
  readonly memory: WebAssembly.Memory;
  /** Its number. */
  readonly worker: number;
  /** How long a turn takes. */
  readonly turnMs: number;
  /** Whether it only falls asleep after its first turn. */
  readonly isSleeper: boolean;
}

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<QuiescenceRole>) => void) | null;
  postMessage(report: "running"): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { memory, worker, turnMs, isSleeper } }) => {
  const state = new State(memory);
  const at = workerAt(worker);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  scope.postMessage("running");
  while (state.load32(at + W_COMMAND) !== W_COMMAND_STOP) {
    Atomics.wait(pause, 0, 0, turnMs);
    if (isSleeper) state.store32(at + W_SLEEPING, 1);
    else state.add32(at + W_EPOCH, 1);
  }
};
