/**
 * The two ports that have nothing to do with an attack: two hosts in a Worker that exchange frames all
 * the time.
 *
 * @module
 */
import type { Command, Report } from "./bystanders_worker.ts";

/** Longer than a busy machine needs to attach both. */
const ANSWER_TIMEOUT_MS = 30_000;

/** Two hosts that exchange frames. Disposing stops them. */
export class Bystanders implements AsyncDisposable {
  readonly #worker = new Worker(new URL("bystanders_worker.ts", import.meta.url), {
    type: "module",
  });

  private constructor() {}

  /** Attaches both and waits until frames pass. */
  static async start(sockets: readonly [string, string]): Promise<Bystanders> {
    const bystanders = new Bystanders();
    try {
      await bystanders.#ask(sockets);
      await bystanders.take();
      return bystanders;
    } catch (error) {
      bystanders.#worker.terminate();
      throw error;
    }
  }

  /** What they saw since this was called last, up to the end of a burst there and back. */
  async take(): Promise<Report> {
    return await this.#ask("take") as Report;
  }

  /** Detaches both. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#ask("stop");
    } finally {
      this.#worker.terminate();
    }
  }

  async #ask(command: Command): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const timer = setTimeout(
      () => reject(new Error("Cannot hear from the bystanders")),
      ANSWER_TIMEOUT_MS,
    );
    this.#worker.onmessage = ({ data }) => resolve(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    this.#worker.postMessage(command);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }
}
