/**
 * A guest's memory, read from outside: the file that QEMU shares with the switch.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** What QEMU calls the file of its shared memory. */
const FILE = "/memfd:memory-backend-memfd";
/** The granularity of the log of dirty pages. */
const PAGE_BYTES = 4096;
/** Read and compared at a time, so that other work of this thread goes on. */
const CHUNK_BYTES = 2 ** 20;

/** How two memories compare. */
export interface RamComparison {
  /** Pages of each. */
  readonly pages: number;
  /** Pages that are not wholly zero in the first. */
  readonly usedPages: number;
  /** Numbers of the pages that differ: offset in the file, in pages. */
  readonly differing: readonly number[];
}

/**
 * Compares the memories of two stopped guests byte by byte.
 *
 * @param first Process number of a QEMU.
 * @param second Process number of another one.
 */
export async function compareRam(first: number, second: number): Promise<RamComparison> {
  using a = await openRam(first);
  using b = await openRam(second);
  const [{ size }, other] = [await a.stat(), await b.stat()];
  if (other.size !== size) throw new Error(`Cannot compare ${size} bytes with ${other.size}`);
  const [mine, theirs] = [new Uint8Array(CHUNK_BYTES), new Uint8Array(CHUNK_BYTES)];
  const zeros = new Uint8Array(PAGE_BYTES);
  const differing: number[] = [];
  let usedPages = 0;
  for (let at = 0; at < size; at += CHUNK_BYTES) {
    await Promise.all([fill(a, mine), fill(b, theirs)]);
    for (let page = 0; page < CHUNK_BYTES; page += PAGE_BYTES) {
      const bytes = mine.subarray(page, page + PAGE_BYTES);
      if (!isEqual(bytes, zeros)) usedPages++;
      const isSame = isEqual(bytes, theirs.subarray(page, page + PAGE_BYTES));
      if (!isSame) differing.push((at + page) / PAGE_BYTES);
    }
  }
  return { pages: size / PAGE_BYTES, usedPages, differing };
}

async function openRam(pid: number): Promise<Deno.FsFile> {
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${name}`;
    const target = await Deno.readLink(path).catch(() => ""); // closed meanwhile
    if (target.startsWith(FILE)) return await Deno.open(path);
  }
  throw new Error(`Cannot find shared memory of process ${pid}`);
}

async function fill(file: Deno.FsFile, buffer: Uint8Array): Promise<void> {
  for (let at = 0; at < buffer.length;) {
    const length = await file.read(buffer.subarray(at));
    if (length === null) throw new Error("Cannot read guest memory: the file ends early");
    at += length;
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
