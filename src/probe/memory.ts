/**
 * The memory that the probe shares with a back-end: two files, one behind the other in guest addresses.
 *
 *     0                 32 KiB            64 KiB           256 KiB            320 KiB
 *     | rings 0 to 3     | tables          | buffers        | more buffers      |
 *     |<------------------ first region ------------------>|<-- second region -->|
 *
 * Front-end addresses differ from guest addresses, and the second region does not begin where its file
 * does, so that a back-end that mixes them up does not find what it looks for.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import {
  createGuestMemory,
  createMemfd,
  fixSize,
  mapShared,
  memoryAddress,
} from "../../ffi/memory.ts";
import {
  MEMORY_REGION,
  MEMORY_TABLE_HEAD,
  SINGLE_REGION,
  U64,
  VRING_ADDRESS,
  VRING_STATE,
} from "../vhost_user/layouts.ts";
import { payload } from "../vhost_user/message.ts";
import type { RingPlaces } from "../virtio/layouts.ts";

/** Guest address of the memory's first byte. */
export const GUEST_ADDRESS = 0x4000_0000;
/** The same byte as the front-end addresses it. */
const FRONTEND_ADDRESS = 0x7000_0000_0000n;
const PAGE_BYTES = 65536;
const FIRST_PAGES = 4;
const SECOND_PAGES = 1;
/** Where the second region begins, as an offset in the memory. */
export const SECOND_REGION_AT: number = FIRST_PAGES * PAGE_BYTES;
/** Where ring `i` begins: `i` times this. */
export const RING_BYTES = 8192;
/** Where tables of indirect descriptors are. */
export const TABLES_AT = 32768;
/** Where buffers begin. */
export const BUFFERS_AT = 65536;
/** Bytes of a buffer: header and any frame of the usual MTU. */
export const BUFFER_BYTES = 2048;

/** A region, and how a message describes it. */
interface Region {
  readonly at: number;
  readonly sizeBytes: number;
  readonly offsetBytes: number;
  readonly fd: Fd;
}

/** The memory. */
export class ProbeMemory implements Disposable {
  /** Its bytes. */
  readonly bytes: Uint8Array;
  readonly #regions: readonly [Region, Region];

  /** @throws {OsError} When the system has no memory. */
  constructor() {
    const memory = createGuestMemory(FIRST_PAGES + SECOND_PAGES, FIRST_PAGES + SECOND_PAGES);
    using stack = new DisposableStack();
    this.#regions = [
      stack.use(region(memory, 0, FIRST_PAGES, 0)),
      stack.use(region(memory, SECOND_REGION_AT, SECOND_PAGES, PAGE_BYTES)),
    ];
    stack.move();
    this.bytes = new Uint8Array(memory.buffer);
  }

  /** Its files in the order of the regions; they stay the memory's. */
  get files(): readonly [Fd, Fd] {
    const [first, second] = this.#regions;
    return [first.fd, second.fd];
  }

  /** The payload of SET_MEM_TABLE for the first region, or both. */
  table(count: 1 | 2): Uint8Array {
    const data = new Uint8Array(MEMORY_TABLE_HEAD.size + count * MEMORY_REGION.size);
    const view = new DataView(data.buffer);
    MEMORY_TABLE_HEAD.write(view, 0, { nregions: count, padding: 0 });
    this.#regions.slice(0, count).forEach((region, i) =>
      MEMORY_REGION.write(view, MEMORY_TABLE_HEAD.size + i * MEMORY_REGION.size, described(region))
    );
    return data;
  }

  /** The payload of ADD_MEM_REG and REM_MEM_REG for a region. */
  single(index: 0 | 1): Uint8Array {
    return payload(SINGLE_REGION, { padding: 0n, ...described(this.#regions[index]) });
  }

  /** Closes the files; the mapping goes with the memory. */
  [Symbol.dispose](): void {
    for (const { fd } of this.#regions) fd.close();
  }
}

/** The payload of SET_VRING_ADDR. */
export function ringAddresses(index: number, { desc, avail, used }: RingPlaces): Uint8Array {
  return payload(VRING_ADDRESS, {
    index,
    flags: 0,
    desc_user_addr: FRONTEND_ADDRESS + BigInt(desc),
    used_user_addr: FRONTEND_ADDRESS + BigInt(used),
    avail_user_addr: FRONTEND_ADDRESS + BigInt(avail),
    log_guest_addr: 0n,
  });
}

/** The payload of messages with a ring's index and a number. */
export function ringState(index: number, num: number): Uint8Array {
  return payload(VRING_STATE, { index, num });
}

/** The payload of messages with one number. */
export function u64(value: number | bigint): Uint8Array {
  return payload(U64, { value: BigInt(value) });
}

function region(
  memory: WebAssembly.Memory,
  at: number,
  pages: number,
  offsetBytes: number,
): Region & Disposable {
  const sizeBytes = pages * PAGE_BYTES;
  const fd = createMemfd("labswitch-probe", offsetBytes + sizeBytes);
  // A back-end that cut it off would end this process with it (SIGBUS).
  fixSize(fd);
  // SAFETY: the range lies within the memory, which is the caller's alone.
  mapShared(memoryAddress(memory) + BigInt(at), BigInt(sizeBytes), fd, BigInt(offsetBytes));
  return { at, sizeBytes, offsetBytes, fd, [Symbol.dispose]: () => fd.close() };
}

function described({ at, sizeBytes, offsetBytes }: Region) {
  return {
    guest_phys_addr: BigInt(GUEST_ADDRESS + at),
    memory_size: BigInt(sizeBytes),
    userspace_addr: FRONTEND_ADDRESS + BigInt(at),
    mmap_offset: BigInt(offsetBytes),
  };
}
