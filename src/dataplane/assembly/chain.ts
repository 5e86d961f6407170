/**
 * Walks descriptor chains: the one walker for both directions.
 *
 * A guest may change a descriptor at any time, so each is read once, checked and used from there.
 * The walk is bounded by the table's length and by a number of bytes, whatever the guest links.
 *
 * Source: VIRTIO 1.2, 2.7.5 (descriptor table) and 2.7.5.3 (indirect descriptors).
 */
import {
  PORT_F_INDIRECT,
  PORT_FLAGS,
  RING_DESC,
  RING_SIZE,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  W_TABLE,
} from "../state_layout.ts";
import * as guest from "./guest.ts";
import { copyToState } from "./records.ts";
import { contiguous, translate } from "./translate.ts";

/** VIRTQ_DESC_F_NEXT (VIRTIO 1.2, 2.7.5). */
export const DESC_F_NEXT: u32 = 1;
/** VIRTQ_DESC_F_WRITE (VIRTIO 1.2, 2.7.5). */
export const DESC_F_WRITE: u32 = 2;
/** VIRTQ_DESC_F_INDIRECT (VIRTIO 1.2, 2.7.5). */
export const DESC_F_INDIRECT: u32 = 4;
/** Bytes of a descriptor, as a shift. */
export const DESC_SHIFT: u32 = 4;

/** Only descriptors that the device reads. */
export const READABLE: u32 = 0;
/** Only descriptors that the device writes. */
export const WRITABLE: u32 = DESC_F_WRITE;

/** How taking a chain ended: there is none. */
export const NONE: u32 = 0;
/** The chain keeps the rules. */
export const SOUND: u32 = 1;
/** The chain breaks a rule, the ring does not: it goes back with length 0 (answer R1). */
export const UNSOUND: u32 = 2;
/** The ring itself is incoherent (answer R2). */
export const BROKEN: u32 = 3;

/** What names the chain taken last in a used element. */
export let chainId: u32 = 0;
/** Ring entries of the chain taken last. */
export let chainSlots: u32 = 0;
/** Bytes of the chain walked last. */
export let chainBytes: u32 = 0;
/** Where the segments of the chain walked last end in state memory. */
export let segmentsEnd: u32 = 0;

/** Says which chain is being taken. */
export function setChain(id: u32, slots: u32): void {
  chainId = id;
  chainSlots = slots;
}

/** Begins a list of segments. */
export function beginSegments(segments: u32): void {
  chainBytes = 0;
  segmentsEnd = segments;
}

/**
 * Appends a buffer, translated, to the list of segments.
 *
 * @param port Address of the port's record.
 * @param address Guest address.
 * @param length Bytes; zero is refused, a chain of nothing would never end.
 * @param isCut Whether a buffer beyond the limit is cut there (receive) or refused (transmit).
 * @param limit Bytes of the whole chain.
 * @param roof Where the list must end.
 * @returns Whether the buffer keeps the rules.
 */
export function appendBuffer(
  port: u32,
  address: u64,
  length: u64,
  isCut: bool,
  limit: u32,
  roof: u32,
): bool {
  let left = length;
  if (left > <u64> (limit - chainBytes)) {
    if (!isCut) return false;
    left = <u64> (limit - chainBytes);
  }
  // The end may not wrap: the rest would go on at address 0.
  if (left === 0 || address + (left - 1) < address) return false;
  chainBytes += <u32> left;
  let from = address;
  let end = segmentsEnd;
  while (left > 0) {
    const local = translate(port, from, left);
    if (local === 0 || end >= roof) return false;
    store<u64>(end + SEGMENT_LOCAL, local);
    store<u32>(end + SEGMENT_LENGTH, <u32> contiguous);
    end += SEGMENT_BYTES;
    from += contiguous;
    left -= contiguous;
  }
  segmentsEnd = end;
  return true;
}

/**
 * Walks a chain and appends its buffers, translated, to a list of segments.
 *
 * Runs on a poll Worker; does not allocate. After `true`, `chainBytes` and `segmentsEnd` are set.
 *
 * @param worker Address of the Worker's record (scratch for an indirect table that straddles).
 * @param port Address of the port's record.
 * @param ring Address of the ring's record.
 * @param head Index of the first descriptor, less than the ring's size.
 * @param direction READABLE or WRITABLE: a descriptor of the other kind is refused.
 * @param limit Bytes. A readable chain that is longer is refused; a writable one is cut there.
 * @param segments Where to append.
 * @param roof Where that list must end: a chain that needs more is refused.
 * @returns Whether the chain keeps the rules.
 */
export function walk(
  worker: u32,
  port: u32,
  ring: u32,
  head: u32,
  direction: u32,
  limit: u32,
  segments: u32,
  roof: u32,
): bool {
  let table = load<u64>(ring + RING_DESC);
  let tableSize = load<u32>(ring + RING_SIZE);
  let isCopied = false;
  let isIndirect = false;
  let index = head;
  let hops: u32 = 0;
  beginSegments(segments);

  while (true) {
    const at = table + (<u64> index << DESC_SHIFT);
    const address = isCopied ? load<u64>(<u32> at) : guest.load64(at);
    const rest = isCopied ? load<u64>(<u32> at + 8) : guest.load64(at + 8);
    const length = <u64> <u32> rest;
    const flags = <u32> (rest >> 32) & 0xffff;

    if (flags & DESC_F_INDIRECT) {
      // 2.7.5.3.1: no table inside a table, none together with NEXT, none that was not negotiated.
      if (isIndirect || (flags & DESC_F_NEXT) !== 0) return false;
      if ((load<u32>(port + PORT_FLAGS) & PORT_F_INDIRECT) === 0) return false;
      // 2.7.5.3.1: no more entries than the queue has; this also bounds the walk and the copy.
      const entries = <u32> length >> DESC_SHIFT;
      if ((length & 15) !== 0 || entries === 0 || entries > tableSize) return false;
      table = translate(port, address, length);
      if (table === 0) return false;
      if (contiguous < length) {
        if (address + (length - 1) < address) return false;
        if (!copyTable(worker + W_TABLE, port, address, <u32> length)) return false;
        table = worker + W_TABLE;
        isCopied = true;
      }
      // 2.7.5.3.2: the device ignores the write flag of the descriptor that refers to the table.
      isIndirect = true;
      tableSize = entries;
      index = 0;
      // The table's entries are counted anew: it may follow direct descriptors (2.7.5.3.2).
      hops = 0;
      continue;
    }

    if ((flags & DESC_F_WRITE) !== direction) return false;
    if (!appendBuffer(port, address, length, direction === WRITABLE, limit, roof)) return false;
    // What a receive chain has beyond the frame is not looked at.
    if ((flags & DESC_F_NEXT) === 0) return true;
    if (direction === WRITABLE && chainBytes === limit) return true;
    index = <u32> (rest >> 48);
    if (index >= tableSize) return false;
    hops++;
    if (hops >= tableSize) return false;
  }
}

/** Makes a private copy of an indirect table that straddles regions. */
export function copyTable(to: u32, port: u32, address: u64, length: u32): bool {
  let done: u32 = 0;
  while (done < length) {
    const local = translate(port, address + done, length - done);
    if (local === 0) return false;
    copyToState(to + done, local, <u32> contiguous);
    done += <u32> contiguous;
  }
  return true;
}
