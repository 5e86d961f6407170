/**
 * Where a command writes: the terminal, or a test's memory.
 *
 * @module
 */
import { BoundedOutput } from "./bounded_output.ts";

/** Standard output and standard error. */
export interface Io {
  /** Whether a person reads the output, and not a program. */
  readonly isTerminal: boolean;
  /** Writes text for the user or the next program. */
  out(text: string): void;
  /** Writes a message about a failure. */
  err(text: string): void;
  /** The same streams for a command that runs on and must not wait for a reader. */
  live(): LiveIo;
}

/** Streams that take whole lines and never wait; see {@linkcode BoundedOutput}. */
export interface LiveIo extends Omit<Io, "live"> {
  /** Gives what is not written yet a short time to be written. */
  flush(): Promise<void>;
}

/** How long the end of a program waits for a reader. */
const FLUSH_MS = 200;

/** The process's own. */
export const terminal: Io = {
  get isTerminal() {
    return Deno.stdout.isTerminal();
  },
  out: (text) => writeAll(Deno.stdout, text),
  err: (text) => writeAll(Deno.stderr, text),
  live: liveTerminal,
};

// A reader that has gone away (`labswitch … | head`) is no reason to complain.
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

function liveTerminal(): LiveIo {
  // Deno writes on a thread of its own when it is not asked to do it at once.
  const [out, err] = [Deno.stdout, Deno.stderr].map((stream) =>
    new BoundedOutput((data) => stream.write(data))
  );
  return {
    isTerminal: Deno.stdout.isTerminal(),
    out: (text) => out!.write(text),
    err: (text) => err!.write(text),
    flush: async () => void await Promise.all([out, err].map((stream) => stream!.flush(FLUSH_MS))),
  };
}
