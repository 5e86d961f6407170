/**
 * Gives a back-end time for its first driver: some find memory for buffers only then, and take seconds.
 *
 * @module
 */
import { type Target, verdictOf } from "./check.ts";
import { withDriver } from "./checks/formats.ts";
import { comesTrue } from "./waiting.ts";

/** How many times longer than for any other answer it may take. */
const PATIENCE = 5;

/**
 * Attaches a driver and waits until the back-end takes a frame, or for long enough. What is wrong with it
 * is left to the checks.
 *
 * @param target The back-end.
 */
export async function warmUp(target: Target): Promise<void> {
  try {
    await withDriver(target, {}, async (driver) => {
      const { session, transmit } = driver;
      driver.send(1);
      const isOver = () => transmit.queue.hasUsed || session.isBroken;
      await comesTrue(isOver, PATIENCE * session.timeoutMs);
    });
  } catch (error) {
    if (verdictOf(error) === null) throw error;
  }
}
