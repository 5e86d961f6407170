/**
 * A terminal in memory.
 *
 * @module
 */
import type { Io, LiveIo } from "../../../src/cli/io.ts";

/** Keeps what a command writes. */
export class MemoryIo implements Io {
  /** Whether it claims to be read by a person. */
  readonly isTerminal: boolean;
  /** What went to standard output. */
  stdout = "";
  /** What went to standard error. */
  stderr = "";

  /** @param isTerminal Whether a person reads it. */
  constructor(isTerminal = false) {
    this.isTerminal = isTerminal;
  }

  /** Keeps text for standard output. */
  out(text: string): void {
    this.stdout += text;
  }

  /** Keeps text for standard error. */
  err(text: string): void {
    this.stderr += text;
  }

  /** Keeps the text of a command that runs on in the same place. */
  live(): LiveIo {
    const { isTerminal } = this;
    const out = (text: string) => this.out(text);
    const err = (text: string) => this.err(text);
    return { isTerminal, out, err, flush: () => Promise.resolve() };
  }
}

/** A folder that is gone at the end of its scope. */
export class TemporaryFolder implements Disposable {
  /** Its path. */
  readonly path: string = Deno.makeTempDirSync({ prefix: "labswitch-test-" });

  /** Writes a file into it; returns the file's path. */
  write(name: string, content: string | Uint8Array): string {
    const path = `${this.path}/${name}`;
    Deno.writeFileSync(
      path,
      new Uint8Array(
        typeof content === "string" ? new TextEncoder().encode(content) : content,
      ),
    );
    return path;
  }

  /** Removes it with everything in it. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
