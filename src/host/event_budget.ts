/**
 * How many events a host may report: a stranger can make events as fast as frames, and control would
 * have to take them all in.
 *
 * @module
 */

/** Events at once; afterwards as many in a period. */
const MOST = 32;
const PERIOD_MS = 1000;

/** The budget of one host. */
export class EventBudget {
  #left = MOST;
  #periodStart = -Infinity;

  /**
   * Asks for one event.
   *
   * @param now Milliseconds of a clock that does not go back.
   * @returns Whether it may be reported.
   */
  take(now: number): boolean {
    if (now - this.#periodStart >= PERIOD_MS) {
      this.#periodStart = now;
      this.#left = MOST;
    }
    return this.#left-- > 0;
  }
}
