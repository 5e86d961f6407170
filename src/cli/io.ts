/**
 * Where a command writes: the terminal, or a test's memory.
 *
 * @module
 */

/** Standard output and standard error. */
export interface Io {
  /** Whether a person reads the output, and not a program. */
  readonly isTerminal: boolean;
  /** Writes text for the user or the next program. */
  out(text: string): void;
  /** Writes a message about a failure. */
  err(text: string): void;
}

/** The process's own. */
export const terminal: Io = {
  get isTerminal() {
    return Deno.stdout.isTerminal();
  },
  out: (text) => writeAll(Deno.stdout, text),
  err: (text) => writeAll(Deno.stderr, text),
};

// A reader that has gone away (`labswitch … | head`) must not end the switch.
function writeAll(stream: { writeSync(data: Uint8Array): number }, text: string): void {
  const data = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < data.length;) done += stream.writeSync(data.subarray(done));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.WouldBlock)) {
      throw error;
    }
  }
}
