/**
 * Reads what the switch prints under attack, and keeps none of it: every line must be about a port,
 * about something that a peer did, and there must not be too many.
 *
 * @module
 */
import { Finding } from "./finding.ts";

/** When, which port, what. */
const LINE = /^\d{4}-\S+ (\S+) {2}(.*)$/;
/** Lines between two connections of a port, at most; a conversation restarts rings now and then. */
const MAX_LINES_PER_CONNECTION = 120;
/** Words of a fault of ours that passes as the reason for a disconnection. */
const FAULT =
  /undefined|null|NaN|not a function|not iterable|Cannot (read|convert|mix|quiesce)|Invalid|offset is outside|out of (memory|bounds)|BigInt|stack size|Cannot use a descriptor|EBADF|EEXIST|ENOENT|EFAULT|EINVAL/;
const NUMBERS = /0x[0-9a-f]+|\d+/g;

/** Counts lines and finds those that should not be there. */
export class LogWatch {
  readonly #ports: ReadonlySet<string>;
  readonly #linesOf = new Map<string, number>();
  readonly #kinds = new Set<string>();
  #rest = "";
  #isStarted = false;
  #finding: Finding | null = null;
  #lines = 0;
  #connections = 0;
  #most = 0;

  /** @param ports The names of all ports. */
  constructor(ports: readonly string[]) {
    this.#ports = new Set(ports);
  }

  /** Lines since the switch was ready. */
  get lines(): number {
    return this.#lines;
  }

  /** Connections that it reported. */
  get connections(): number {
    return this.#connections;
  }

  /** The most lines between two connections of one port. */
  get most(): number {
    return this.#most;
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
      if (this.#isStarted) this.#read(line);
      else if (line.startsWith("ready")) this.#isStarted = true;
    }
  }

  /** Stops reading: what comes now is the switch's farewell. */
  close(): void {
    this.#isStarted = false;
  }

  /** @throws {Finding} When a line was not as it should be. */
  check(): void {
    if (this.#finding !== null) throw this.#finding;
  }

  #read(line: string): void {
    this.#lines++;
    const [, port, what] = LINE.exec(line) ?? [];
    if (port === undefined || !this.#ports.has(port) || FAULT.test(what!)) {
      this.#finding ??= new Finding(`the switch printed: ${line}`);
      return;
    }
    this.#count(port, what!);
  }

  #count(port: string, what: string): void {
    // The features of a guest that is up are in any combination.
    if (!what.startsWith("up")) this.#kinds.add(what.replaceAll(NUMBERS, "#"));
    if (what.startsWith("connected")) {
      this.#connections++;
      this.#linesOf.set(port, 0);
    }
    const lines = (this.#linesOf.get(port) ?? 0) + 1;
    this.#linesOf.set(port, lines);
    this.#most = Math.max(this.#most, lines);
    if (lines <= MAX_LINES_PER_CONNECTION) return;
    this.#finding ??= new Finding(`more than ${MAX_LINES_PER_CONNECTION} lines on one connection`);
  }
}
