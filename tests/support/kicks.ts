/**
 * Kicks for poll loops that no descriptors belong to.
 *
 * @module
 */
import type { Kicks } from "../../src/poll/poll_loop.ts";

/** Kicks that never come. */
export const NO_KICKS: Kicks = { wait: () => 0, token: () => 0 };

/** Kicks that a test gives. */
export class GivenKicks implements Kicks {
  /** The rings that were kicked and not yet waited for. */
  readonly pending: number[] = [];
  /** How often they were waited for. */
  waits = 0;
  #last: number[] = [];

  /** Never waits; answers what is pending. */
  wait(_timeoutMs: number): number {
    this.waits++;
    this.#last = this.pending.splice(0);
    return this.#last.length;
  }

  /** The ring that was kicked. */
  token(i: number): number {
    return this.#last[i]!;
  }
}
