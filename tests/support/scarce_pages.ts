/**
 * Huge pages that the machine does not have: files of a page size whose pool is empty.
 *
 * @module
 */
import { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";

const POOLS = "/sys/kernel/mm/hugepages";
const KIB = 1024;
// linux/memfd.h
const MFD_CLOEXEC = 1;
const MFD_HUGETLB = 4;
/** Where the flags hold the page size, as a power of two. */
const MFD_HUGE_SHIFT = 26;

/** Says what is missing for {@linkcode createScarce}, `undefined` when nothing is. */
export function noEmptyPool(): string | undefined {
  return emptyPool() === undefined ? "a size of huge pages without a free one" : undefined;
}

/**
 * Makes a memory file of one huge page that the machine cannot give.
 *
 * @returns The file, whose owner the caller is, and its size.
 */
export function createScarce(): { readonly fd: Fd; readonly sizeBytes: bigint } {
  const pageBytes = emptyPool()!;
  const flags = MFD_CLOEXEC | MFD_HUGETLB | Math.log2(pageBytes) << MFD_HUGE_SHIFT;
  const name = new TextEncoder().encode("labswitch-scarce\0");
  const fd = Fd.adopt(libc().memfd_create(name, flags >>> 0));
  libc().ftruncate(fd.number, BigInt(pageBytes));
  return { fd, sizeBytes: BigInt(pageBytes) };
}

// Bytes of a page of the smallest size that there is and of which none is free.
function emptyPool(): number | undefined {
  const sizes: number[] = [];
  try {
    for (const { name } of Deno.readDirSync(POOLS)) {
      const number = (file: string) => Number(Deno.readTextFileSync(`${POOLS}/${name}/${file}`));
      const isEmpty = number("free_hugepages") === 0 && number("nr_overcommit_hugepages") === 0;
      const kib = /^hugepages-(\d+)kB$/.exec(name)?.[1];
      if (isEmpty && kib !== undefined) sizes.push(Number(kib) * KIB);
    }
  } catch {
    return undefined; // a kernel without huge pages
  }
  return sizes.toSorted((a, b) => a - b)[0];
}
