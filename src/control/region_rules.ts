/**
 * The rules for memory that a front-end hands over, and the defence against a file that turns on us:
 * touching a page that its file no longer has, or cannot get, ends the process (SIGBUS).
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import {
  addSeals,
  allocatePages,
  canRunOut,
  F_SEAL_SHRINK,
  fileInfo,
  fileSystem,
  isWritable,
  PAGE_SIZE_BYTES,
} from "../../ffi/memory.ts";
import { RequestRefused } from "../vhost_user/errors.ts";

/** A part of a file that a front-end wants mapped. */
export interface FilePart {
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** Where it starts in the file. */
  readonly offsetBytes: bigint;
  /** The file; stays the caller's. */
  readonly fd: Fd;
}

/** Which memory a region is: what names it when it is removed. */
export interface RegionName {
  /** Guest-physical address of the first byte. */
  readonly guestAddress: bigint;
  /** The same byte as the front-end addresses it. */
  readonly frontendAddress: bigint;
  /** Bytes. */
  readonly sizeBytes: bigint;
}

/** A region as a front-end announces it (vhost-user, "Memory region description"). */
export interface RegionRequest extends FilePart, RegionName {}

const ADDRESS_END = 1n << 64n;

/**
 * Checks one region by itself.
 *
 * @param request The region.
 * @param what Its name in the message, such as `memory region 0`.
 * @throws {RequestRefused} When it breaks a rule.
 */
export function checkRegion(request: RegionRequest, what: string): void {
  const { sizeBytes, guestAddress, frontendAddress } = request;
  if (guestAddress + sizeBytes > ADDRESS_END) refuse(what, "its guest addresses wrap around");
  if (frontendAddress + sizeBytes > ADDRESS_END) {
    refuse(what, "its front-end addresses wrap around");
  }
  checkFile(request, what);
}

/**
 * Checks a part of a file that is to be mapped, and makes sure that it stays there.
 *
 * @param part The file and where in it.
 * @param what Its name in the message.
 * @throws {RequestRefused} When mapping or using it could fail.
 */
export function checkFile(part: FilePart, what: string): void {
  const { sizeBytes, offsetBytes, fd } = part;
  if (sizeBytes === 0n) refuse(what, "its size is 0");
  if (offsetBytes % BigInt(PAGE_SIZE_BYTES) !== 0n) {
    refuse(what, "its file offset is not page aligned");
  }
  if (fileSystem(fd) === "other") {
    refuse(
      what,
      "its file is neither memfd, tmpfs nor hugetlbfs; use -object memory-backend-memfd,share=on",
    );
  }
  if (!fileInfo(fd).isRegular) refuse(what, "it is not in a plain file");
  if (!isWritable(fd)) refuse(what, "its file cannot be written");
  // A mapping past the end of the file would kill the process on its first access (SIGBUS).
  if (offsetBytes + sizeBytes > fileInfo(fd).sizeBytes) refuse(what, "it ends behind its file");
  forbidShrinking(fd);
}

// The same danger later: a file that cannot shrink cannot take pages away from us. Files outside
// memfd cannot be sealed, which leaves their owner able to end this process.
function forbidShrinking(fd: Fd): void {
  try {
    addSeals(fd, F_SEAL_SHRINK);
  } catch {
    // Not sealable: accepted, as every vhost-user back-end does.
  }
}

/**
 * Makes sure that writing to what is mapped cannot end this process because no page is left for it.
 *
 * @param parts What is to be mapped; the descriptors stay the caller's.
 * @returns Null when that cannot happen; else a promise, rejected with a {@linkcode RequestRefused}
 * when there are too few pages.
 */
export function allocateParts(parts: readonly FilePart[]): Promise<void> | null {
  const scarce = parts.filter(({ fd }) => canRunOut(fd));
  return scarce.length === 0 ? null : allocate(scarce);
}

async function allocate(parts: readonly FilePart[]): Promise<void> {
  for (const part of parts) {
    checkFile(part, "shared memory");
    if (await allocatePages(part.fd, part.offsetBytes, part.sizeBytes)) continue;
    throw new RequestRefused(
      `there is too little memory for ${part.sizeBytes} bytes: their file system is full`,
    );
  }
}

/** Refuses regions that overlap each other in either kind of address. */
export function checkOverlaps(requests: readonly RegionName[]): void {
  for (const [i, a] of requests.entries()) {
    for (const b of requests.slice(i + 1)) {
      if (
        overlap(a.guestAddress, b.guestAddress, a, b) ||
        overlap(a.frontendAddress, b.frontendAddress, a, b)
      ) {
        throw new RequestRefused("memory regions overlap");
      }
    }
  }
}

function overlap(a: bigint, b: bigint, sizeA: RegionName, sizeB: RegionName): boolean {
  return a < b + sizeB.sizeBytes && b < a + sizeA.sizeBytes;
}

function refuse(what: string, why: string): never {
  throw new RequestRefused(`${what}: ${why}`);
}
