/**
 * A back-end that can be reached: connects to it and begins conversations.
 *
 * @module
 */
import { ForeignDescriptors } from "../../ffi/foreign.ts";
import type { Target } from "./check.ts";
import { Connection } from "./connection.ts";
import type { Connector } from "./connector.ts";
import { Session } from "./session.ts";
import { HungUp } from "./verdict.ts";
import { pause } from "./waiting.ts";

/** Between two attempts to talk to a back-end that still thinks of its last front-end. */
const RETRY_MS = 50;

/** Reaches a back-end. */
export class ReachedTarget implements Target {
  readonly #connector: Connector;
  readonly #timeoutMs: number;
  /** What the back-end gave, and the sockets of all connections to it. */
  readonly #foreign = new ForeignDescriptors();

  /**
   * @param connector Makes connections; stays the caller's.
   * @param timeoutMs How long the back-end may take for each answer.
   */
  constructor(connector: Connector, timeoutMs: number) {
    this.#connector = connector;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Begins a conversation. A back-end may need a moment until it takes the next front-end, so it is
   * asked again when it hangs up at once.
   */
  async open(): Promise<Session> {
    const deadline = performance.now() + this.#timeoutMs;
    for (;;) {
      await this.left();
      const socket = await this.#connector.connect(this.#timeoutMs);
      try {
        return await Session.begin(new Connection(socket, this.#timeoutMs, this.#foreign));
      } catch (error) {
        if (!(error instanceof HungUp) || performance.now() > deadline) throw error;
      }
      await pause(RETRY_MS);
    }
  }

  /** Waits until the connections before have ended, but not for whoever holds that up. */
  async left(): Promise<void> {
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, this.#timeoutMs);
    await Promise.race([this.#foreign.closed(), patience.promise]);
    clearTimeout(timer);
  }
}
