/**
 * Keeps one port from filling the log: a guest that reboots for ever, or a front-end that connects
 * and is turned away a thousand times a second.
 *
 * @module
 */

/** Lines that a port may write at once. */
const BURST_LINES = 40;
/** Milliseconds after which it may write one line more. */
const MS_PER_LINE = 1000;

/** What a port has left. */
interface Allowance {
  lines: number;
  /** When `lines` was right. */
  since: number;
  suppressed: number;
}

/** Decides which lines are written. */
export class LineLimiter {
  readonly #ports = new Map<string, Allowance>();

  /**
   * Asks for a line.
   *
   * @param port The port that it is about.
   * @param now Milliseconds of a clock that only goes forward.
   * @returns How many lines were left out before this one, or null when this one is left out, too.
   */
  take(port: string, now: number): number | null {
    const allowance = this.#allowance(port, now);
    const earned = Math.floor((now - allowance.since) / MS_PER_LINE);
    allowance.lines = Math.min(BURST_LINES, allowance.lines + earned);
    allowance.since += earned * MS_PER_LINE;
    if (allowance.lines === 0) {
      allowance.suppressed++;
      return null;
    }
    allowance.lines--;
    const { suppressed } = allowance;
    allowance.suppressed = 0;
    return suppressed;
  }

  #allowance(port: string, now: number): Allowance {
    let allowance = this.#ports.get(port);
    if (allowance === undefined) {
      allowance = { lines: BURST_LINES, since: now, suppressed: 0 };
      this.#ports.set(port, allowance);
    }
    return allowance;
  }
}
