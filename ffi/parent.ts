/**
 * The tie of a process to the one that started it.
 *
 * @module
 */
import { check } from "./errno.ts";
import { libc } from "./libc.ts";

// linux/prctl.h
const PR_SET_PDEATHSIG = 1;
/** The signal that ends a process whatever it does (asm/signal.h). */
const SIGKILL = 9n;

/**
 * Lets the kernel end this process with SIGKILL when its parent ends, however that ends.
 *
 * @param parent The process number of the parent.
 * @returns Whether it is still the parent; otherwise it ended before this call, and nobody will end us.
 * @throws {OsError} When the kernel refuses.
 */
export function endWithParent(parent: number): boolean {
  check(libc().prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n), "tie the process to its parent");
  return Deno.ppid === parent;
}
