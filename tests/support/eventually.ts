/**
 * Waiting for what happens in other threads or in later turns of the event loop.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** Long enough for everything that is certain to happen, on a busy machine as well. */
const TIMEOUT_MS = 10_000;

/** So long the thread looks again and again; afterwards it leaves the processor to others. */
const IMPATIENT_MS = 50;

/** Lets other handlers of this thread run. */
export function nextTurn(): Promise<void> {
  // A timer would wait for a millisecond each time, which adds up over thousands of replies.
  return new Promise((resolve) => void setImmediate(resolve));
}

/**
 * Waits until something is there.
 *
 * @param what What is waited for, for the message.
 * @param look Returns it, or null as long as it is not there.
 * @param timeoutMs How long at most; only a failing test takes that long.
 * @returns What `look` returned.
 */
export async function eventually<T>(
  what: string,
  look: () => T | null,
  timeoutMs: number = TIMEOUT_MS,
): Promise<T> {
  const start = performance.now();
  for (;;) {
    const found = look();
    if (found !== null) return found;
    const waitedMs = performance.now() - start;
    if (waitedMs > timeoutMs) throw new Error(`Cannot wait any longer for ${what}`);
    await (waitedMs < IMPATIENT_MS ? nextTurn() : rest());
  }
}

function rest(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
