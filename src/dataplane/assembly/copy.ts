/**
 * Moves frames from the sending guest's memory into the receiving guest's: the one copy.
 *
 * This module sees the state memory and two guests' memories, and no ring: what it reads and writes
 * was translated and checked by the two ports' own instances.
 */
import {
  FRAME_LENGTH,
  FRAME_SEGMENTS,
  FRAME_SNAPSHOT,
  PLACED_BYTES,
  PLACED_FRAME,
  PLACED_HEADER,
  PLACED_HEADER_BYTES,
  PLACED_WRITE_COUNT,
  PLACED_WRITES,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  SNAPSHOT_BYTES,
  W_PLACED,
  W_PLACED_COUNT,
  WORKER_BYTES,
  WORKERS,
} from "../state_layout.ts";
import * as transfer from "./transfer.ts";

/** Up to here 16-byte moves are faster than a call of memory.copy; found by measurement. */
const MOVES_LIMIT: u64 = 256;

/** The segment being written and what is left of it. */
let write: u32 = 0;
let writeAt: u64 = 0;
let writeLeft: u64 = 0;

/**
 * Copies every frame that was placed for the current destination.
 *
 * Runs on a poll Worker between `reserve` and `publish`; does not allocate.
 *
 * @param worker The Worker's number.
 */
export function copyPlaced(worker: u32): void {
  const w = WORKERS + worker * WORKER_BYTES;
  const end = w + W_PLACED + load<u32>(w + W_PLACED_COUNT) * PLACED_BYTES;
  for (let placed = w + W_PLACED; placed < end; placed += PLACED_BYTES) {
    if (load<u32>(placed + PLACED_WRITE_COUNT) === 1) copyWhole(placed);
    else copyPieces(placed);
  }
}

// The receiver's buffer is one piece: header, snapshot and rest go behind each other.
function copyWhole(placed: u32): void {
  const f = load<u32>(placed + PLACED_FRAME);
  const headerBytes = load<u32>(placed + PLACED_HEADER_BYTES);
  let to = load<u64>(load<u32>(placed + PLACED_WRITES) + SEGMENT_LOCAL);
  transfer.store64(to, load<u64>(placed + PLACED_HEADER));
  if (headerBytes === 12) transfer.store32(to + 8, load<u32>(placed + PLACED_HEADER + 8));
  else transfer.store16(to + 8, load<u16>(placed + PLACED_HEADER + 8));
  to += headerBytes;
  const length = <u64> load<u32>(f + FRAME_LENGTH);
  const snapshot = f + FRAME_SNAPSHOT;
  if (length < <u64> SNAPSHOT_BYTES) {
    moveSnapshot(to, snapshot, <u32> length);
    return;
  }
  transfer.store128(to, v128.load(snapshot));
  transfer.store128(to + 16, v128.load(snapshot, 16));
  transfer.store128(to + 32, v128.load(snapshot, 32));
  transfer.store128(to + 48, v128.load(snapshot, 48));
  to += SNAPSHOT_BYTES;
  let left = length - SNAPSHOT_BYTES;
  let segment = load<u32>(f + FRAME_SEGMENTS);
  while (left > 0) {
    const part = <u64> load<u32>(segment + SEGMENT_LENGTH);
    move(to, load<u64>(segment + SEGMENT_LOCAL), part);
    to += part;
    left -= part;
    segment += SEGMENT_BYTES;
  }
}

// Fewer than 64 bytes, at least 14: whole 16-byte pieces, then one that ends at the end.
function moveSnapshot(to: u64, snapshot: u32, length: u32): void {
  if (length < 16) {
    copyFromState(to, snapshot, length);
    return;
  }
  let done: u32 = 0;
  for (; done + 16 <= length; done += 16) transfer.store128(to + done, v128.load(snapshot + done));
  transfer.store128(to + length - 16, v128.load(snapshot + length - 16));
}

function move(to: u64, from: u64, length: u64): void {
  if (length < 16 || length > MOVES_LIMIT) {
    transfer.copy(to, from, length);
    return;
  }
  const last = length - 16;
  for (let done: u64 = 0; done < last; done += 16) {
    transfer.store128(to + done, transfer.load128(from + done));
  }
  transfer.store128(to + last, transfer.load128(from + last));
}

// The receiver's buffers are several pieces, which the sender's need not match.
function copyPieces(placed: u32): void {
  const f = load<u32>(placed + PLACED_FRAME);
  write = load<u32>(placed + PLACED_WRITES);
  writeAt = load<u64>(write + SEGMENT_LOCAL);
  writeLeft = load<u32>(write + SEGMENT_LENGTH);
  const length = load<u32>(f + FRAME_LENGTH);
  const first = min<u32>(length, SNAPSHOT_BYTES);
  writeState(placed + PLACED_HEADER, load<u32>(placed + PLACED_HEADER_BYTES));
  writeState(f + FRAME_SNAPSHOT, first);
  let left = length - first;
  let segment = load<u32>(f + FRAME_SEGMENTS);
  while (left > 0) {
    const part = load<u32>(segment + SEGMENT_LENGTH);
    writeSource(load<u64>(segment + SEGMENT_LOCAL), part);
    left -= part;
    segment += SEGMENT_BYTES;
  }
}

function copyFromState(to: u64, from: u32, length: u32): void {
  let done: u32 = 0;
  for (; done + 8 <= length; done += 8) transfer.store64(to + done, load<u64>(from + done));
  for (; done < length; done++) transfer.store8(to + done, load<u8>(from + done));
}

function writeState(from: u32, length: u32): void {
  while (length > 0) {
    const part = <u32> nextPart(length);
    copyFromState(writeAt, from, part);
    writeAt += part;
    writeLeft -= part;
    from += part;
    length -= part;
  }
}

function writeSource(from: u64, length: u64): void {
  while (length > 0) {
    const part = nextPart(length);
    transfer.copy(writeAt, from, part);
    writeAt += part;
    writeLeft -= part;
    from += part;
    length -= part;
  }
}

// Steps to the next piece when the current one is full, and says how much fits.
function nextPart(length: u64): u64 {
  if (writeLeft === 0) {
    write += SEGMENT_BYTES;
    writeAt = load<u64>(write + SEGMENT_LOCAL);
    writeLeft = load<u32>(write + SEGMENT_LENGTH);
  }
  return min<u64>(writeLeft, length);
}
