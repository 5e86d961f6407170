/**
 * Chains of a port's peer that were dropped because they break a rule, for a person to read.
 *
 * Runs on the main thread.
 *
 * @module
 */
import { MISTAKES, type PortCounters } from "./counters.ts";

/** What one peer did wrong, or one peer after another; told once for each. */
export class Mistakes {
  readonly #read: () => PortCounters;
  #before: ReadonlyMap<string, number>;
  #isTold = false;

  /** @param read Reads the port's counters. */
  constructor(read: () => PortCounters) {
    this.#read = read;
    this.#before = this.#count();
  }

  /** Another peer is there: what was counted so far is not its fault. */
  begin(): void {
    this.#before = this.#count();
    this.#isTold = false;
  }

  /** What was dropped, when that is told for the first time; else null. */
  news(): string | null {
    if (this.#isTold) return null;
    const text = [...this.#count()].filter(([why, count]) => count > this.#before.get(why)!)
      .map(([why, count]) => `${count - this.#before.get(why)!} ${why}`).join(", ");
    this.#isTold = text !== "";
    return this.#isTold ? text : null;
  }

  #count(): ReadonlyMap<string, number> {
    const { drops, badReceiveChains } = this.#read();
    const counts = MISTAKES.map((why) => [why, drops[why]] as const);
    return new Map([...counts, ["bad receive chain", badReceiveChains]]);
  }
}
