/**
 * Descriptors that a peer gave us, and the socket that they came through.
 *
 * Closing one may wait for as long as the peer likes: for a socket that lingers until a third party
 * has read, for a file whose file system is a process and says nothing. Closing the peer's socket
 * closes what waits in it. So all of them are closed on Deno's thread pool, except for kinds that are
 * known to be harmless.
 *
 * @module
 */
import { isEventFd } from "./eventfd.ts";
import { closeNow, Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import { isMemoryFile } from "./memory.ts";
import { callSlowly } from "./slow_calls.ts";

/** What one peer gave, or one peer after another. They are closed one by one. */
export class ForeignDescriptors {
  #closing: Promise<void> | null = null;

  /** Takes ownership of a descriptor; its `close` returns at once. */
  readonly adopt: (number: number) => Fd = (number) =>
    Fd.adopt(number, (closed) => this.#close(closed));

  /** Whether some are still being closed. */
  get isClosing(): boolean {
    return this.#closing !== null;
  }

  /** Waits until those are closed that were to be closed so far. */
  async closed(): Promise<void> {
    await this.#closing;
  }

  #close(number: number): void {
    if (isHarmless(number)) return closeNow(number);
    const { close_async } = libc();
    const before = this.#closing ?? Promise.resolve();
    const end = before.then(() => callSlowly(() => close_async(number))).then(() => {
      if (this.#closing === end) this.#closing = null;
    });
    this.#closing = end;
  }
}

// Those that every front-end sends: nobody can make their end wait.
function isHarmless(number: number): boolean {
  return isMemoryFile({ number }) || isEventFd({ number });
}
