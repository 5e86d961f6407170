/**
 * Event descriptors: kicks, calls and doorbells.
 *
 * @module
 */
import { addressOf } from "./address.ts";
import { acquireContext, AioSignaller } from "./aio.ts";
import { check, EAGAIN, errno, OsError } from "./errno.ts";
import { F_DUPFD_CLOEXEC, Fd } from "./fd.ts";
import { IOVEC } from "./layouts.ts";
import { libc } from "./libc.ts";
import { readProcLink } from "./proc.ts";
import { callSlowly } from "./slow_calls.ts";

// bits/eventfd.h
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
// bits/fcntl-linux.h
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
// linux/fs.h: do not wait, whatever the descriptor's flags say.
const RWF_NOWAIT = 8;
/** preadv2 reads where the file stands, which is all an event descriptor can do. */
const NO_OFFSET = -1n;
/** What the kernel shows as the target of an event descriptor in /proc/self/fd. */
const EVENTFD_LINK = "anon_inode:[eventfd]";
/** An event descriptor is read and written as one 64-bit count. */
const COUNT_BYTES = 8n;

function one(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new BigUint64Array([1n]).buffer);
}

/** An event descriptor of our own. */
export class EventFd implements Disposable {
  /** The descriptor; this object owns it. */
  readonly fd: Fd;
  readonly #buffer = one();

  private constructor(fd: Fd) {
    this.fd = fd;
  }

  /**
   * Makes one, non-blocking.
   *
   * @param initial Its count to begin with.
   * @throws {OsError} When the system refuses.
   */
  static create(initial = 0): EventFd {
    const flags = EFD_CLOEXEC | EFD_NONBLOCK;
    return new EventFd(Fd.adopt(check(libc().eventfd(initial, flags), "create an eventfd")));
  }

  /** Adds one to the count, which wakes whoever waits. */
  signal(): void {
    libc().write(this.fd.number, this.#buffer, COUNT_BYTES);
  }

  /** Reads the count and sets it to zero; 0 when nobody signalled. */
  drain(): bigint {
    const count = new BigUint64Array(1);
    const result = libc().read(this.fd.number, new Uint8Array(count.buffer), COUNT_BYTES);
    if (result === COUNT_BYTES) return count[0]!;
    const number = errno();
    if (number === EAGAIN) return 0n;
    throw new OsError("read an eventfd", number);
  }

  /** Closes the descriptor. */
  close(): void {
    this.fd.close();
  }

  /** Closes the descriptor. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Makes sure that a descriptor from a peer is an event descriptor, and that writing it never waits:
 * a pipe or a full count would hold a poll Worker for ever.
 *
 * @param fd The descriptor; stays the caller's.
 * @returns Whether it is one.
 */
export function prepareEventFd(fd: { readonly number: number }): boolean {
  if (!isEventFd(fd)) return false;
  forbidWaiting(fd.number);
  return true;
}

/** Whether a descriptor is one of events; it stays the caller's. */
export function isEventFd(fd: { readonly number: number }): boolean {
  return readProcLink(`/proc/self/fd/${fd.number}`) === EVENTFD_LINK;
}

function forbidWaiting(fd: number): void {
  const flags = check(libc().fcntl(fd, F_GETFL, 0), "read the flags of an eventfd");
  if ((flags & O_NONBLOCK) !== 0) return;
  check(libc().fcntl(fd, F_SETFL, flags | O_NONBLOCK), "set the flags of an eventfd");
}

/**
 * Ends the wait of whoever is stuck in writing an event descriptor, without losing a signal.
 *
 * The flags of a descriptor are shared with the peer that gave it: it may allow waiting again, and
 * fill the count. Reading never waits here, whatever the flags say.
 *
 * @param fd The number of an event descriptor.
 */
export function relieveEventFd(fd: number): void {
  forbidWaiting(fd);
  const count = new BigUint64Array(1);
  const vector = new Uint8Array(IOVEC.size);
  const address = addressOf(count);
  IOVEC.write(new DataView(vector.buffer), 0, { iov_base: address, iov_len: COUNT_BYTES });
  // SAFETY: `count` outlives the call, which writes at most its 8 bytes.
  const read = libc().preadv2(fd, vector, 1, NO_OFFSET, RWF_NOWAIT);
  if (read === COUNT_BYTES) signalEventFd(fd);
}

/** The main thread's own; null where there is no AIO. */
let aio: AioSignaller | null | undefined;

/**
 * Signals an event descriptor that a peer gave us, for the main thread. Does not wait.
 *
 * @param fd Its number.
 */
export function signalEventFd(fd: number): void {
  if (aio === undefined) {
    const context = acquireContext();
    aio = context === null ? null : new AioSignaller(context);
  }
  if (aio !== null) aio.signal(fd);
  else signalBeside(fd);
}

/**
 * The same where there is no AIO. Only a Worker that waits in a write is relieved, so the main thread
 * does not write itself.
 *
 * @param fd Its number.
 */
export function signalBeside(fd: number): void {
  // The number may be another file's before the write is made.
  const duplicate = libc().fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0) return;
  const { write_async } = libc();
  void callSlowly(() => write_async(duplicate, one(), COUNT_BYTES))
    .finally(() => libc().close(duplicate));
}

/** Signals event descriptors of peers from one thread. */
export class Signaller {
  readonly #aio: AioSignaller | null;
  readonly #buffer = one();

  /**
   * @param context From `acquireContext`; stays the caller's. Without one, a peer can make the thread
   * wait until it is relieved.
   */
  constructor(context: bigint | null) {
    this.#aio = context === null ? null : new AioSignaller(context);
  }

  /**
   * Signals a descriptor. Neither allocates nor throws; a closed one is the guest's own affair.
   *
   * @param fd Its number.
   */
  signal(fd: number): void {
    if (this.#aio !== null) this.#aio.signal(fd);
    else libc().write(fd, this.#buffer, COUNT_BYTES);
  }
}
