/**
 * Error numbers of the operating system, and the error that carries one.
 *
 * @module
 */
import { libc } from "./libc.ts";

/** Interrupted by a signal. */
export const EINTR = 4;
/** No such file. */
export const ENOENT = 2;
/** Try again. */
export const EAGAIN = 11;
/** Invalid argument. */
export const EINVAL = 22;
/** Path too long. */
export const ENAMETOOLONG = 36;
/** Connection refused. */
export const ECONNREFUSED = 111;
/** Connection reset by the peer. */
export const ECONNRESET = 104;
/** Nobody will read what is written. */
export const EPIPE = 32;

/** Name and meaning of the numbers that the calls of this folder can return (asm-generic/errno.h). */
const NAMES: Readonly<Record<number, readonly [name: string, meaning: string]>> = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or directory"],
  4: ["EINTR", "interrupted by a signal"],
  5: ["EIO", "input or output error"],
  9: ["EBADF", "bad file descriptor"],
  11: ["EAGAIN", "try again"],
  12: ["ENOMEM", "out of memory"],
  13: ["EACCES", "permission denied"],
  14: ["EFAULT", "bad address"],
  16: ["EBUSY", "busy"],
  17: ["EEXIST", "exists already"],
  19: ["ENODEV", "no such device"],
  20: ["ENOTDIR", "not a directory"],
  21: ["EISDIR", "is a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files in the system"],
  24: ["EMFILE", "too many open files; raise the limit with ulimit -n"],
  26: ["ETXTBSY", "file busy"],
  27: ["EFBIG", "file too large"],
  28: ["ENOSPC", "no space left"],
  30: ["EROFS", "read-only file system"],
  32: ["EPIPE", "broken pipe"],
  36: ["ENAMETOOLONG", "name too long"],
  38: ["ENOSYS", "not implemented by this kernel"],
  40: ["ELOOP", "too many symbolic links"],
  88: ["ENOTSOCK", "not a socket"],
  90: ["EMSGSIZE", "message too long"],
  95: ["EOPNOTSUPP", "operation not supported"],
  98: ["EADDRINUSE", "address already in use"],
  103: ["ECONNABORTED", "connection aborted"],
  104: ["ECONNRESET", "connection reset by the peer"],
  105: ["ENOBUFS", "no buffer space"],
  106: ["EISCONN", "already connected"],
  107: ["ENOTCONN", "not connected"],
  110: ["ETIMEDOUT", "timed out"],
  111: ["ECONNREFUSED", "connection refused"],
  115: ["EINPROGRESS", "in progress"],
};

/**
 * The error number of the last failed call of this thread.
 *
 * Call it first thing after the failure: any later system call may change it.
 */
export function errno(): number {
  const at = libc().__errno_location();
  // SAFETY: libc returns the address of this thread's errno, an int that lives as long as the thread.
  return new Deno.UnsafePointerView(at!).getInt32();
}

/** A call of the operating system failed. */
export class OsError extends Error {
  /** The name of the class. */
  override readonly name = "OsError";
  /** The error number. */
  readonly errno: number;
  /** Its name, such as `EACCES`. */
  readonly code: string;

  /**
   * Names what failed, and why.
   *
   * @param action What failed, as in "Cannot `action`".
   * @param number The error number; that of the last failed call when left out.
   */
  constructor(action: string, number: number = errno()) {
    const [code, meaning] = NAMES[number] ?? [`E${number}`, "unknown error"];
    super(`Cannot ${action}: ${code} (${meaning})`);
    this.errno = number;
    this.code = code;
  }
}

/**
 * Checks the result of a call that returns -1 on failure.
 *
 * @param result What the call returned.
 * @param action What was tried, as in "Cannot `action`".
 * @returns The result, when it is not negative.
 * @throws {OsError} When it is.
 */
export function check(result: number, action: string): number {
  if (result < 0) throw new OsError(action);
  return result;
}
