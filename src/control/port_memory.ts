/**
 * One port's memory: the WebAssembly memory in whose pages its guest's RAM is mapped.
 *
 * The memory is made once and only grows, so that instances in all Workers stay valid whatever the
 * guest does. Regions, and the log of dirty pages, lie wherever there is room from `FIRST_REGION` on;
 * address 0 is never used, and a page behind the last region absorbs the over-read of the snapshot:
 *
 *     0        2 MiB
 *     | zeros  | region 0 | pad | log | region 1 | … | zeros |
 *
 * What is unmapped is replaced by anonymous zero pages in one step: there is never a hole, so a late
 * access reads zeros instead of ending the process. So is everything when the front-end takes a page
 * away.
 *
 * Runs on the main thread. Whatever changes is changed only while no Worker uses the port's rings.
 *
 * @module
 */
import { OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import {
  createGuestMemory,
  fileIdentity,
  fileInfo,
  fileSystem,
  isMemoryFile,
  mapAnonymous,
  mapShared,
  memoryAddress,
  PAGE_SIZE_BYTES,
} from "../../ffi/memory.ts";
import { GuardedRange } from "../../ffi/page_guard.ts";
import { LOG_PAGE_BYTES, OVERREAD_BYTES } from "../dataplane/state_layout.ts";
import { RequestRefused } from "../vhost_user/errors.ts";
import { MAX_MEMORY_SLOTS } from "../vhost_user/numbers.ts";
import {
  checkFile,
  checkOverlaps,
  checkRegion,
  type FilePart,
  type RegionName,
  type RegionRequest,
} from "./region_rules.ts";

/** A region that is mapped. */
export interface MappedRegion extends RegionName {
  /** Where its first byte is in the port's memory. */
  readonly localAddress: bigint;
}

/** Where the log of dirty pages is mapped. */
export interface MappedLog {
  /** Where its first byte is in the port's memory. */
  readonly localAddress: bigint;
  /** Bytes. */
  readonly sizeBytes: bigint;
}

/** A part of the memory that is mapped, page aligned. */
interface Extent {
  readonly start: bigint;
  readonly bytes: bigint;
  /** Which file it is, and where the wanted part starts there. */
  readonly source: string;
}

/** Where a part of a file goes. */
interface Place extends Extent {
  readonly fd: Fd;
  /** Where the mapping starts in the file. */
  readonly offset: bigint;
  /** Where the wanted part starts in the port's memory. */
  readonly localAddress: bigint;
}

const WASM_PAGE_BYTES = 65536n;
/** V8's limit for a 64-bit memory: 262,144 pages, 16 GiB. */
const MAX_PAGES = 262144;
/** A guest's memory must be smaller than this. */
export const MAX_MEMORY_BYTES: bigint = BigInt(MAX_PAGES) * WASM_PAGE_BYTES;
/** Also the alignment of every region: the size of a huge page on x86-64 and arm64. */
const FIRST_REGION = 0x200000n;

/** Maps a guest's RAM into the pages of a WebAssembly memory. */
export class PortMemory implements Disposable {
  /** The memory, to be given to Workers. */
  readonly memory: WebAssembly.Memory = createGuestMemory(1, MAX_PAGES);
  readonly #base: bigint = memoryAddress(this.memory);
  readonly #extents = new Map<MappedRegion | MappedLog, Extent>();
  #regions: readonly MappedRegion[] = [];
  #log: MappedLog | null = null;
  /** Pages that the front-end takes away are replaced, and with them all that it gave (ADR 19). */
  readonly #guard: GuardedRange | null = GuardedRange.guard(this.memory, this.firstAddress);
  readonly #mayRepeat: boolean;
  /** Regions that were removed and not added again, oldest first. */
  #removed: readonly RegionName[] = [];

  /**
   * @param queuePairs Queue pairs of the port. QEMU 7.2 adds and removes each region once for each
   * pair, so with several of them to say it again changes nothing.
   */
  constructor(queuePairs = 1) {
    this.#mayRepeat = queuePairs > 1;
  }

  /** Where the first region of a memory table will be, if its file is not on huge pages. */
  get firstAddress(): bigint {
    return aligned(this.#base, FIRST_REGION, FIRST_REGION);
  }

  /** The regions mapped now. */
  get regions(): readonly MappedRegion[] {
    return this.#regions;
  }

  /** The log of dirty pages, when there is one. */
  get log(): MappedLog | null {
    return this.#log;
  }

  /** Bytes of guest memory mapped now. */
  get sizeBytes(): bigint {
    return this.#regions.reduce((sum, region) => sum + region.sizeBytes, 0n);
  }

  /**
   * Replaces the regions that are mapped by others.
   *
   * @param requests The new regions; the descriptors stay the caller's and may be closed afterwards.
   * @throws {RequestRefused} When a region breaks a rule, and then what was mapped stays mapped; or
   * when the system refuses, and then nothing is.
   */
  map(requests: readonly RegionRequest[]): void {
    requests.forEach((request, i) => checkRegion(request, `memory region ${i}`));
    checkOverlaps(requests);
    const kept = this.#log === null ? [] : [this.#extents.get(this.#log)!];
    const places: Place[] = [];
    for (const request of requests) places.push(place(request, this.#base, [...kept, ...places]));
    this.#grow(places);
    this.#unmapRegions();
    this.#removed = [];
    try {
      requests.forEach((request, i) => this.#mapRegion(request, places[i]!));
    } catch (error) {
      this.#unmapRegions();
      throw error;
    }
  }

  /**
   * Maps one region more.
   *
   * @param request The region; the descriptor stays the caller's and may be closed afterwards.
   * @throws {RequestRefused} When it breaks a rule, or the system refuses.
   */
  add(request: RegionRequest): void {
    if (this.#isRepetition(request)) return;
    if (this.#regions.length >= MAX_MEMORY_SLOTS) {
      throw new RequestRefused(`all ${MAX_MEMORY_SLOTS} memory slots are taken`);
    }
    checkRegion(request, "the memory region");
    checkOverlaps([...this.#regions, request]);
    const there = place(request, this.#base, [...this.#extents.values()]);
    this.#grow([there]);
    this.#mapRegion(request, there);
    this.#removed = this.#removed.filter((one) => !isSame(one, request));
  }

  /**
   * Unmaps one region.
   *
   * @throws {RequestRefused} When there is none with these addresses and this size.
   */
  remove(name: RegionName): void {
    const region = this.#regions.find((one) => isSame(one, name));
    if (region === undefined) {
      if (this.#mayRepeat && this.#removed.some((one) => isSame(one, name))) return;
      throw new RequestRefused("there is no such memory region");
    }
    this.#clear(region);
    this.#regions = this.#regions.filter((one) => one !== region);
    this.#removed = [...this.#removed, region].slice(-MAX_MEMORY_SLOTS);
  }

  /**
   * Maps the log of dirty pages in the place of the one before.
   *
   * @param part Where it is; the descriptor stays the caller's and may be closed afterwards.
   * @throws {RequestRefused} When it breaks a rule or is too short for the regions of now.
   */
  setLog(part: FilePart): void {
    checkFile(part, "the log");
    const end = this.#regions.reduce((most, { guestAddress, sizeBytes }) => {
      return guestAddress + sizeBytes > most ? guestAddress + sizeBytes : most;
    }, 0n);
    if (part.sizeBytes * 8n * BigInt(LOG_PAGE_BYTES) < end) {
      throw new RequestRefused(`a log of ${part.sizeBytes} bytes does not reach the memory's end`);
    }
    const there = place(part, this.#base, [...this.#extents.values()]);
    this.#grow([there]);
    this.#mapExtent(there);
    if (this.#log !== null) this.#clear(this.#log);
    this.#log = { localAddress: there.localAddress, sizeBytes: part.sizeBytes };
    this.#extents.set(this.#log, there);
  }

  /** Whether the front-end has taken pages away since this was asked, or everything was unmapped. */
  wasTaken(): boolean {
    return this.#guard?.wasReplaced() ?? false;
  }

  /** Ends the guard of the memory; nobody uses it any more. */
  [Symbol.dispose](): void {
    this.#guard?.[Symbol.dispose]();
  }

  /** Replaces everything mapped by anonymous zero pages. */
  unmap(): void {
    this.#unmapRegions();
    this.#removed = [];
    if (this.#log !== null) this.#clear(this.#log);
    this.#log = null;
    // What this front-end took away is not the next one's fault.
    this.wasTaken();
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

  /** Shows a range of guest memory as 16-bit words; `address` is even and was translated. */
  words(address: bigint, bytes: number): Uint16Array {
    return new Uint16Array(this.memory.buffer, Number(address), bytes / 2);
  }

  // Whether this part of this file is there already, under the same addresses.
  #isRepetition(request: RegionRequest): boolean {
    const known = this.#mayRepeat && this.#regions.find((one) => isSame(one, request));
    // Another kind of file must not even be asked which one it is.
    if (!known || !isMemoryFile(request.fd)) return false;
    return this.#extents.get(known)!.source === sourceOf(request);
  }

  #mapRegion(request: RegionRequest, there: Place): void {
    this.#mapExtent(there);
    const { guestAddress, frontendAddress, sizeBytes } = request;
    const { localAddress } = there;
    const region: MappedRegion = { guestAddress, frontendAddress, sizeBytes, localAddress };
    this.#extents.set(region, there);
    this.#regions = [...this.#regions, region];
  }

  #mapExtent({ start, bytes, fd, offset }: Place): void {
    try {
      // SAFETY: the range lies inside this memory (place and grow), is page aligned, and nothing is
      // mapped there: no Worker knows an address in it.
      mapShared(this.#base + start, bytes, fd, offset);
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      // What the checks do not foresee, such as too few huge pages. Nothing may be a hole.
      // SAFETY: as above.
      mapAnonymous(this.#base + start, bytes);
      throw new RequestRefused(error.message);
    }
  }

  #unmapRegions(): void {
    for (const region of this.#regions) this.#clear(region);
    this.#regions = [];
  }

  #clear(mapped: MappedRegion | MappedLog): void {
    const { start, bytes } = this.#extents.get(mapped)!;
    // SAFETY: only pages that this class mapped inside its own memory are replaced.
    mapAnonymous(this.#base + start, bytes);
    this.#extents.delete(mapped);
  }

  #grow(places: readonly Place[]): void {
    const end =
      places.reduce((most, { start, bytes }) => start + bytes > most ? start + bytes : most, 0n) +
      BigInt(OVERREAD_BYTES);
    if (end > MAX_MEMORY_BYTES) {
      throw new RequestRefused(
        `guest memory up to ${
          gibibytes(end)
        } GiB does not fit: a port can map a little less than ` +
          `${gibibytes(MAX_MEMORY_BYTES)} GiB; give the guest less memory`,
      );
    }
    const pages = roundUp(end, WASM_PAGE_BYTES) / WASM_PAGE_BYTES;
    const have = BigInt(this.memory.buffer.byteLength) / WASM_PAGE_BYTES;
    if (pages > have) this.#growBy(pages - have);
  }

  #growBy(pages: bigint): void {
    try {
      // A 64-bit memory counts its pages in BigInt, which the type declarations do not know yet.
      this.memory.grow(pages as unknown as number);
      if (this.#guard !== null) this.#guard.end = BigInt(this.memory.buffer.byteLength);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // V8 reserves less than the maximum where the process may not have so many addresses.
      throw new RequestRefused(
        "no addresses are left for the guest's memory; raise the limit with ulimit -v",
      );
    }
  }
}

// The first place with enough room. Its distance from the file offset keeps both aligned to the file's
// block size: huge page files cannot be mapped otherwise.
function place(part: FilePart, base: bigint, taken: readonly Extent[]): Place {
  const block = blockBytes(part.fd);
  const offset = part.offsetBytes / block * block;
  const lead = part.offsetBytes - offset;
  const bytes = roundUp(lead + part.sizeBytes, block);
  const align = block > FIRST_REGION ? block : FIRST_REGION;
  const sorted = [...taken].sort((a, b) => a.start < b.start ? -1 : 1);
  let start = aligned(base, FIRST_REGION, align);
  for (const extent of sorted) {
    if (start + bytes <= extent.start) break;
    const behind = aligned(base, extent.start + extent.bytes, align);
    if (behind > start) start = behind;
  }
  const source = sourceOf(part);
  return { start, bytes, offset, fd: part.fd, localAddress: start + lead, source };
}

// The next address in the memory that is a multiple of `align` in the process.
function aligned(base: bigint, address: bigint, align: bigint): bigint {
  return roundUp(base + address, align) - base;
}

function sourceOf({ fd, offsetBytes }: FilePart): string {
  return `${fileIdentity(fd)}:${offsetBytes}`;
}

function isSame(a: RegionName, b: RegionName): boolean {
  return a.guestAddress === b.guestAddress && a.frontendAddress === b.frontendAddress &&
    a.sizeBytes === b.sizeBytes;
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
