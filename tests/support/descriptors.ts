/**
 * Descriptors of every kind that a peer could send, and what the kernel knows of a descriptor.
 *
 * @module
 */
import { closeSync, openSync } from "node:fs";
import { Fd } from "../../ffi/fd.ts";

/** Close on exec, as /proc shows it (bits/fcntl-linux.h). */
const O_CLOEXEC = 0o2000000;
/** Calls do not wait, as /proc shows it (bits/fcntl-linux.h). */
const O_NONBLOCK = 0o4000;

/** What the kernel tells of an open descriptor. */
export interface DescriptorState {
  /** Whether a program that is started does not get it. */
  readonly isCloseOnExec: boolean;
  /** Whether calls on it never wait. */
  readonly isNonBlocking: boolean;
}

/**
 * Opens a file, folder, device or FIFO.
 *
 * @param path Where it is.
 * @param flags As for `open` of node:fs.
 * @returns The descriptor; the caller owns it.
 */
export function openFile(path: string, flags: string): Fd {
  const number = openSync(path, flags);
  try {
    return Fd.adopt(number).duplicate();
  } finally {
    closeSync(number);
  }
}

/** Whether a descriptor number of this process is in use. */
export function isInUse(number: number): boolean {
  try {
    Deno.readLinkSync(`/proc/self/fd/${number}`);
    return true;
  } catch {
    return false;
  }
}

/** Asks the kernel about an open descriptor. */
export function descriptorState(number: number): DescriptorState {
  const text = Deno.readTextFileSync(`/proc/self/fdinfo/${number}`);
  const flags = parseInt(/^flags:\s+([0-7]+)$/m.exec(text)![1]!, 8);
  return { isCloseOnExec: (flags & O_CLOEXEC) !== 0, isNonBlocking: (flags & O_NONBLOCK) !== 0 };
}
