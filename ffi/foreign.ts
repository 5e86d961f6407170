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
  #closing: Promise<void> = Promise.resolve();
  #count = 0;

  /** Takes ownership of a descriptor; its `close` returns at once. */
  readonly adopt: (number: number) => Fd = (number) =>
    Fd.adopt(number, (closed) => this.#close(closed));

  /** Whether some are still being closed. */
  get isClosing(): boolean {
    return this.#count > 0;
  }

  /** How many are still being closed. */
  get closing(): number {
    return this.#count;
  }

  /** Waits until those are closed that were to be closed so far. */
  async closed(): Promise<void> {
    await this.#closing;
  }

  #close(number: number): void {
    if (isHarmless(number)) return closeNow(number);
    const { close_async } = libc();
    this.#count++;
    this.#closing = this.#closing.then(() => callSlowly(() => close_async(number)))
      .then(() => void this.#count--);
  }
}

// Those that every front-end sends: nobody can make their end wait.
function isHarmless(number: number): boolean {
  return isMemoryFile({ number }) || isEventFd({ number });
}
