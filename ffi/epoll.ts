/**
 * Waiting for many descriptors.
 *
 * @module
 */
import { u32le } from "../src/layout/struct.ts";
import { check, EINTR, errno, OsError } from "./errno.ts";
import { Fd } from "./fd.ts";
import { EPOLL_EVENT } from "./layouts.ts";
import { libc } from "./libc.ts";

/** Readable (sys/epoll.h). */
export const EPOLLIN = 0x001;
/** Writable. */
export const EPOLLOUT = 0x004;
/** In error; always reported. */
export const EPOLLERR = 0x008;
/** Hung up; always reported. */
export const EPOLLHUP = 0x010;
/** The peer will not send any more. */
export const EPOLLRDHUP = 0x2000;
/** Report changes, not states. */
export const EPOLLET = 0x80000000;

// sys/epoll.h
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
/** Events of one wait; more are reported by the next. */
const MAX_EVENTS = 64;

/** A set of watched descriptors. */
export class Epoll implements Disposable {
  /** The set's own descriptor. */
  readonly fd: Fd;
  readonly #isOwner: boolean;
  readonly #ready = new Uint8Array(MAX_EVENTS * EPOLL_EVENT.size);
  readonly #readyView = new DataView(this.#ready.buffer);
  readonly #event = new Uint8Array(EPOLL_EVENT.size);

  private constructor(fd: Fd, isOwner: boolean) {
    this.fd = fd;
    this.#isOwner = isOwner;
  }

  /** Makes an empty set. */
  static create(): Epoll {
    return new Epoll(
      Fd.adopt(check(libc().epoll_create1(EPOLL_CLOEXEC), "create an epoll set")),
      true,
    );
  }

  /**
   * Waits on a set that another thread of this process owns; disposing of it closes nothing.
   *
   * @param fd The number of the set's descriptor.
   */
  static borrow(fd: number): Epoll {
    return new Epoll(Fd.adopt(fd), false);
  }

  /**
   * Watches a descriptor.
   *
   * @param fd The descriptor's number; remove it before it is closed.
   * @param events A set of EPOLL*.
   * @param token What {@linkcode token} says when it is ready, 32 bits.
   */
  add(fd: number, events: number, token: number): void {
    this.#control(EPOLL_CTL_ADD, fd, events, token, "watch a descriptor");
  }

  /** Changes what a watched descriptor reports. */
  modify(fd: number, events: number, token: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events, token, "change a watched descriptor");
  }

  /** Stops watching a descriptor. */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0, 0, "stop watching a descriptor");
  }

  /**
   * Waits in this thread.
   *
   * @param timeoutMs How long at most.
   * @returns How many descriptors are ready, 0 to 64; 0 also when a signal came.
   */
  wait(timeoutMs: number): number {
    return this.#result(libc().epoll_wait(this.fd.number, this.#ready, MAX_EVENTS, timeoutMs));
  }

  /** Waits like {@linkcode wait}, on Deno's thread pool. One wait at a time. */
  async waitAsync(timeoutMs: number): Promise<number> {
    const count = await libc().epoll_wait_async(
      this.fd.number,
      this.#ready,
      MAX_EVENTS,
      timeoutMs,
    );
    // The call ran on another thread, whose errno this one cannot read. The only failure that a
    // valid set can have is an interrupted wait.
    return Math.max(0, count);
  }

  /** The token of the i-th ready descriptor of the last wait. Does not allocate. */
  token(i: number): number {
    const at = i * EPOLL_EVENT.size + EPOLL_EVENT.offset.data;
    return u32le.get(this.#readyView, at);
  }

  /** The events of the i-th ready descriptor of the last wait. */
  events(i: number): number {
    return u32le.get(this.#readyView, i * EPOLL_EVENT.size + EPOLL_EVENT.offset.events);
  }

  /** Closes the set, unless it is borrowed. */
  [Symbol.dispose](): void {
    if (this.#isOwner) this.fd.close();
    else if (this.fd.isOpen) this.fd.release();
  }

  #control(operation: number, fd: number, events: number, token: number, action: string): void {
    EPOLL_EVENT.write(new DataView(this.#event.buffer), 0, { events, data: BigInt(token) });
    check(libc().epoll_ctl(this.fd.number, operation, fd, this.#event), action);
  }

  #result(count: number): number {
    if (count >= 0) return count;
    const number = errno();
    if (number === EINTR) return 0;
    throw new OsError("wait for descriptors", number);
  }
}
