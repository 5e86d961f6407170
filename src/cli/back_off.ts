/**
 * How long to wait before a program that died is started again.
 *
 * The first death is answered at once. Whoever keeps dying young waits longer each time, so that it
 * neither fills the log nor keeps a processor busy with starting; whoever lived for a while is
 * forgiven.
 *
 * @module
 */

/** The wait after the second early death. */
const FIRST_WAIT_MS = 100;
/** The longest wait: a guest's user still takes it for a pause. */
const LAST_WAIT_MS = 5000;
/** Who has run for so long did not die of its start. */
const STABLE_MS = 10_000;

/** Counts the early deaths of one program. */
export class BackOff {
  #earlyDeaths = 0;

  /**
   * Counts a death.
   *
   * @param ranMs How long the program had run.
   * @returns How many milliseconds to wait.
   */
  wait(ranMs: number): number {
    if (ranMs >= STABLE_MS) this.#earlyDeaths = 0;
    const doublings = this.#earlyDeaths++ - 1;
    return doublings < 0 ? 0 : Math.min(FIRST_WAIT_MS * 2 ** doublings, LAST_WAIT_MS);
  }
}
