/**
 * Reads what the switch prints under attack, and keeps none of it: every line must be about a port,
 * about something that a peer did, and there must not be too many.
 *
 * @module
 */
import { Finding } from "./finding.ts";

/** When, which port, what. */
const LINE = /^\d{4}-\S+ (\S+) {2}(.*)$/;
/** Lines that a port may write at once; more are left out, and that is a line, too. */
const MAX_LINES_AT_ONCE = 100;
/** Lines that a port may write in each second from then on. */
const MAX_LINES_PER_SECOND = 3;
/** Words of a fault of ours that passes as the reason for a disconnection. */
const FAULT =
  /undefined|null|NaN|not a function|not iterable|Cannot (read|convert|mix|quiesce)|Invalid|offset is outside|out of (memory|bounds)|BigInt|stack size|Cannot use a descriptor|EBADF|EEXIST|ENOENT|EFAULT|EINVAL/;
const NUMBERS = /0x[0-9a-f]+|\d+/g;

/** An event without what differs from one time to the next. */
export function kindOf(what: string): string {
  // The features of a guest that is up are in any combination.
  return what.startsWith("up") ? "up" : what.replaceAll(NUMBERS, "#");
}

/** Counts lines and finds those that should not be there. */
export class LogWatch {
  readonly #ports: ReadonlySet<string>;
  readonly #kinds = new Set<string>();
  #rest = "";
  #started: number | null = null;
  #finding: Finding | null = null;
  #lines = 0;

  /** @param ports The names of all ports. */
  constructor(ports: readonly string[]) {
    this.#ports = new Set(ports);
  }

  /** Lines since the switch was ready. */
  get lines(): number {
    return this.#lines;
  }

  /** Different things that it reported, numbers apart. */
  get kinds(): number {
    return this.#kinds.size;
  }

  /** Takes output, however it is cut. */
  feed(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) {
      if (this.#started !== null) this.#read(line);
      else if (line.startsWith("ready")) this.#started = performance.now();
    }
  }

  /** Stops reading: what comes now is the switch's farewell. */
  close(): void {
    this.#started = null;
  }

  /**
   * Judges what was read so far.
   *
   * @param now The time, as of `performance.now`.
   * @throws {Finding} When a line was not as it should be, or there were too many.
   */
  check(now: number = performance.now()): void {
    if (this.#finding !== null) throw this.#finding;
    const seconds = (now - (this.#started ?? now)) / 1000;
    const most = this.#ports.size * (MAX_LINES_AT_ONCE + MAX_LINES_PER_SECOND * seconds);
    if (this.#lines > most) {
      throw new Finding(`the switch printed ${this.#lines} lines in ${seconds.toFixed(0)} s`);
    }
  }

  #read(line: string): void {
    this.#lines++;
    const [, port, what] = LINE.exec(line) ?? [];
    if (port === undefined || !this.#ports.has(port) || FAULT.test(what!)) {
      this.#finding ??= new Finding(`the switch printed: ${line}`);
      return;
    }
    this.#kinds.add(kindOf(what!));
  }
}
