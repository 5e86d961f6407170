/**
 * What the kernel tells about processes in /proc.
 *
 * Deno lets only programs that may do everything read there (`--allow-all`); one that may call libc can
 * do so all the same.
 *
 * @module
 */
import { check } from "./errno.ts";
import { Fd } from "./fd.ts";
import { libc } from "./libc.ts";

// bits/fcntl-linux.h
const O_RDONLY = 0;
const O_CLOEXEC = 0o2000000;
/** Longer targets are cut: those of interest are names of kernel objects. */
const LINK_BYTES = 256;
const CHUNK_BYTES = 4096;

/**
 * Reads where a link leads.
 *
 * @param path The link, such as `/proc/self/fd/3`.
 * @returns Its target, at most 256 bytes of it.
 * @throws {OsError} ENOENT, EINVAL (no link), EACCES; the message names the path.
 */
export function readProcLink(path: string): string {
  const target = new Uint8Array(LINK_BYTES);
  const length = libc().readlink(terminated(path), target, BigInt(LINK_BYTES));
  check(Number(length), `read the link ${path}`);
  return new TextDecoder().decode(target.subarray(0, Number(length)));
}

/**
 * Reads a file whole.
 *
 * @param path The file, such as `/proc/self/cmdline`.
 * @returns Its text.
 * @throws {OsError} ENOENT, EACCES; the message names the path.
 */
export function readProcFile(path: string): string {
  using file = Fd.adopt(
    check(libc().open(terminated(path), O_RDONLY | O_CLOEXEC), `open ${path}`),
  );
  const decoder = new TextDecoder();
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let text = "";;) {
    const length = Number(libc().read(file.number, chunk, BigInt(CHUNK_BYTES)));
    check(length, `read ${path}`);
    if (length === 0) return text + decoder.decode();
    text += decoder.decode(chunk.subarray(0, length), { stream: true });
  }
}

// C ends texts with a zero byte.
function terminated(path: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${path}\0`);
}
