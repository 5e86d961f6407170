/**
 * A Worker that works against the switch until it is told to stop.
 *
 * @module
 */
import { eventually } from "./eventually.ts";

/** What every such Worker is told. */
export interface RacerRole {
  /** One word; the race is over when it is not 0. */
  readonly words: SharedArrayBuffer;
}

/** What such a Worker reports. */
export type RacerReport = "running" | "over";

/** A Worker, and what it has said since the last race began. */
export class Racer<Role extends RacerRole> implements Disposable {
  readonly #worker: Worker;
  readonly #words = new SharedArrayBuffer(4);
  #reports: RacerReport[] = [];

  /** @param file The Worker's file in this folder. */
  constructor(file: string) {
    this.#worker = new Worker(new URL(file, import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#reports.push(data);
  }

  /** Starts a race. */
  async begin(role: Omit<Role, keyof RacerRole>): Promise<void> {
    this.#reports = [];
    Atomics.store(new Int32Array(this.#words), 0, 0);
    this.#worker.postMessage({ ...role, words: this.#words });
    await eventually("the race begins", () => this.#reports[0] ?? null);
  }

  /**
   * Ends it.
   *
   * @param help Called until it is over; lets the Worker out of what it waits in.
   */
  async end(help: () => void = () => {}): Promise<void> {
    Atomics.store(new Int32Array(this.#words), 0, 1);
    await eventually("the race is over", () => {
      help();
      return this.#reports[1] ?? null;
    });
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
