/**
 * Memory for DPDK programs: huge pages where the machine grants them, normal pages otherwise.
 *
 * The closed loop needs memory that the generator can share by file descriptor. Both kinds do: huge
 * pages from `memfd_create(MFD_HUGETLB)` (so no hugetlbfs has to be mounted), and, with
 * `--no-huge`, one ordinary memfd for everything. Normal pages cost throughput through the TLB, so
 * a result must say which kind it was measured with.
 *
 * @module
 */

/** Size of the huge pages used here; the default of x86-64. */
const HUGE_PAGE_SIZE_KIB = 2_048;

/** The kernel's control file for the number of huge pages of the default size. */
const PAGE_COUNT_FILE = "/proc/sys/vm/nr_hugepages";

/** What the kernel says about huge pages of the default size. */
export interface HugePageState {
  /** Bytes of one page, in KiB. */
  readonly pageSizeKib: number;
  /** Pages in the pool. */
  readonly total: number;
  /** Pages that nobody has mapped. */
  readonly free: number;
}

/** The memory DPDK programs are started with. Disposing gives the huge pages back. */
export interface DpdkMemory extends Disposable {
  /** Which pages. */
  readonly kind: "huge-pages" | "normal-pages";
  /** Why normal pages were taken; `undefined` for huge pages. */
  readonly reason?: string;
}

/**
 * Reads the huge-page lines of `/proc/meminfo`.
 *
 * @param meminfo The file's text.
 * @returns The state; all zero on a kernel without huge pages.
 */
export function parseHugePageState(meminfo: string): HugePageState {
  const number = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(meminfo)?.[1] ?? 0);
  return {
    pageSizeKib: number("Hugepagesize"),
    total: number("HugePages_Total"),
    free: number("HugePages_Free"),
  };
}

/**
 * Makes sure that enough huge pages are free, and falls back to normal pages.
 *
 * The pool is only ever enlarged here, and set back on disposal if nobody else has changed it
 * meanwhile.
 *
 * @param sizeMib How much memory all programs together will take, in MiB.
 * @returns The memory to start DPDK programs with; the caller disposes it after they have ended.
 */
export function reserveDpdkMemory(sizeMib: number): DpdkMemory {
  const before = readState();
  if (before.pageSizeKib !== HUGE_PAGE_SIZE_KIB) {
    return normalPages(
      `the default huge page has ${before.pageSizeKib} KiB, not ${HUGE_PAGE_SIZE_KIB}`,
    );
  }
  const needed = Math.ceil(sizeMib * 1024 / HUGE_PAGE_SIZE_KIB);
  if (before.free >= needed) return { kind: "huge-pages", [Symbol.dispose]() {} };
  const wanted = before.total + needed - before.free;
  try {
    Deno.writeTextFileSync(PAGE_COUNT_FILE, String(wanted));
  } catch (error) {
    return normalPages(
      `${needed} free huge pages needed, ${before.free} found, and ${PAGE_COUNT_FILE} cannot be ` +
        `written (${(error as Error).message}); as root: sysctl vm.nr_hugepages=${wanted}`,
    );
  }
  const after = readState();
  if (after.free >= needed) {
    return { kind: "huge-pages", [Symbol.dispose]: () => restore(before.total, wanted) };
  }
  restore(before.total, after.total);
  return normalPages(`the kernel found room for ${after.free} huge pages only, not ${needed}`);
}

function normalPages(reason: string): DpdkMemory {
  return { kind: "normal-pages", reason, [Symbol.dispose]() {} };
}

function readState(): HugePageState {
  return parseHugePageState(Deno.readTextFileSync("/proc/meminfo"));
}

/** Sets the pool back to `total` pages, unless somebody else changed it from `ours` meanwhile. */
function restore(total: number, ours: number): void {
  if (readState().total === ours) Deno.writeTextFileSync(PAGE_COUNT_FILE, String(total));
}
