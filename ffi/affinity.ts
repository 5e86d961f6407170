/**
 * Which processors a thread may run on.
 *
 * @module
 */
import { check } from "./errno.ts";
import { libc } from "./libc.ts";

/** Processors that a set can name, from 0: CPU_SETSIZE (bits/cpu-set.h). */
export const MAX_PROCESSORS = 1024;

/** Bytes of cpu_set_t: one bit per processor. */
const CPU_SET_BYTES = 128;
/** The process number that means the calling thread. */
const THIS_THREAD = 0;

/**
 * Keeps the calling thread on some processors from now on. Threads that it starts inherit that.
 *
 * @param processors Their numbers, from 0, at least one.
 * @throws {OsError} EINVAL when this process may use none of them, or there is none of them.
 */
export function keepThreadOn(processors: readonly number[]): void {
  const set = new Uint8Array(CPU_SET_BYTES);
  // The set is an array of unsigned long; on a little-endian machine its bits follow each other.
  for (const processor of processors) set[processor >> 3]! |= 1 << (processor & 7);
  check(
    libc().sched_setaffinity(THIS_THREAD, BigInt(CPU_SET_BYTES), set),
    `run a thread on processor ${processors.join(", ")}`,
  );
}

/**
 * The processors that the calling thread may run on.
 *
 * @returns Their numbers, ascending.
 */
export function threadProcessors(): number[] {
  const set = new Uint8Array(CPU_SET_BYTES);
  const action = "ask where a thread may run";
  check(libc().sched_getaffinity(THIS_THREAD, BigInt(CPU_SET_BYTES), set), action);
  const all = Array.from({ length: MAX_PROCESSORS }, (_, processor) => processor);
  return all.filter((processor) => (set[processor >> 3]! >> (processor & 7) & 1) !== 0);
}
