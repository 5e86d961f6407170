/**
 * The rules for memory that a front-end hands over, and the defence against a file that turns on us:
 * touching a page that its file no longer has, or cannot get, is a SIGBUS, which costs the port its
 * connection, or the process its life (ADR 19).
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import {
  allocatePages,
  canForbidShrinking,
  canRunOut,
  fileInfo,
  forbidShrinking,
  isMemoryFile,
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
 * Checks a part of a file that is to be mapped.
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
  // First of all: a file that is not in memory must not be asked anything.
  if (!isMemoryFile(fd)) {
    refuse(
      what,
      "its file is neither memfd, tmpfs nor hugetlbfs; use -object memory-backend-memfd,share=on",
    );
  }
  if (!isWritable(fd)) refuse(what, "its file cannot be written");
  // The first access behind the end of the file would be a SIGBUS.
  if (offsetBytes + sizeBytes > fileInfo(fd).sizeBytes) refuse(what, "it ends behind its file");
}

/**
 * Makes sure that using what is mapped cannot fail because its file shrank or because no page is left
 * for it. A file that cannot shrink cannot take pages away from us; files outside memfd cannot be
 * sealed, so their owner still can.
 *
 * @param parts What is to be mapped; the descriptors stay the caller's, and open meanwhile.
 * @param isWanted Asked now and then whether to go on.
 * @returns Null when there is nothing to do; else a promise, rejected with a
 * {@linkcode RequestRefused} when a part breaks a rule or there are too few pages. Afterwards a part
 * must be checked again: until it was sealed, its file could still shrink.
 */
export function prepareParts(
  parts: readonly FilePart[],
  isWanted: () => boolean = () => true,
): Promise<void> | null {
  const unready = parts.filter(({ fd }) =>
    isMemoryFile(fd) && (canForbidShrinking(fd) || canRunOut(fd))
  );
  return unready.length === 0 ? null : prepare(unready, isWanted);
}

async function prepare(parts: readonly FilePart[], isWanted: () => boolean): Promise<void> {
  for (const part of parts) {
    if (!isWanted()) return;
    checkFile(part, "shared memory");
    const { fd, offsetBytes, sizeBytes } = part;
    if (canForbidShrinking(fd)) await forbidShrinking(fd);
    if (!isWanted()) return;
    if (!canRunOut(fd) || await allocatePages(fd, offsetBytes, sizeBytes)) continue;
    throw new RequestRefused(
      `there is too little memory for ${sizeBytes} bytes: their file system is full`,
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
