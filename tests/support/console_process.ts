/**
 * A child process that is driven like a person drives a console: wait until some text appears,
 * type a line, wait for the answer.
 *
 * The programs of the closed loop (testpmd, Open vSwitch, the switch itself) are all started
 * here, so that there is one place that pins them to a core and one place that ends them: always
 * by the id of the child that was started, never by name.
 *
 * @module
 */

import { delimiter, join } from "node:path";
import process from "node:process";

/** How long a child may take to end after SIGTERM before it gets SIGKILL. */
const STOP_TIMEOUT_MS = 5_000;

/** How much of a child's last output an error message quotes, in characters. */
const QUOTED_OUTPUT_LENGTH = 2_000;

/** What may be chosen when a child is started. */
export interface ConsoleProcessOptions {
  /** The only core that all threads of the child may use, unless they pin themselves. */
  readonly core?: number;
  /**
   * Makes a C program write each line at once although its output is a pipe; without it the answer
   * to a command arrives when 4 KiB have gathered.
   */
  readonly lineBuffered?: boolean;
  /** Folder that the child works in; ours unless given. */
  readonly folder?: string;
  /** Variables added to the inherited environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** How many characters of output are kept, the last ones; all unless given. */
  readonly keptOutput?: number;
  /** Told every piece of output as it arrives. */
  readonly onOutput?: (text: string) => void;
  /**
   * Keeps standard error out of the output: for a program that may complain in the middle of what
   * somebody else says through it. Failures quote both.
   */
  readonly errorsApart?: boolean;
}

/** A running child process and everything it has printed so far. */
export class ConsoleProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #keptOutput: number;
  readonly #onOutput: (text: string) => void;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #outputClosed: Promise<unknown>;
  #output = "";
  /** Standard error, where it is kept apart. */
  #errors = "";
  #ended = false;
  #changed = Promise.withResolvers<void>();

  /**
   * Starts a program. The caller owns the child and ends it with {@linkcode stop} or `await using`.
   *
   * @param program Name or path of the program.
   * @param args Its arguments.
   * @param options Core and environment.
   * @throws {Deno.errors.NotFound} If the program does not exist.
   */
  constructor(program: string, args: readonly string[], options: ConsoleProcessOptions = {}) {
    const line = [
      // Both programs replace themselves by the next one, so the child's id is the program's.
      ...(options.core === undefined ? [] : ["taskset", "--cpu-list", String(options.core)]),
      ...(options.lineBuffered ? ["stdbuf", "--output=L"] : []),
      program,
      ...args,
    ];
    this.#name = program;
    this.#keptOutput = options.keptOutput ?? Infinity;
    this.#onOutput = options.onOutput ?? (() => {});
    this.#child = new Deno.Command(line[0]!, {
      args: line.slice(1),
      env: { ...options.env },
      ...(options.folder !== undefined && { cwd: options.folder }),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#outputClosed = Promise.all([
      this.#collect(this.#child.stdout, (text) => this.#keep(text)),
      this.#collect(this.#child.stderr, (text) => {
        if (options.errorsApart) this.#errors += text;
        else this.#keep(text);
      }),
    ]).then(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** The child's process number. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Whether the child has ended and everything that it printed is here. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  /** What was printed so far, standard output and, unless kept apart, standard error as they arrived. */
  get output(): string {
    return this.#output;
  }

  /**
   * Waits until the output holds something.
   *
   * @param what What is awaited, for the error message.
   * @param find Looks at the whole output; `undefined` means "not yet".
   * @param timeoutMs How long to wait.
   * @returns What `find` found.
   * @throws {Error} If the child ends or the time is over first; the message quotes the output.
   */
  async awaitOutput<T>(
    what: string,
    find: (output: string) => T | undefined,
    timeoutMs: number,
  ): Promise<T> {
    let expired = false;
    const timer = setTimeout(() => {
      expired = true;
      this.#wake();
    }, timeoutMs);
    try {
      for (;;) {
        const ended = this.#ended;
        const changed = this.#changed.promise;
        const found = find(this.#output);
        if (found !== undefined) return found;
        if (ended) throw this.#failure(what, "the program ended");
        if (expired) throw this.#failure(what, `nothing after ${timeoutMs} ms`);
        await changed;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Types a line.
   *
   * @param line Text without the line end.
   */
  async writeLine(line: string): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode(`${line}\n`));
  }

  /**
   * Waits for the child to end by itself, and kills it when the time is over.
   *
   * @param timeoutMs How long it may take.
   * @returns The exit code; 128 plus the signal's number if a signal ended it.
   */
  async awaitEnd(timeoutMs: number = STOP_TIMEOUT_MS): Promise<number> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), timeoutMs);
    try {
      const status = await this.#child.status;
      await this.#outputClosed;
      return status.code;
    } finally {
      clearTimeout(timer);
      await this.#stdin.close().catch(() => {}); // the pipe is already broken when the child is gone
    }
  }

  /**
   * Asks the child to end (SIGTERM) and waits; kills it when it does not. May be called twice.
   *
   * @param timeoutMs How long it may take.
   * @returns The exit code as in {@linkcode awaitEnd}.
   */
  async stop(timeoutMs: number = STOP_TIMEOUT_MS): Promise<number> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has already ended.
    }
    return await this.awaitEnd(timeoutMs);
  }

  /** Ends the child with {@linkcode stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #collect(
    stream: ReadableStream<Uint8Array>,
    append: (text: string) => void,
  ): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      append(decoder.decode(chunk, { stream: true }));
      this.#wake();
    }
  }

  #keep(text: string): void {
    this.#output += text;
    this.#onOutput(text);
    // Cut seldom, because each cut copies what is kept.
    if (this.#output.length > 2 * this.#keptOutput) {
      this.#output = this.#output.slice(-this.#keptOutput);
    }
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #failure(what: string, state: string): Error {
    const quoted = this.#output.slice(-QUOTED_OUTPUT_LENGTH);
    const errors = this.#errors.slice(-QUOTED_OUTPUT_LENGTH);
    return new Error(
      `Cannot await ${what} of ${this.#name}: ${state}; its output ends:\n${quoted}` +
        (errors === "" ? "" : `\nits standard error ends:\n${errors}`),
    );
  }
}

/**
 * Runs a program to its end.
 *
 * @param program Name or path of the program.
 * @param args Its arguments.
 * @param options The folder that it works in; ours unless given.
 * @returns Its standard output.
 * @throws {Error} If it exits with anything but 0; the message holds its standard error.
 */
export async function runToEnd(
  program: string,
  args: readonly string[],
  options: Pick<ConsoleProcessOptions, "folder"> = {},
): Promise<string> {
  const { success, code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    ...(options.folder !== undefined && { cwd: options.folder }),
  }).output();
  if (!success) {
    const reason = new TextDecoder().decode(stderr).trim();
    throw new Error(`Cannot run ${program} ${args.join(" ")}: exit code ${code}: ${reason}`);
  }
  return new TextDecoder().decode(stdout);
}

/**
 * Looks for a program.
 *
 * @param program An absolute path, or a name to look up in PATH and the two `sbin` folders, which
 * an ordinary user's PATH lacks.
 * @returns Its path, or `undefined` if it is not installed.
 */
export function findProgram(program: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const candidates = program.startsWith("/") ? [program] : folders.map((f) => join(f, program));
  return candidates.find((candidate) => {
    try {
      return Deno.statSync(candidate).isFile;
    } catch {
      return false; // not there, or not ours to look at: either way not usable
    }
  });
}
