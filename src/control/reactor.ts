/**
 * The main thread's event loop for descriptors: epoll waits on Deno's thread pool, handlers run here.
 *
 * Handlers are short and never wait. After every batch the JavaScript event loop runs (timers, the
 * API, Worker messages), so a peer that floods one socket cannot starve the rest.
 *
 * @module
 */
import { Epoll, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLRDHUP } from "../../ffi/epoll.ts";
import { EventFd } from "../../ffi/eventfd.ts";

/** Called with the epoll events of a watched descriptor. */
export type ReadyHandler = (events: number) => void;

/** The events that every watched descriptor reports. */
export const READABLE_EVENTS: number = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;

/** How long one wait may take; only bounds the cost of a lost wake-up. */
const WAIT_MS = 10_000;

/** Watches descriptors and calls their handlers. */
export class Reactor {
  readonly #epoll = Epoll.create();
  readonly #wake = EventFd.create();
  readonly #handlers = new Map<number, ReadyHandler>();
  #nextToken = 1;
  #running: Promise<void> | null = null;
  #isStopped = false;

  /**
   * Watches a descriptor. The caller keeps it and unwatches it before closing it.
   *
   * @param fd The descriptor's number.
   * @param handler Called when it is readable or hung up.
   * @returns A token for {@linkcode unwatch}.
   */
  watch(fd: number, handler: ReadyHandler): number {
    const token = this.#nextToken++;
    this.#epoll.add(fd, READABLE_EVENTS, token);
    this.#handlers.set(token, handler);
    return token;
  }

  /** Changes which events a descriptor reports. */
  change(fd: number, token: number, events: number): void {
    this.#epoll.modify(fd, events, token);
  }

  /** Stops watching. An event that is already collected is dropped. */
  unwatch(fd: number, token: number): void {
    this.#handlers.delete(token);
    this.#epoll.remove(fd);
  }

  /** Starts the loop. */
  start(): void {
    this.#epoll.add(this.#wake.fd.number, EPOLLIN, 0);
    this.#running = this.#run();
  }

  /** Ends the loop and closes its descriptors; resolves when no wait is under way any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake.signal();
    await this.#running;
    this.#epoll[Symbol.dispose]();
    this.#wake.close();
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const ready = await this.#epoll.waitAsync(WAIT_MS);
      // The tokens are read before a handler runs: a handler may unwatch another one's descriptor.
      const batch: [number, number][] = [];
      for (let i = 0; i < ready; i++) batch.push([this.#epoll.token(i), this.#epoll.events(i)]);
      for (const [token, events] of batch) this.#handlers.get(token)?.(events);
    }
  }
}
