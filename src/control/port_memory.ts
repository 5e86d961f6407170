/**
 * One port's memory: the WebAssembly memory in whose pages its guest's RAM is mapped.
 *
 * The memory is made once and only grows, so that instances in all Workers stay valid whatever the
 * guest does. Regions are laid out one behind the other from `FIRST_REGION`; address 0 is never used,
 * and a page behind the last region absorbs the over-read of the snapshot:
 *
 *     0        2 MiB
 *     | zeros  | region 0 | pad | region 1 | … | zeros |
 *
 * What is unmapped is replaced by anonymous zero pages in one step: there is never a hole, so a late
 * access reads zeros instead of ending the process.
 *
 * Runs on the main thread. `map` and `unmap` are called only while no Worker uses the port's rings.
 *
 * @module
 */
import { OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import {
  addSeals,
  createGuestMemory,
  F_SEAL_SHRINK,
  fileInfo,
  fileSystem,
  isWritable,
  mapAnonymous,
  mapShared,
  memoryAddress,
  PAGE_SIZE_BYTES,
} from "../../ffi/memory.ts";
import { OVERREAD_BYTES } from "../dataplane/state_layout.ts";
import { RequestRefused } from "../vhost_user/errors.ts";

/** A region as a front-end announces it (vhost-user, "Memory region description"). */
export interface RegionRequest {
  /** Guest-physical address of the first byte. */
  readonly guestAddress: bigint;
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** The same byte as the front-end addresses it. */
  readonly frontendAddress: bigint;
  /** Where the region starts in the file. */
  readonly offsetBytes: bigint;
  /** The file; stays the caller's. */
  readonly fd: Fd;
}

/** A region that is mapped. */
export interface MappedRegion extends Omit<RegionRequest, "fd" | "offsetBytes"> {
  /** Where its first byte is in the port's memory. */
  readonly localAddress: bigint;
}

/** A region with its place, before it is mapped. */
interface PlannedRegion extends MappedRegion {
  readonly fd: Fd;
  /** The mapping around it: page aligned place in memory and in the file, and bytes. */
  readonly mapAddress: bigint;
  readonly mapOffset: bigint;
  readonly mapBytes: bigint;
}

const WASM_PAGE_BYTES = 65536n;
/** V8's limit for a 64-bit memory: 262,144 pages, 16 GiB. */
const MAX_PAGES = 262144;
/** A guest's memory must be smaller than this. */
export const MAX_MEMORY_BYTES: bigint = BigInt(MAX_PAGES) * WASM_PAGE_BYTES;
/** Also the alignment of every region: the size of a huge page on x86-64 and arm64. */
const FIRST_REGION = 0x200000n;
const ADDRESS_END = 1n << 64n;

/** Maps a guest's RAM into the pages of a WebAssembly memory. */
export class PortMemory {
  /** The memory, to be given to Workers. */
  readonly memory: WebAssembly.Memory = createGuestMemory(1, MAX_PAGES);
  readonly #base: bigint = memoryAddress(this.memory);
  #regions: readonly MappedRegion[] = [];
  #mappedEnd = 0n;

  /** The regions mapped now. */
  get regions(): readonly MappedRegion[] {
    return this.#regions;
  }

  /** Bytes of guest memory mapped now. */
  get sizeBytes(): bigint {
    return this.#regions.reduce((sum, region) => sum + region.sizeBytes, 0n);
  }

  /**
   * Replaces what is mapped by a new set of regions.
   *
   * @param requests The new regions; the descriptors stay the caller's and may be closed afterwards.
   * @throws {RequestRefused} When a region breaks a rule; then what was mapped before stays mapped.
   */
  map(requests: readonly RegionRequest[]): void {
    requests.forEach((request, i) => checkRegion(request, i));
    checkOverlaps(requests);
    const planned = this.#plan(requests);
    this.#grow(planned);
    this.unmap();
    try {
      for (const region of planned) {
        // SAFETY: the range lies inside this memory (plan and grow), is page aligned, and no Worker
        // touches it: its rings are stopped or hold addresses that are translated anew.
        mapShared(this.#base + region.mapAddress, region.mapBytes, region.fd, region.mapOffset);
        this.#mappedEnd = region.mapAddress + region.mapBytes;
      }
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      // What the checks above do not foresee, such as too few huge pages.
      this.unmap();
      throw new RequestRefused(error.message);
    }
    this.#regions = planned.map(({ fd: _, ...region }) => region);
  }

  /** Replaces everything mapped by anonymous zero pages, in one step. */
  unmap(): void {
    if (this.#mappedEnd > FIRST_REGION) {
      // SAFETY: only pages that this class mapped inside its own memory are replaced.
      mapAnonymous(this.#base + FIRST_REGION, this.#mappedEnd - FIRST_REGION);
    }
    this.#mappedEnd = 0n;
    this.#regions = [];
  }

  /**
   * Translates a range of front-end addresses that must lie in one region (rings do).
   *
   * @param address Front-end address of the first byte.
   * @param length Bytes.
   * @returns The address in the port's memory, or null when no region holds the whole range.
   */
  translate(address: bigint, length: bigint): bigint | null {
    for (const region of this.#regions) {
      const offset = address - region.frontendAddress;
      if (offset >= 0n && offset + length <= region.sizeBytes) return region.localAddress + offset;
    }
    return null;
  }

  /** Reads 16 bits of guest memory; `address` is even and was translated. */
  read16(address: bigint): number {
    const view = new Uint16Array(this.memory.buffer, Number(address), 1);
    return Atomics.load(view, 0);
  }

  // Places every region on an address whose distance from its file offset keeps both aligned to the
  // file's block size: huge page files cannot be mapped otherwise.
  #plan(requests: readonly RegionRequest[]): PlannedRegion[] {
    let end = FIRST_REGION;
    return requests.map((request) => {
      const block = blockBytes(request.fd);
      const mapOffset = request.offsetBytes / block * block;
      const lead = request.offsetBytes - mapOffset;
      const align = block > FIRST_REGION ? block : FIRST_REGION;
      const mapAddress = roundUp(this.#base + end, align) - this.#base;
      const mapBytes = roundUp(lead + request.sizeBytes, block);
      end = mapAddress + mapBytes;
      return { ...request, localAddress: mapAddress + lead, mapAddress, mapOffset, mapBytes };
    });
  }

  #grow(planned: readonly PlannedRegion[]): void {
    const last = planned.at(-1);
    if (last === undefined) return;
    const end = last.mapAddress + last.mapBytes + BigInt(OVERREAD_BYTES);
    if (end > MAX_MEMORY_BYTES) {
      const size = planned.reduce((sum, region) => sum + region.sizeBytes, 0n);
      throw new RequestRefused(
        `guest memory of ${gibibytes(size)} GiB does not fit: a port can map a little less than ` +
          `${gibibytes(MAX_MEMORY_BYTES)} GiB; give the guest less memory`,
      );
    }
    const pages = roundUp(end, WASM_PAGE_BYTES) / WASM_PAGE_BYTES;
    const have = BigInt(this.memory.buffer.byteLength) / WASM_PAGE_BYTES;
    // A 64-bit memory counts its pages in BigInt, which the type declarations do not know yet.
    if (pages > have) this.memory.grow((pages - have) as unknown as number);
  }
}

function checkRegion(request: RegionRequest, index: number): void {
  const { sizeBytes, offsetBytes, guestAddress, frontendAddress } = request;
  const refuse = (why: string): never => {
    throw new RequestRefused(`memory region ${index}: ${why}`);
  };
  if (sizeBytes === 0n) refuse("its size is 0");
  if (guestAddress + sizeBytes > ADDRESS_END) refuse("its guest addresses wrap around");
  if (frontendAddress + sizeBytes > ADDRESS_END) refuse("its front-end addresses wrap around");
  if (offsetBytes % BigInt(PAGE_SIZE_BYTES) !== 0n) refuse("its file offset is not page aligned");
  const kind = fileSystem(request.fd);
  if (kind === "other") {
    refuse(
      "its file is neither memfd, tmpfs nor hugetlbfs; use -object memory-backend-memfd,share=on",
    );
  }
  if (!fileInfo(request.fd).isRegular) refuse("it is not in a plain file");
  if (!isWritable(request.fd)) refuse("its file cannot be written");
  // A mapping past the end of the file would kill the process on its first access (SIGBUS).
  if (offsetBytes + sizeBytes > fileInfo(request.fd).sizeBytes) refuse("it ends behind its file");
  forbidShrinking(request.fd);
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

function checkOverlaps(requests: readonly RegionRequest[]): void {
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

function overlap(a: bigint, b: bigint, sizeA: RegionRequest, sizeB: RegionRequest): boolean {
  return a < b + sizeB.sizeBytes && b < a + sizeA.sizeBytes;
}

function blockBytes(fd: Fd): bigint {
  const page = BigInt(PAGE_SIZE_BYTES);
  if (fileSystem(fd) !== "hugetlbfs") return page;
  return fileInfo(fd).blockSizeBytes;
}

function roundUp(value: bigint, align: bigint): bigint {
  return (value + align - 1n) / align * align;
}

function gibibytes(bytes: bigint): string {
  return (Number(bytes) / 2 ** 30).toFixed(1);
}
