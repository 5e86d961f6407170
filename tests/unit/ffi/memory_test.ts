import { deepStrictEqual, notStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Fd } from "../../../ffi/fd.ts";
import { libc } from "../../../ffi/libc.ts";
import {
  addSeals,
  allocatePages,
  canForbidShrinking,
  canRunOut,
  createGuestMemory,
  createMemfd,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  fileIdentity,
  fileInfo,
  fileSystem,
  forbidShrinking,
  isMemoryFile,
  mapAnonymous,
  mapShared,
  memoryAddress,
  PAGE_SIZE_BYTES,
  seals,
} from "../../../ffi/memory.ts";
import { descriptorState, openFile } from "../../support/descriptors.ts";
import { countDescriptors } from "../../support/leaks.ts";
import { noPrivateTmpfs, PrivateTmpfs } from "../../support/private_tmpfs.ts";
import { createScarce, noEmptyPool } from "../../support/scarce_pages.ts";
import { testWith } from "../../support/test_with.ts";

const PAGE = BigInt(PAGE_SIZE_BYTES);
const WASM_PAGE_BYTES = 65536;

/** A guest memory of one WebAssembly page with the first bytes of `file` mapped at its start. */
function memoryOf(file: Fd, lengthBytes = PAGE): Uint8Array {
  const memory = createGuestMemory(1, 1);
  // SAFETY: the range is a part of the page that was made in the line above.
  mapShared(memoryAddress(memory), lengthBytes, file, 0n);
  return new Uint8Array(memory.buffer);
}

Deno.test("createMemfd makes an empty file of the given size that programs do not inherit", () => {
  using fd = createMemfd("memory-test", 3 * PAGE_SIZE_BYTES);
  strictEqual(Deno.readLinkSync(`/proc/self/fd/${fd.number}`), "/memfd:memory-test (deleted)");
  strictEqual(fileInfo(fd).sizeBytes, 3n * PAGE);
  ok(descriptorState(fd.number).isCloseOnExec);
});

Deno.test("createMemfd accepts sizes above 2^53", () => {
  using fd = createMemfd("memory-test", 2n ** 55n + PAGE);
  strictEqual(fileInfo(fd).sizeBytes, 2n ** 55n + PAGE);
});

Deno.test("createMemfd throws and leaves nothing open when the size is impossible", () => {
  const before = countDescriptors();
  throws(() => createMemfd("memory-test", -1), {
    name: "OsError",
    message: "Cannot size a memory file to -1 bytes: EINVAL (invalid argument)",
  });
  strictEqual(countDescriptors(), before);
});

Deno.test("addSeals keeps a memory file from shrinking", () => {
  using fd = createMemfd("memory-test", PAGE);
  strictEqual(seals(fd), 0);
  addSeals(fd, F_SEAL_SHRINK);
  strictEqual(seals(fd), F_SEAL_SHRINK);
  strictEqual(libc().ftruncate(fd.number, 0n), -1);
  strictEqual(fileInfo(fd).sizeBytes, PAGE);
});

Deno.test("addSeals adds to the seals that are there", () => {
  using fd = createMemfd("memory-test", PAGE);
  addSeals(fd, F_SEAL_SHRINK);
  addSeals(fd, F_SEAL_GROW);
  strictEqual(seals(fd), F_SEAL_SHRINK | F_SEAL_GROW);
});

Deno.test("addSeals throws EPERM when the file was made without sealing", () => {
  using fd = createMemfd("memory-test", PAGE, { sealable: false });
  strictEqual(seals(fd), F_SEAL_SEAL);
  throws(() => addSeals(fd, F_SEAL_SHRINK), { name: "OsError", code: "EPERM" });
});

Deno.test("addSeals throws EBUSY when a file that is mapped shall not be written", () => {
  using fd = createMemfd("memory-test", PAGE);
  memoryOf(fd);
  throws(() => addSeals(fd, F_SEAL_WRITE), { name: "OsError", code: "EBUSY" });
});

Deno.test("seals throws EINVAL for a file that is not in memory", () => {
  using fd = openFile("/proc/self/status", "r");
  throws(() => seals(fd), { name: "OsError", code: "EINVAL" });
});

Deno.test("fileInfo tells memory files from folders and devices", () => {
  using memory = createMemfd("memory-test", 5);
  using folder = openFile("/proc", "r");
  using device = openFile("/dev/zero", "r");
  deepStrictEqual(fileInfo(memory), {
    sizeBytes: 5n,
    isRegular: true,
    blockSizeBytes: PAGE,
  });
  strictEqual(fileInfo(folder).isRegular, false);
  strictEqual(fileInfo(device).isRegular, false);
});

Deno.test("fileIdentity is the same for two descriptors of one file only", () => {
  using one = createMemfd("memory-test", PAGE);
  using again = one.duplicate();
  using other = createMemfd("memory-test", PAGE);
  strictEqual(fileIdentity(again), fileIdentity(one));
  notStrictEqual(fileIdentity(other), fileIdentity(one));
});

Deno.test("fileSystem tells memory files from other files", () => {
  using memory = createMemfd("memory-test", PAGE);
  using other = openFile("/proc/self/status", "r");
  strictEqual(fileSystem(memory), "tmpfs");
  strictEqual(fileSystem(other), "other");
});

Deno.test("isMemoryFile is true for memory files only", () => {
  using memory = createMemfd("memory-test", PAGE, { sealable: false });
  using folder = openFile("/dev/shm", "r");
  using device = openFile("/dev/zero", "r");
  using other = openFile("/proc/self/status", "r");
  deepStrictEqual([memory, folder, device, other].map(isMemoryFile), [true, false, false, false]);
});

Deno.test("forbidShrinking seals a memory file, and leaves one that cannot be sealed", async () => {
  using memory = createMemfd("memory-test", PAGE);
  using stubborn = createMemfd("memory-test", PAGE, { sealable: false });
  deepStrictEqual([memory, stubborn].map(canForbidShrinking), [true, false]);
  for (const fd of [memory, stubborn]) await forbidShrinking(fd);
  deepStrictEqual([seals(memory), seals(stubborn)], [F_SEAL_SHRINK, F_SEAL_SEAL]);
  strictEqual(canForbidShrinking(memory), false);
});

Deno.test("fileInfo and fileSystem throw EBADF for a descriptor that is not open", () => {
  const stray = Fd.adopt(1_000_000);
  throws(() => fileInfo(stray), { name: "OsError", code: "EBADF" });
  throws(() => fileSystem(stray), { name: "OsError", code: "EBADF" });
});

Deno.test("createGuestMemory makes a shared memory that grows up to its maximum in BigInt pages", () => {
  const memory = createGuestMemory(1, 3);
  ok(memory.buffer as unknown instanceof SharedArrayBuffer);
  strictEqual(memory.grow(2n as unknown as number) as unknown, 1n);
  strictEqual(memory.buffer.byteLength, 3 * WASM_PAGE_BYTES);
  throws(() => memory.grow(1n as unknown as number), RangeError);
});

Deno.test("memoryAddress stays the same when the memory grows", () => {
  const memory = createGuestMemory(1, 1024);
  const before = memoryAddress(memory);
  memory.grow(1023n as unknown as number);
  strictEqual(memoryAddress(memory), before);
});

Deno.test("mapShared lets two memories see the same bytes", () => {
  using fd = createMemfd("memory-test", PAGE);
  const [left, right] = [memoryOf(fd), memoryOf(fd)];
  left[17] = 42;
  strictEqual(right[17], 42);
  right[PAGE_SIZE_BYTES - 1] = 43;
  strictEqual(left[PAGE_SIZE_BYTES - 1], 43);
});

Deno.test("mapShared replaces only the range that it is given", () => {
  using fd = createMemfd("memory-test", 2 * PAGE_SIZE_BYTES);
  const memory = createGuestMemory(1, 1);
  const data = new Uint8Array(memory.buffer).fill(7);
  mapShared(memoryAddress(memory) + PAGE, PAGE, fd, PAGE);
  strictEqual(data[PAGE_SIZE_BYTES - 1], 7);
  strictEqual(data[PAGE_SIZE_BYTES], 0);
  strictEqual(data[2 * PAGE_SIZE_BYTES], 7);
});

Deno.test("mapShared keeps the mapping when the descriptor is closed and the memory grows", () => {
  const fd = createMemfd("memory-test", PAGE);
  using again = fd.duplicate();
  const memory = createGuestMemory(1, 2);
  mapShared(memoryAddress(memory), PAGE, fd, 0n);
  fd.close();
  memory.grow(1n as unknown as number);
  new Uint8Array(memory.buffer)[5] = 99;
  strictEqual(memoryOf(again)[5], 99);
});

Deno.test("mapShared throws the system's reason", () => {
  using sealed = createMemfd("memory-test", PAGE);
  addSeals(sealed, F_SEAL_WRITE);
  throws(() => memoryOf(sealed), { name: "OsError", code: "EPERM" });
  using folder = openFile("/proc", "r");
  throws(() => memoryOf(folder), { name: "OsError", code: /^(ENODEV|EACCES|EIO)$/ });
  using file = createMemfd("memory-test", PAGE);
  const memory = createGuestMemory(1, 1);
  throws(() => mapShared(memoryAddress(memory), PAGE, file, 1n), {
    message: "Cannot map guest memory: EINVAL (invalid argument)",
  });
});

Deno.test("mapAnonymous replaces a mapping by zeros and leaves the file as it was", () => {
  using fd = createMemfd("memory-test", PAGE);
  const memory = createGuestMemory(1, 1);
  const data = new Uint8Array(memory.buffer);
  mapShared(memoryAddress(memory), PAGE, fd, 0n);
  data[3] = 1;
  mapAnonymous(memoryAddress(memory), PAGE);
  strictEqual(data[3], 0);
  data[3] = 2;
  strictEqual(memoryOf(fd)[3], 1);
});

Deno.test("canRunOut is false for memory files, and for what has no pages", () => {
  using memory = createMemfd("memory-test", PAGE);
  strictEqual(canRunOut(memory), false);
  using status = openFile("/proc/self/status", "r");
  strictEqual(canRunOut(status), false);
});

testWith(noPrivateTmpfs, "canRunOut is true for a tmpfs that has a size", async () => {
  await using tmpfs = await PrivateTmpfs.mount(64);
  using fd = tmpfs.createSparse("file", PAGE);
  strictEqual(canRunOut(fd), true);
});

testWith(noEmptyPool, "canRunOut is true for huge pages, and allocatePages says so", async () => {
  const { fd, sizeBytes } = createScarce();
  try {
    strictEqual(canRunOut(fd), true);
    strictEqual(await allocatePages(fd, 0n, sizeBytes), false);
  } finally {
    fd.close();
  }
});

Deno.test("allocatePages gives a file the pages of a part and does not change its size", async () => {
  using fd = createMemfd("memory-test", 4n * PAGE);
  strictEqual(await allocatePages(fd, PAGE, 2n * PAGE), true);
  const { blocks, size } = Deno.statSync(`/proc/self/fd/${fd.number}`);
  // In units of 512 bytes, whatever the file system's block is (man 3 stat).
  deepStrictEqual([blocks! * 512, size], [2 * PAGE_SIZE_BYTES, 4 * PAGE_SIZE_BYTES]);
});

Deno.test("allocatePages is false for a file that cannot be written", async () => {
  using fd = openFile("/proc/self/status", "r");
  strictEqual(await allocatePages(fd, 0n, PAGE), false);
});
