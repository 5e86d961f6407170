/**
 * Memory files and mappings.
 *
 * @module
 */
import { check, OsError } from "./errno.ts";
import { Fd } from "./fd.ts";
import { STAT_BYTES, STAT_HEAD, STATFS_BYTES, STATFS_HEAD } from "./layouts.ts";
import { libc } from "./libc.ts";
import { callSlowly } from "./slow_calls.ts";

/** Bytes of a page of memory on x86-64, and on arm64 as Debian builds it. */
export const PAGE_SIZE_BYTES = 4096;

/** The file cannot be sealed further (linux/fcntl.h). */
export const F_SEAL_SEAL = 1;
/** The file cannot shrink (linux/fcntl.h). */
export const F_SEAL_SHRINK = 2;
/** The file cannot grow (linux/fcntl.h). */
export const F_SEAL_GROW = 4;
/** The file cannot be written (linux/fcntl.h). */
export const F_SEAL_WRITE = 8;

// linux/memfd.h
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
// linux/fcntl.h
const F_SEAL_FUTURE_WRITE = 16;
const F_GETFL = 3;
const O_ACCMODE = 3;
const O_RDWR = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
// bits/stat.h
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
// linux/falloc.h
const FALLOC_FL_KEEP_SIZE = 1;
// asm-generic/mman.h
const PROT_READ_WRITE = 1 | 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 16;
const MAP_ANONYMOUS = 32;
const MAP_NORESERVE = 0x4000;
// linux/magic.h
const TMPFS_MAGIC = 0x01021994n;
const HUGETLBFS_MAGIC = 0x958458f6n;

/** Which kind of file system a file is on, as far as it matters for sharing memory. */
export type FileSystem = "tmpfs" | "hugetlbfs" | "other";

/** What a file is. */
export interface FileInformation {
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** A plain file, which memfd and tmpfs files are. */
  readonly isRegular: boolean;
  /** Bytes of a block; on hugetlbfs, of a huge page. */
  readonly blockSizeBytes: bigint;
}

/**
 * Makes a file that lives in memory.
 *
 * @param name A name for debugging, shown in /proc.
 * @param sizeBytes Its size.
 * @param options Whether it can be sealed; it can unless told otherwise.
 * @returns Its descriptor.
 * @throws {OsError} When the system refuses.
 */
export function createMemfd(
  name: string,
  sizeBytes: number | bigint,
  options: { readonly sealable?: boolean } = {},
): Fd {
  const flags = MFD_CLOEXEC | (options.sealable === false ? 0 : MFD_ALLOW_SEALING);
  const path = new TextEncoder().encode(`${name}\0`);
  const fd = Fd.adopt(check(libc().memfd_create(path, flags), "create a memory file"));
  try {
    check(
      libc().ftruncate(fd.number, BigInt(sizeBytes)),
      `size a memory file to ${sizeBytes} bytes`,
    );
  } catch (error) {
    fd.close();
    throw error;
  }
  return fd;
}

/** Asks what a file is; `fd` stays the caller's. */
export function fileInfo(fd: Fd): FileInformation {
  const buffer = new Uint8Array(STAT_BYTES);
  check(libc().fstat(fd.number, buffer), "look at a file");
  const { st_size, st_blksize, st_mode } = STAT_HEAD.read(new DataView(buffer.buffer));
  return {
    sizeBytes: st_size,
    isRegular: (st_mode & S_IFMT) === S_IFREG,
    blockSizeBytes: st_blksize & 0xffffffffn,
  };
}

/** The same for all descriptors of a file, and for no other file while it exists. */
export function fileIdentity(fd: Fd): string {
  const buffer = new Uint8Array(STAT_BYTES);
  check(libc().fstat(fd.number, buffer), "look at a file");
  const { st_dev, st_ino } = STAT_HEAD.read(new DataView(buffer.buffer));
  return `${st_dev}:${st_ino}`;
}

/** Whether a file can be mapped for writing; `fd` stays the caller's. */
export function isWritable(fd: Fd): boolean {
  const flags = check(libc().fcntl(fd.number, F_GETFL, 0), "read the flags of a file");
  if ((flags & O_ACCMODE) !== O_RDWR) return false;
  // Files outside memfd and tmpfs have no seals.
  const seals = libc().fcntl(fd.number, F_GET_SEALS, 0);
  return seals < 0 || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) === 0;
}

/**
 * Whether a descriptor is one of a file in memory: memfd, tmpfs or hugetlbfs.
 *
 * Only the kernel is asked. A file system that runs in a process, such as FUSE, may never answer what
 * a file is, and the thread that asks waits for it.
 *
 * @param fd The descriptor; stays the caller's.
 */
export function isMemoryFile(fd: { readonly number: number }): boolean {
  return libc().fcntl(fd.number, F_GET_SEALS, 0) >= 0;
}

/** Asks which file system a file is on; `fd` stays the caller's. */
export function fileSystem(fd: Fd): FileSystem {
  const buffer = new Uint8Array(STATFS_BYTES);
  check(libc().fstatfs(fd.number, buffer), "look at a file system");
  const { f_type } = STATFS_HEAD.read(new DataView(buffer.buffer));
  if (f_type === TMPFS_MAGIC) return "tmpfs";
  return f_type === HUGETLBFS_MAGIC ? "hugetlbfs" : "other";
}

/**
 * Whether pages of a file may run out: a write to a mapping is a SIGBUS then. A memory file has the
 * machine's memory for its limit, other tmpfs and huge pages have less.
 */
export function canRunOut(fd: Fd): boolean {
  if (!isMemoryFile(fd)) return false;
  const buffer = new Uint8Array(STATFS_BYTES);
  check(libc().fstatfs(fd.number, buffer), "look at a file system");
  const { f_type, f_blocks } = STATFS_HEAD.read(new DataView(buffer.buffer));
  return f_type === HUGETLBFS_MAGIC || f_blocks !== 0n;
}

/**
 * Allocates the pages of a part of a file that it does not have yet. The rest of the thread goes on
 * meanwhile.
 *
 * @param fd The file; stays the caller's, and open until the promise is settled.
 * @param offsetBytes Where.
 * @param lengthBytes How much.
 * @returns Whether all pages are there; the file system is full otherwise.
 */
export async function allocatePages(
  fd: Fd,
  offsetBytes: bigint,
  lengthBytes: bigint,
): Promise<boolean> {
  const { fallocate } = libc();
  return await callSlowly(() =>
    fallocate(fd.number, FALLOC_FL_KEEP_SIZE, offsetBytes, lengthBytes)
  ) === 0;
}

/** The seals of a memory file, a set of F_SEAL_*. */
export function seals(fd: Fd): number {
  return check(libc().fcntl(fd.number, F_GET_SEALS, 0), "read the seals of a file");
}

/**
 * Adds seals to a memory file.
 *
 * @throws {OsError} EINVAL or EPERM when the file cannot be sealed.
 */
export function addSeals(fd: Fd, added: number): void {
  check(libc().fcntl(fd.number, F_ADD_SEALS, added), "seal a file");
}

/** Whether a seal against shrinking is missing and can be added. */
export function canForbidShrinking(fd: Fd): boolean {
  return (seals(fd) & (F_SEAL_SHRINK | F_SEAL_SEAL)) === 0;
}

/**
 * Seals a memory file against shrinking, if it can be. The rest of the thread goes on meanwhile: the
 * kernel waits until nobody else works on the file, and a write to it can take for ever.
 *
 * @param fd The file; stays the caller's, and open until the promise is settled.
 */
export async function forbidShrinking(fd: Fd): Promise<void> {
  const { fcntl_async } = libc();
  await callSlowly(() => fcntl_async(fd.number, F_ADD_SEALS, F_SEAL_SHRINK));
}

/**
 * Fixes the size of a memory file of our own before anybody else gets it.
 *
 * @param fd The file; stays the caller's.
 * @throws {OsError} When the system refuses.
 */
export function fixSize(fd: Fd): void {
  const seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  check(libc().fcntl(fd.number, F_ADD_SEALS, seals), "seal a memory file");
}

/**
 * Makes a shared 64-bit WebAssembly memory for a guest's RAM.
 *
 * @param initialPages Pages of 64 KiB to begin with.
 * @param maximumPages Pages that it may grow to; V8 reserves addresses, not memory, for all of them.
 */
export function createGuestMemory(initialPages: number, maximumPages: number): WebAssembly.Memory {
  // The type declarations do not know 64-bit memories, which count pages in BigInt.
  const descriptor = {
    address: "i64",
    initial: BigInt(initialPages),
    maximum: BigInt(maximumPages),
    shared: true,
  } as unknown as WebAssembly.MemoryDescriptor;
  return new WebAssembly.Memory(descriptor);
}

/** Where a WebAssembly memory starts in this process; it stays there when a shared memory grows. */
export function memoryAddress(memory: WebAssembly.Memory): bigint {
  const start = new Uint8Array(memory.buffer, 0, 1);
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(start));
}

/**
 * Maps a part of a file over what is there, readable, writable and shared.
 *
 * @param address Where; page aligned.
 * @param lengthBytes How much; page aligned.
 * @param fd The file; stays the caller's and may be closed afterwards.
 * @param offsetBytes Where in the file; page aligned.
 * @throws {OsError} When the system refuses; then what was there may be gone.
 */
export function mapShared(address: bigint, lengthBytes: bigint, fd: Fd, offsetBytes: bigint): void {
  // SAFETY: the caller guarantees that the range is its own, because MAP_FIXED replaces anything.
  map(address, lengthBytes, MAP_SHARED | MAP_FIXED, fd.number, offsetBytes, "map guest memory");
}

/**
 * Replaces what is mapped by zero pages, in one step: no moment without a mapping.
 *
 * @param address Where; page aligned.
 * @param lengthBytes How much; page aligned.
 */
export function mapAnonymous(address: bigint, lengthBytes: bigint): void {
  // SAFETY: as in mapShared.
  const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE;
  map(address, lengthBytes, flags, -1, 0n, "unmap guest memory");
}

function map(
  address: bigint,
  length: bigint,
  flags: number,
  fd: number,
  offset: bigint,
  action: string,
): void {
  const result = libc().mmap(address, length, PROT_READ_WRITE, flags, fd, offset);
  if (result === -1n) throw new OsError(action);
}
