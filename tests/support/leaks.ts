/**
 * What a process holds, as the kernel counts it: a test that compares before and after finds what
 * was not given back.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const KIB = 1024;
/** What V8 allocates its heap in. */
const HEAP_PAGE_BYTES = 0x40000n;

/**
 * Counts open descriptors.
 *
 * @param pid The process; this one unless told otherwise.
 * @returns How many there are, without the one that the listing itself opens.
 */
export function countDescriptors(pid: number = Deno.pid): number {
  const entries = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  return pid === Deno.pid ? entries - 1 : entries;
}

/**
 * Lists this process's open descriptors: the number of each and what it is.
 *
 * @returns Descriptors that are open; the one that the listing itself opens is left out.
 */
export function openDescriptors(): Set<string> {
  const open = new Set<string>();
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      open.add(`${name} ${Deno.readLinkSync(`/proc/self/fd/${name}`)}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return open;
}

/**
 * Counts mappings, the lines of the process's memory map.
 *
 * @param pid The process; this one unless told otherwise.
 * @param name Only mappings whose line holds this text, such as the name of a memory file.
 */
export function countMappings(pid: number = Deno.pid, name = ""): number {
  const lines = Deno.readTextFileSync(`/proc/${pid}/maps`).trimEnd().split("\n");
  return lines.filter((line) => line.includes(name)).length;
}

/**
 * Counts mappings without those that are pages of V8's heap, which come and go as V8 likes. They are
 * taken for that when they are anonymous, writable and aligned to such pages at both ends.
 *
 * @param pid The process.
 */
export function countMappingsBesideHeap(pid: number): number {
  const lines = Deno.readTextFileSync(`/proc/${pid}/maps`).trimEnd().split("\n");
  return lines.filter((line) => !isHeap(line)).length;
}

function isHeap(line: string): boolean {
  const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0\s*$/.exec(line) ?? [];
  if (start === undefined || end === undefined) return false;
  return [start, end].every((address) => BigInt(`0x${address}`) % HEAP_PAGE_BYTES === 0n);
}

/**
 * Reads the resident set size.
 *
 * @param pid The process; this one unless told otherwise.
 * @returns Bytes of memory that it occupies, shared memory included.
 */
export function residentBytes(pid: number = Deno.pid): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error(`Cannot read the size of process ${pid}: no VmRSS`);
  return Number(kib) * KIB;
}

/**
 * Reads this process's resident set size without garbage, which V8 leaves lying as long as there is
 * room for it.
 *
 * @returns Bytes of memory that it occupies.
 */
export function residentBytesWithoutGarbage(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  return residentBytes();
}
