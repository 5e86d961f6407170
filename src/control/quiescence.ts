/**
 * Waits until no poll Worker uses what control has just taken away.
 *
 * A Worker holds no address, length or descriptor number between two turns of its loop, and touches
 * nothing while it sleeps. So control changes state memory first (atomically), then calls
 * {@linkcode quiesce}; when it returns, every Worker has either finished the turn in which the change
 * may have been unseen, or sleeps and will see it when it wakes:
 *
 * | control | Worker |
 * | --- | --- |
 * | store: ring stopped | |
 * | load: sleeping? epoch? | store: epoch + 1, or sleeping = 1, at the end of its turn |
 * | | store: sleeping = 0, load: ring stopped?, at the start of the next |
 *
 * All of these are sequentially consistent, so "control saw sleeping" implies "the Worker sees the
 * change". Only then may memory be remapped, a descriptor be closed, a stop be answered.
 *
 * @module
 */
import { type State, workerAt } from "../dataplane/state.ts";
import { W_EPOCH, W_SLEEPING } from "../dataplane/state_layout.ts";

/** A turn is bounded to milliseconds; a Worker that takes this long is stuck or starved. */
const TIMEOUT_MS = 5000;
/** After this long something is done about a Worker that does not come around. */
const SLOW_MS = 100;

/**
 * Blocks until every Worker has passed a turn or sleeps; microseconds as a rule.
 *
 * Runs on the main thread.
 *
 * @param state The state memory.
 * @param workers How many Workers there are.
 * @param onSlow Called now and then while a Worker does not come around.
 * @throws {Error} When a Worker does not come around: a programmer's fault, nothing may be unmapped.
 */
export function quiesce(state: State, workers: number, onSlow: () => void = () => {}): void {
  const epochs = new Array<number>(workers);
  for (let w = 0; w < workers; w++) epochs[w] = state.load32(workerAt(w) + W_EPOCH);
  for (let w = 0; w < workers; w++) waitFor(state, w, epochs[w]!, onSlow);
}

function waitFor(state: State, worker: number, epoch: number, onSlow: () => void): void {
  const at = workerAt(worker);
  const deadline = performance.now() + TIMEOUT_MS;
  let slow = performance.now() + SLOW_MS;
  while (state.load32(at + W_SLEEPING) === 0 && state.load32(at + W_EPOCH) === epoch) {
    if (performance.now() > slow) {
      onSlow();
      slow = performance.now() + SLOW_MS;
    }
    if (performance.now() > deadline) {
      throw new Error(`Cannot quiesce: poll Worker ${worker} has not finished its turn`);
    }
    state.pause(at + W_EPOCH, epoch);
  }
}
