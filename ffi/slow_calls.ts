/**
 * System calls that a peer can hold up for as long as it likes: whatever has to do with a file that
 * another process gave us may wait for that process, or for the file system it runs.
 *
 * They run on Deno's thread pool, which has 32 threads and is needed for everything else as well, the
 * main thread's own epoll included. So they share some of its threads and wait for each other.
 *
 * @module
 */

/** Threads of the pool that may be held up at a time. */
const MAX_RUNNING = 16;

let running = 0;
const waiting: (() => void)[] = [];

/**
 * Runs a call when one of the threads for such calls is free.
 *
 * Whoever calls for a peer does so one by one: then a peer never has more than a thread.
 *
 * @param call Starts the call, which must not use the main thread.
 * @returns What it returns.
 */
export async function callSlowly<T>(call: () => Promise<T>): Promise<T> {
  if (running >= MAX_RUNNING) await new Promise<void>((resolve) => void waiting.push(resolve));
  else running++;
  try {
    return await call();
  } finally {
    // Whoever comes next takes the place over.
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}
