/**
 * Waiting for what a back-end does to shared memory, of which nobody tells.
 *
 * @module
 */

/** How often shared memory is looked at. */
const LOOK_MS = 1;
/** How long nothing may happen until it counts as never: a back-end that works needs far less. */
export const QUIET_MS = 100;

/** Lets time pass. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Waits until something holds, looking again and again.
 *
 * @param holds Looks whether it does.
 * @param timeoutMs How long at most.
 * @returns Whether it does.
 */
export async function comesTrue(holds: () => boolean, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() >= deadline) return false;
    await pause(LOOK_MS);
  }
  return true;
}
