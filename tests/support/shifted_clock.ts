/**
 * A wall clock that a test can set, for one process: a small library stands before libc's own functions
 * and adds a number of seconds to the time of day. The machine's clock and the monotonic one stay.
 *
 * @module
 */
import { join } from "node:path";
import { runToEnd } from "./console_process.ts";

const SOURCE = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t shift(void) {
  static volatile int64_t *seconds;
  if (seconds == 0) {
    int fd = open(getenv("SHIFTED_CLOCK"), O_RDONLY);
    seconds = mmap(0, sizeof *seconds, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
  }
  return *seconds;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += shift();
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  int result = syscall(SYS_gettimeofday, time, zone);
  if (result == 0 && time != 0) time->tv_sec += shift();
  return result;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != 0) *out = now.tv_sec;
  return now.tv_sec;
}
`;

/** The compiler that the library is built with. */
export const COMPILER = "cc";

/** The clock of one process. */
export class ShiftedClock {
  /** The environment that gives a process this clock. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  private constructor(library: string, file: string) {
    this.env = { LD_PRELOAD: library, SHIFTED_CLOCK: file };
    this.#file = file;
  }

  /**
   * Builds the library.
   *
   * @param folder Where its files go; the caller removes it.
   */
  static async create(folder: string): Promise<ShiftedClock> {
    const [source, library, file] = ["clock.c", "clock.so", "clock"]
      .map((name) => join(folder, name)) as [string, string, string];
    await Deno.writeTextFile(source, SOURCE);
    await runToEnd(COMPILER, ["-shared", "-fPIC", "-O1", "-o", library, source]);
    const clock = new ShiftedClock(library, file);
    await clock.set(0);
    return clock;
  }

  /** Sets it, so many seconds from the machine's. */
  async set(seconds: number): Promise<void> {
    // In place: the process has mapped the file.
    using file = await Deno.open(this.#file, { write: true, create: true });
    await file.write(new Uint8Array(new BigInt64Array([BigInt(seconds)]).buffer));
  }
}
