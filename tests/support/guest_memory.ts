/**
 * A guest's RAM for tests: a 64-bit shared WebAssembly memory in which regions lie apart from each
 * other, with a canary everywhere else.
 *
 *     0        64 KiB
 *     | canary | region 0 | canary | region 1 | canary |
 *
 * It is what `PortMemory` makes of a front-end's memory table, without files and mappings.
 *
 * @module
 */
import { OVERREAD_BYTES } from "../../src/dataplane/state_layout.ts";

/** A region of guest memory as its front-end announces it. */
export interface GuestRegion {
  /** Guest-physical address of the first byte. */
  readonly guestAddress: bigint;
  /** Bytes. */
  readonly sizeBytes: number;
}

/** A region with its place. */
export interface PlacedRegion extends GuestRegion {
  /** Where its first byte is in the memory. */
  readonly localAddress: number;
}

const WASM_PAGE_BYTES = 65536;
/** Address 0 means "not mapped" to the data plane, so nothing lies in the first page. */
const FIRST_REGION = WASM_PAGE_BYTES;
const REGION_ALIGN_BYTES = 4096;
/** What lies where no region is. */
export const CANARY = 0xc7;

/** A guest's RAM. */
export class GuestMemory {
  /** The memory that instances import. */
  readonly memory: WebAssembly.Memory;
  /** All of it, regions and canaries. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The regions in the order given. */
  readonly regions: readonly PlacedRegion[];

  /** @param regions The regions to place; their sizes need not be multiples of anything. */
  constructor(regions: readonly GuestRegion[]) {
    let end = FIRST_REGION;
    this.regions = regions.map((region) => {
      const localAddress = end;
      end = roundUp(end + region.sizeBytes + OVERREAD_BYTES, REGION_ALIGN_BYTES);
      return { ...region, localAddress };
    });
    this.memory = createMemory(Math.ceil((end + OVERREAD_BYTES) / WASM_PAGE_BYTES));
    // A shared buffer, which the type of most functions does not admit.
    this.bytes = new Uint8Array(this.memory.buffer as ArrayBuffer);
    this.#forEachGap((from, to) => this.bytes.fill(CANARY, from, to));
  }

  /**
   * Translates a guest address.
   *
   * @throws {RangeError} When no region holds it.
   */
  localOf(address: bigint): number {
    for (const { guestAddress, sizeBytes, localAddress } of this.regions) {
      const offset = address - guestAddress;
      if (offset >= 0n && offset < BigInt(sizeBytes)) return localAddress + Number(offset);
    }
    throw new RangeError(`Cannot translate guest address ${address}: no region holds it`);
  }

  /** Copies bytes out of the guest; the range may straddle regions. */
  read(address: bigint, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const part = this.#part(address + BigInt(done), length - done);
      bytes.set(part, done);
      done += part.length;
    }
    return bytes;
  }

  /** Copies bytes into the guest; the range may straddle regions. */
  write(address: bigint, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const part = this.#part(address + BigInt(done), bytes.length - done);
      part.set(bytes.subarray(done, done + part.length));
      done += part.length;
    }
  }

  // What of a range lies in the region of its first byte.
  #part(address: bigint, length: number): Uint8Array {
    const local = this.localOf(address);
    const region = this.regions.find((one) =>
      local >= one.localAddress && local < one.localAddress + one.sizeBytes
    )!;
    const end = Math.min(local + length, region.localAddress + region.sizeBytes);
    return this.bytes.subarray(local, end);
  }

  /** Whether nothing outside the regions was written. */
  get isCanaryAlive(): boolean {
    let isAlive = true;
    this.#forEachGap((from, to) => {
      for (let at = from; at < to; at++) isAlive &&= this.bytes[at] === CANARY;
    });
    return isAlive;
  }

  #forEachGap(visit: (from: number, to: number) => void): void {
    let from = 0;
    for (const { localAddress, sizeBytes } of this.regions) {
      visit(from, localAddress);
      from = localAddress + sizeBytes;
    }
    visit(from, this.bytes.length);
  }
}

// As createGuestMemory in ffi/memory.ts, which tests without FFI do not import.
function createMemory(pages: number): WebAssembly.Memory {
  const count = BigInt(pages);
  // The type declarations do not know 64-bit memories, which count pages in BigInt.
  const descriptor = { address: "i64", initial: count, maximum: count, shared: true } as unknown;
  return new WebAssembly.Memory(descriptor as WebAssembly.MemoryDescriptor);
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
