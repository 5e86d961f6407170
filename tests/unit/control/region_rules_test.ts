import { deepStrictEqual, doesNotThrow, rejects, strictEqual, throws } from "node:assert/strict";
import { EventFd } from "../../../ffi/eventfd.ts";
import { addSeals, createMemfd, F_SEAL_SHRINK, F_SEAL_WRITE, seals } from "../../../ffi/memory.ts";
import {
  checkFile,
  checkOverlaps,
  checkRegion,
  prepareParts,
  type RegionName,
} from "../../../src/control/region_rules.ts";
import { openFile } from "../../support/descriptors.ts";
import { noPrivateTmpfs, PrivateTmpfs } from "../../support/private_tmpfs.ts";
import { createScarce, noEmptyPool } from "../../support/scarce_pages.ts";
import { testWith } from "../../support/test_with.ts";

const PAGE = 4096n;
const TMPFS_KIB = 64;

function name(guestAddress: bigint, frontendAddress: bigint, sizeBytes = PAGE): RegionName {
  return { guestAddress, frontendAddress, sizeBytes };
}

Deno.test("checkFile says what is wrong with a part of a file, and of which", () => {
  using file = createMemfd("rules", 2n * PAGE);
  using sealed = createMemfd("rules", PAGE);
  addSeals(sealed, F_SEAL_WRITE);
  using status = openFile("/proc/self/status", "r");
  using event = EventFd.create();
  const wrong = [
    [{ fd: file, sizeBytes: 0n, offsetBytes: 0n }, "its size is 0"],
    [{ fd: file, sizeBytes: 1n, offsetBytes: 2048n }, "its file offset is not page aligned"],
    [{ fd: file, sizeBytes: PAGE + 1n, offsetBytes: PAGE }, "it ends behind its file"],
    [{ fd: file, sizeBytes: 2n ** 64n - 1n, offsetBytes: PAGE }, "it ends behind its file"],
    [{ fd: sealed, sizeBytes: 1n, offsetBytes: 0n }, "its file cannot be written"],
    [{ fd: status, sizeBytes: 1n, offsetBytes: 0n }, "its file is neither memfd"],
    [{ fd: event.fd, sizeBytes: 1n, offsetBytes: 0n }, "its file is neither memfd"],
  ] as const;
  for (const [part, reason] of wrong) {
    throws(() => checkFile(part, "the thing"), {
      name: "RequestRefused",
      message: new RegExp(`^the thing: ${reason}`),
    });
  }
});

Deno.test("checkFile takes a part that ends with its file, and changes nothing about it", () => {
  using file = createMemfd("rules", 2n * PAGE);
  checkFile({ fd: file, sizeBytes: PAGE, offsetBytes: PAGE }, "the thing");
  strictEqual(seals(file), 0);
});

Deno.test("prepareParts keeps memory files from shrinking (F45)", async () => {
  using file = createMemfd("rules", 2n * PAGE);
  const part = { fd: file, sizeBytes: PAGE, offsetBytes: PAGE };
  await prepareParts([part]);
  strictEqual(seals(file), F_SEAL_SHRINK);
  // A second time there is nothing to do.
  strictEqual(prepareParts([part]), null);
});

Deno.test("prepareParts stops when nobody waits for it any more", async () => {
  using first = createMemfd("rules", PAGE);
  using second = createMemfd("rules", PAGE);
  let isWanted = true;
  const parts = [first, second].map((fd) => ({ fd, sizeBytes: PAGE, offsetBytes: 0n }));
  const end = prepareParts(parts, () => isWanted);
  isWanted = false;
  await end;
  deepStrictEqual([seals(first), seals(second)], [F_SEAL_SHRINK, 0]);
});

Deno.test("checkFile takes a file that cannot be sealed", () => {
  using file = createMemfd("rules", PAGE, { sealable: false });
  doesNotThrow(() => checkFile({ fd: file, sizeBytes: PAGE, offsetBytes: 0n }, "the thing"));
});

Deno.test("checkRegion takes addresses up to the last and refuses those that wrap around (F51)", () => {
  using fd = createMemfd("rules", PAGE);
  const last = 2n ** 64n - PAGE;
  const region = { fd, offsetBytes: 0n, ...name(last, last) };
  doesNotThrow(() => checkRegion(region, "memory region 3"));
  throws(() => checkRegion({ ...region, guestAddress: last + 1n }, "memory region 3"), {
    message: "memory region 3: its guest addresses wrap around",
  });
  throws(() => checkRegion({ ...region, frontendAddress: last + 1n }, "memory region 3"), {
    message: "memory region 3: its front-end addresses wrap around",
  });
});

Deno.test("checkOverlaps takes regions that touch and refuses those that share a byte (F49, F50)", () => {
  doesNotThrow(() => checkOverlaps([]));
  doesNotThrow(() => checkOverlaps([name(0n, PAGE), name(PAGE, 0n), name(2n * PAGE, 2n * PAGE)]));
  const first = name(PAGE, 9n * PAGE);
  for (const second of [name(2n * PAGE - 1n, 0n), name(1n, 0n), name(0n, 10n * PAGE - 1n), first]) {
    throws(() => checkOverlaps([first, second]), { name: "RequestRefused" });
    throws(() => checkOverlaps([second, name(5n * PAGE, 5n * PAGE), first]), /overlap/);
  }
});

Deno.test("prepareParts has nothing to do for sealed memory files, and for what is none", () => {
  using file = createMemfd("rules", 2n ** 50n);
  addSeals(file, F_SEAL_SHRINK);
  using stubborn = createMemfd("rules", PAGE, { sealable: false });
  using event = EventFd.create();
  using status = openFile("/proc/self/status", "r");
  for (const fd of [file, stubborn, event.fd, status]) {
    strictEqual(prepareParts([{ fd, offsetBytes: 0n, ...name(0n, 0n) }]), null);
  }
});

testWith(noPrivateTmpfs, "prepareParts gives a tmpfs file its pages (F48)", async () => {
  await using tmpfs = await PrivateTmpfs.mount(TMPFS_KIB);
  using fd = tmpfs.createSparse("file", 8n * PAGE);
  const region = { fd, offsetBytes: 2n * PAGE, ...name(0n, 0n, 3n * PAGE) };
  await prepareParts([region]);
  strictEqual(await tmpfs.occupiedBytes("file"), 3 * Number(PAGE));
  // What is there already costs nothing.
  await prepareParts([region]);
  strictEqual(await tmpfs.occupiedBytes("file"), 3 * Number(PAGE));
});

testWith(
  noPrivateTmpfs,
  "prepareParts refuses a tmpfs file that cannot get its pages (F48)",
  async () => {
    await using tmpfs = await PrivateTmpfs.mount(TMPFS_KIB);
    using large = tmpfs.createSparse("large", 2 * tmpfs.sizeBytes);
    const region = { fd: large, offsetBytes: 0n, ...name(0n, 0n, BigInt(2 * tmpfs.sizeBytes)) };
    await rejects(prepareParts([region])!, {
      name: "RequestRefused",
      message: /too little memory for 131072 bytes/,
    });
    strictEqual(await tmpfs.occupiedBytes("large"), 0);
    // The first of two fits.
    using small = tmpfs.createSparse("small", PAGE);
    const first = { fd: small, offsetBytes: 0n, ...name(0n, 0n) };
    await rejects(prepareParts([first, region])!, { name: "RequestRefused" });
    await prepareParts([first]);
  },
);

testWith(
  noPrivateTmpfs,
  "prepareParts refuses a tmpfs file that is too short, before it gets pages (F44)",
  async () => {
    await using tmpfs = await PrivateTmpfs.mount(TMPFS_KIB);
    using fd = tmpfs.createSparse("file", PAGE);
    const region = { fd, offsetBytes: 0n, ...name(0n, 0n, 2n * PAGE) };
    await rejects(prepareParts([region])!, /ends behind its file/);
    strictEqual(await tmpfs.occupiedBytes("file"), 0);
  },
);

testWith(noEmptyPool, "prepareParts refuses huge pages that nobody has (F47)", async () => {
  const { fd, sizeBytes } = createScarce();
  try {
    const region = { fd, offsetBytes: 0n, ...name(0n, 0n, sizeBytes) };
    await rejects(prepareParts([region])!, { name: "RequestRefused" });
  } finally {
    fd.close();
  }
});
