/**
 * A pipe with a name, whose reader can stop reading.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import { openFile } from "./descriptors.ts";
import { waitReadable } from "../../ffi/unix_socket.ts";

/** Sets what a pipe holds (bits/fcntl-linux.h); it is a page at least. */
const F_SETPIPE_SZ = 1031;
/** What a pipe that nobody reads holds. */
export const FIFO_BYTES = 4096;
const CHUNK_BYTES = 65536;

/** The reading end of a pipe, which nobody reads until {@linkcode read} is called. */
export class Fifo implements Disposable {
  /** Where writers open it. */
  readonly path: string;
  readonly #fd: Fd;

  private constructor(path: string, fd: Fd) {
    this.path = path;
    this.#fd = fd;
  }

  /** Makes one, as small as can be, where nothing is; its file stays there. */
  static async create(path: string): Promise<Fifo> {
    const { success } = await new Deno.Command("mkfifo", { args: [path] }).output();
    strictEqual(success, true);
    // Reading and writing: otherwise opening it would wait for a writer.
    const fd = openFile(path, "r+");
    strictEqual(libc().fcntl(fd.number, F_SETPIPE_SZ, FIFO_BYTES), FIFO_BYTES);
    return new Fifo(path, fd);
  }

  /** Reads what is in it now; does not wait. */
  read(): string {
    const decoder = new TextDecoder();
    const chunk = new Uint8Array(CHUNK_BYTES);
    let text = "";
    while (waitReadable(this.#fd, 0)) {
      const length = libc().read(this.#fd.number, chunk, BigInt(chunk.length));
      text += decoder.decode(chunk.subarray(0, Number(length)), { stream: true });
    }
    return text;
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.#fd.close();
  }
}
