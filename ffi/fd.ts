/**
 * File descriptors with one owner.
 *
 * @module
 */
import { check } from "./errno.ts";
import { libc } from "./libc.ts";

/** Duplicate, close on exec (fcntl.h). */
export const F_DUPFD_CLOEXEC = 1030;

/**
 * An open file descriptor. Whoever holds the object owns the descriptor and closes it; handing the
 * object over hands the ownership over.
 */
export class Fd implements Disposable {
  #number: number;
  readonly #close: (number: number) => void;

  private constructor(number: number, close: (number: number) => void) {
    this.#number = number;
    this.#close = close;
  }

  /**
   * Takes ownership of a descriptor.
   *
   * @param number An open descriptor that nobody else closes.
   * @param close How it is closed; in this thread unless told otherwise.
   * @returns Its owner.
   */
  static adopt(number: number, close: (number: number) => void = closeNow): Fd {
    return new Fd(number, close);
  }

  /** Whether it was neither closed nor released. */
  get isOpen(): boolean {
    return this.#number >= 0;
  }

  /**
   * The descriptor's number, valid while this object is open.
   *
   * @throws {Error} When it is closed: a programmer's fault, the number may be another file's by now.
   */
  get number(): number {
    if (this.#number < 0) throw new Error("Cannot use a descriptor: it is closed");
    return this.#number;
  }

  /** A second descriptor of the same file, with its own owner. */
  duplicate(): Fd {
    return Fd.adopt(check(libc().fcntl(this.number, F_DUPFD_CLOEXEC, 0), "duplicate a descriptor"));
  }

  /** Gives the ownership away. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  /** Closes it; later calls do nothing. */
  close(): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    this.#close(number);
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Closes a descriptor in this thread. */
export function closeNow(number: number): void {
  // The result is of no use: on Linux the descriptor is gone whatever close returns.
  libc().close(number);
}
