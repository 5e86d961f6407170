/**
 * Checks the numbers of a flow's frames: which are lost, late, or here for the second time.
 *
 * A flow remembers the number that it expects and, for the last numbers before that, whether they
 * are missing. Numbers are 32 bits wide and wrap.
 */
import {
  DIRECTION_CORRUPTED,
  DIRECTION_DUPLICATED,
  DIRECTION_RECEIVED,
  DIRECTION_REORDERED,
  DIRECTION_SETTLED,
  FLOW_EXPECTED,
  FLOW_HISTORY,
  FLOW_MISSING,
  FLOW_NEXT,
  HISTORY,
} from "../memory_layout.ts";

/**
 * Counts a frame that has arrived whole; one whose number was not sent yet is corrupted.
 *
 * Runs on the generator's thread; does not allocate.
 *
 * @param d Address of the direction's record.
 * @param f Address of the flow's record.
 * @param number The frame's number.
 * @returns Whether it is here for the first time.
 */
export function arrive(d: u32, f: u32, number: u32): bool {
  const expected = load<u32>(f + FLOW_EXPECTED);
  const ahead = <i32> (number - expected);
  if (ahead < 0) return arriveLate(d, f, number, -ahead);
  // Only a back-end that makes up frames sends one that has not left yet, and it could do so for ever.
  if (<u32> ahead >= load<u32>(f + FLOW_NEXT) - expected) {
    add(d + DIRECTION_CORRUPTED, 1);
    return false;
  }
  if (ahead !== 0 || load<u32>(f + FLOW_MISSING) !== 0) skip(f, number, ahead);
  store<u32>(f + FLOW_EXPECTED, number + 1);
  add(d + DIRECTION_SETTLED, <u64> ahead + 1);
  add(d + DIRECTION_RECEIVED, 1);
  return true;
}

// A number before the expected one: overtaken if it is missing. Whether a number before the history
// has been here nobody knows: nobody waits for it any more, so it is one too many.
function arriveLate(d: u32, f: u32, number: u32, behind: u32): bool {
  if (behind > <u32> HISTORY || !isMissing(f, number)) {
    add(d + DIRECTION_DUPLICATED, 1);
    return false;
  }
  setMissing(f, number, false);
  add(d + DIRECTION_REORDERED, 1);
  add(d + DIRECTION_RECEIVED, 1);
  return true;
}

/**
 * Gives up what a flow has on its way: what still arrives is late.
 *
 * Runs on the generator's thread; does not allocate.
 *
 * @param d Address of the direction's record.
 * @param f Address of the flow's record.
 */
export function giveUp(d: u32, f: u32): void {
  const next = load<u32>(f + FLOW_NEXT);
  const amount = next - load<u32>(f + FLOW_EXPECTED);
  markMissing(f, next, amount);
  store<u32>(f + FLOW_EXPECTED, next);
  add(d + DIRECTION_SETTLED, amount);
}

// The numbers from the expected one up to `number` move into the history; only that one has arrived.
function skip(f: u32, number: u32, ahead: u32): void {
  markMissing(f, number, ahead);
  setMissing(f, number, false);
}

function markMissing(f: u32, end: u32, amount: u32): void {
  for (let n = end - min<u32>(amount, HISTORY); n !== end; n++) setMissing(f, n, true);
}

function isMissing(f: u32, number: u32): bool {
  return (load<u32>(wordOf(f, number)) >> (number & 31) & 1) !== 0;
}

function setMissing(f: u32, number: u32, value: bool): void {
  const before = isMissing(f, number);
  if (before === value) return;
  const at = wordOf(f, number);
  store<u32>(at, load<u32>(at) ^ (1 << (number & 31)));
  store<u32>(f + FLOW_MISSING, load<u32>(f + FLOW_MISSING) + (value ? 1 : -1));
}

function wordOf(f: u32, number: u32): u32 {
  return f + FLOW_HISTORY + (((number & (HISTORY - 1)) >> 5) << 2);
}

function add(at: u32, amount: u64): void {
  store<u64>(at, load<u64>(at) + amount);
}
