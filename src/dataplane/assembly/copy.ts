/**
 * Moves frames from the sending guest's memory into the receiving guest's: the one copy.
 *
 * This module sees the state memory and two guests' memories, and no ring: what it reads and writes
 * was translated and checked by the two ports' own instances.
 */
import {
  FRAME_HEADERS,
  FRAME_LENGTH,
  FRAME_SEGMENTS,
  FRAME_SNAPSHOT,
  MAX_SNAPSHOT_BYTES,
  PLACED_BYTES,
  PLACED_F_CHECKSUM,
  PLACED_F_PIECE,
  PLACED_FLAGS,
  PLACED_FRAME,
  PLACED_HEADER,
  PLACED_HEADER_BYTES,
  PLACED_PIECE_BYTES,
  PLACED_PIECE_HEADERS,
  PLACED_PIECE_START,
  PLACED_TO,
  PLACED_WRITE_COUNT,
  PLACED_WRITES,
  SEGMENT_BYTES,
  SEGMENT_LENGTH,
  SEGMENT_LOCAL,
  SNAPSHOT_BYTES,
  W_PIECE,
  W_PLACED,
  W_PLACED_COUNT,
  WORKER_BYTES,
  WORKERS,
} from "../state_layout.ts";
import { add, finish, fold, sumState, swap } from "./checksum.ts";
import { csumPlaceOf, csumStartOf } from "./offload.ts";
import { writePieceHeaders } from "./piece.ts";
import * as transfer from "./transfer.ts";

/** Up to here 16-byte moves are faster than a call of memory.copy; found by measurement. */
const MOVES_LIMIT: u64 = 256;

/** The segment being written and what is left of it. */
let write: u32 = 0;
let writeAt: u64 = 0;
let writeLeft: u64 = 0;

/** The segment being read, where it starts in the frame, and the frame that it belongs to. */
let read: u32 = 0;
let readStart: u32 = 0;
let readFrame: u32 = 0;

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
    const f = load<u32>(placed + PLACED_FRAME);
    if (load<u32>(f + FRAME_HEADERS) === 0) {
      if (load<u32>(placed + PLACED_WRITE_COUNT) === 0) copyWhole(placed);
      else copyPieces(placed, f + FRAME_SNAPSHOT, SNAPSHOT_BYTES);
    } else if ((load<u32>(placed + PLACED_FLAGS) & PLACED_F_PIECE) === 0) {
      copyPieces(placed, load<u32>(f + FRAME_HEADERS), MAX_SNAPSHOT_BYTES);
      if (load<u32>(placed + PLACED_FLAGS) & PLACED_F_CHECKSUM) finishChecksum(placed, f);
    } else {
      copyPiece(placed, f, w + W_PIECE);
    }
  }
  readFrame = 0;
}

// The receiver's buffer is one piece: header, snapshot and rest go behind each other.
function copyWhole(placed: u32): void {
  const f = load<u32>(placed + PLACED_FRAME);
  const headerBytes = load<u32>(placed + PLACED_HEADER_BYTES);
  let to = load<u64>(placed + PLACED_TO);
  // No offload, and one buffer (VIRTIO 1.2, 5.1.6.4).
  transfer.store64(to, 0);
  if (headerBytes === 12) transfer.store32(to + 8, 1 << 16);
  else transfer.store16(to + 8, 0);
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
function copyPieces(placed: u32, snapshot: u32, snapshotBytes: u32): void {
  const f = load<u32>(placed + PLACED_FRAME);
  beginWrite(placed);
  const length = load<u32>(f + FRAME_LENGTH);
  const first = min<u32>(length, snapshotBytes);
  writeState(placed + PLACED_HEADER, load<u32>(placed + PLACED_HEADER_BYTES));
  writeState(snapshot, first);
  let left = length - first;
  let segment = load<u32>(f + FRAME_SEGMENTS);
  while (left > 0) {
    const part = load<u32>(segment + SEGMENT_LENGTH);
    writeSource(load<u64>(segment + SEGMENT_LOCAL), part);
    left -= part;
    segment += SEGMENT_BYTES;
  }
}

// One piece of a super-packet: its own headers, then its part of the payload.
function copyPiece(placed: u32, f: u32, headers: u32): void {
  const headerBytes = load<u32>(placed + PLACED_PIECE_HEADERS);
  const start = load<u32>(placed + PLACED_PIECE_START);
  const bytes = load<u32>(placed + PLACED_PIECE_BYTES);
  let payload: u32 = 0;
  if (load<u32>(placed + PLACED_FLAGS) & PLACED_F_CHECKSUM) payload = sumFrame(f, start, bytes);
  writePieceHeaders(placed, f, headers, payload);
  beginWrite(placed);
  writeState(placed + PLACED_HEADER, load<u32>(placed + PLACED_HEADER_BYTES));
  writeState(headers, headerBytes);
  const known = min<u32>(load<u32>(f + FRAME_LENGTH), MAX_SNAPSHOT_BYTES);
  const first = start < known ? min<u32>(known - start, bytes) : 0;
  if (first > 0) writeState(load<u32>(f + FRAME_HEADERS) + start, first);
  let from = start + first;
  let left = bytes - first;
  while (left > 0) {
    seek(f, from);
    const part = min<u32>(readStart + load<u32>(read + SEGMENT_LENGTH) - from, left);
    writeSource(load<u64>(read + SEGMENT_LOCAL) + (from - readStart), part);
    from += part;
    left -= part;
  }
}

// Steps to the segment that holds byte `at` of the frame, which lies behind the snapshot. The pieces
// of a frame follow each other, so this seldom begins anew.
function seek(f: u32, at: u32): void {
  if (readFrame !== f || at < readStart) {
    readFrame = f;
    read = load<u32>(f + FRAME_SEGMENTS);
    readStart = min<u32>(load<u32>(f + FRAME_LENGTH), MAX_SNAPSHOT_BYTES);
  }
  while (at - readStart >= load<u32>(read + SEGMENT_LENGTH)) {
    readStart += load<u32>(read + SEGMENT_LENGTH);
    read += SEGMENT_BYTES;
  }
}

// The sender left its checksum open and the receiver does not take it so (VIRTIO 1.2, 5.1.6.2): the
// sum of everything from csum_start on, which holds the sum of the pseudo header already.
function finishChecksum(placed: u32, f: u32): void {
  const start = csumStartOf(f);
  const checksum = finish(sumFrame(f, start, load<u32>(f + FRAME_LENGTH) - start));
  writeAtFrameByte(placed, csumPlaceOf(f), checksum & 0xff);
  writeAtFrameByte(placed, csumPlaceOf(f) + 1, checksum >> 8);
}

// Sums part of a frame up as the sender's memory and the snapshot hold it.
function sumFrame(f: u32, start: u32, bytes: u32): u32 {
  const known = min<u32>(load<u32>(f + FRAME_LENGTH), MAX_SNAPSHOT_BYTES);
  const first = start < known ? min<u32>(known - start, bytes) : 0;
  let sum = sumState(load<u32>(f + FRAME_HEADERS) + start, first);
  let done = first;
  while (done < bytes) {
    seek(f, start + done);
    const into = start + done - readStart;
    const part = min<u32>(load<u32>(read + SEGMENT_LENGTH) - into, bytes - done);
    const partial = sumSource(load<u64>(read + SEGMENT_LOCAL) + into, part);
    sum = add(sum, (done & 1) === 0 ? partial : swap(partial));
    done += part;
  }
  return sum;
}

function sumSource(from: u64, length: u32): u32 {
  let lanes = v128.splat<u32>(0);
  let done: u32 = 0;
  // Each lane gains at most 131,070 a step, and a frame has at most 4,097 steps.
  for (; done + 16 <= length; done += 16) {
    lanes = i32x4.add(lanes, i32x4.extadd_pairwise_i16x8_u(transfer.load128(from + done)));
  }
  let sum: u64 = <u64> <u32> v128.extract_lane<u32>(lanes, 0) +
    <u64> <u32> v128.extract_lane<u32>(lanes, 1) + <u64> <u32> v128.extract_lane<u32>(lanes, 2) +
    <u64> <u32> v128.extract_lane<u32>(lanes, 3);
  for (; done < length; done++) sum += transfer.load8(from + done) << ((done & 1) * 8);
  return fold(sum);
}

function beginWrite(placed: u32): void {
  write = load<u32>(placed + PLACED_WRITES);
  writeAt = load<u64>(write + SEGMENT_LOCAL);
  writeLeft = load<u32>(write + SEGMENT_LENGTH);
}

// Overwrites one byte of a frame that was delivered.
function writeAtFrameByte(placed: u32, at: u32, value: u32): void {
  let segment = load<u32>(placed + PLACED_WRITES);
  let left = load<u32>(placed + PLACED_HEADER_BYTES) + at;
  while (left >= load<u32>(segment + SEGMENT_LENGTH)) {
    left -= load<u32>(segment + SEGMENT_LENGTH);
    segment += SEGMENT_BYTES;
  }
  transfer.store8(load<u64>(segment + SEGMENT_LOCAL) + left, value);
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
