/**
 * Payloads of vhost-user messages, right and wrong ones, for whoever plays a front-end.
 *
 * @module
 */
import type { Fields, Layout, Value } from "../../src/layout/struct.ts";
import {
  LOG,
  MEMORY_REGION,
  MEMORY_TABLE_HEAD,
  SINGLE_REGION,
  U64,
  VRING_ADDRESS,
  VRING_STATE,
} from "../../src/vhost_user/layouts.ts";

/** No payload. */
export const NOTHING: Uint8Array = new Uint8Array(0);

/** A region as a message names it; the first field that is left out is 0. */
export interface RegionDraft {
  /** Guest-physical address. */
  readonly guest?: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Front-end address. */
  readonly user?: bigint;
  /** Where it starts in its file. */
  readonly offset?: bigint;
}

/** Where a ring lies, in front-end addresses. */
export interface AddressDraft {
  /** Descriptor table. */
  readonly desc: bigint;
  /** Available ring. */
  readonly avail: bigint;
  /** Used ring. */
  readonly used: bigint;
  /** VHOST_VRING_F_*, none unless given. */
  readonly flags?: number;
}

/** A 64-bit number. */
export function u64(value: bigint | number): Uint8Array {
  return encoded(U64, { value: BigInt(value) });
}

/** A ring's index and a number. */
export function ringState(index: number, num: number): Uint8Array {
  return encoded(VRING_STATE, { index, num });
}

/** Where a ring lies. */
export function ringAddress(index: number, draft: AddressDraft): Uint8Array {
  return encoded(VRING_ADDRESS, {
    index,
    flags: draft.flags ?? 0,
    desc_user_addr: draft.desc,
    avail_user_addr: draft.avail,
    used_user_addr: draft.used,
    log_guest_addr: 0n,
  });
}

/**
 * A memory table.
 *
 * @param regions What it holds.
 * @param nregions How many it says that it holds.
 */
export function memoryTable(
  regions: readonly RegionDraft[],
  nregions: number = regions.length,
): Uint8Array {
  const head = encoded(MEMORY_TABLE_HEAD, { nregions, padding: 0 });
  const tail = regions.map((region) => encoded(MEMORY_REGION, fieldsOf(region)));
  return Uint8Array.from([head, ...tail].flatMap((part) => [...part]));
}

/** One region in a message of its own. */
export function memorySlot(region: RegionDraft): Uint8Array {
  return encoded(SINGLE_REGION, { padding: 0n, ...fieldsOf(region) });
}

/** A log of dirty pages. */
export function dirtyLog(sizeBytes: bigint, offsetBytes = 0n): Uint8Array {
  return encoded(LOG, { mmap_size: sizeBytes, mmap_offset: offsetBytes });
}

function fieldsOf({ guest = 0n, size, user = 0n, offset = 0n }: RegionDraft) {
  return {
    guest_phys_addr: guest,
    memory_size: size,
    userspace_addr: user,
    mmap_offset: offset,
  };
}

function encoded<F extends Fields>(layout: Layout<F>, value: Value<F>): Uint8Array {
  const data = new Uint8Array(layout.size);
  layout.write(new DataView(data.buffer), 0, value);
  return data;
}
