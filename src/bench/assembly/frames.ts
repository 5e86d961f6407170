/**
 * Stamps the frames that are sent and judges those that arrive.
 */
import {
  ADDRESS_PORT_SHIFT,
  ADDRESS_WORD,
  BODY,
  BODY_CHECK_INTERVAL,
  DESTINATION,
  DESTINATION_FLOW,
  DIRECTION_SHIFT,
  DUE,
  ETHERTYPE_WORD,
  FLOW,
  KIND_AT,
  MAGIC,
  MAGIC_SHIFT,
  RUN_SHIFT,
  SEAL,
  SEQUENCE,
  SHORT_BYTES,
  SOURCE,
  SOURCE_FLOW,
} from "../frame_layout.ts";
import {
  DIRECTION_CORRUPTED,
  DIRECTION_FOREIGN,
  DIRECTION_NEXT_FLOW,
  FLOW_NEXT,
  HEADER_BYTES,
  SETUP_FLOWS,
  SETUP_FRAME_BYTES,
  SETUP_RUN,
  TEMPLATE,
} from "../memory_layout.ts";
import { record } from "./histogram.ts";
import { flowAt } from "./records.ts";
import { arrive } from "./sequence.ts";

/** 2^32 divided by the golden ratio: spreads the bits of a number. */
const SPREAD: u32 = 0x9e3779b1;
/** The low half of what a frame's kind says: EtherType and run. */
const MAGIC_MASK: u64 = <u64> 0xffffffff << MAGIC_SHIFT;

/** EtherType, run and magic number of this run's frames. */
export function kindOfRun(): u64 {
  return ETHERTYPE_WORD | <u64> load<u32>(SETUP_RUN) << RUN_SHIFT | <u64> MAGIC << MAGIC_SHIFT;
}

/**
 * Makes a buffer's frame the next one of its direction.
 *
 * Runs on the generator's thread; does not allocate.
 *
 * @param b Address of the buffer; it holds a frame of this run.
 * @param direction Its number.
 * @param d Address of the direction's record.
 * @param due When it should leave, in nanoseconds; 0 in the closed loop.
 */
export function stamp(b: u32, direction: u32, d: u32, due: f64): void {
  const flow = load<u32>(d + DIRECTION_NEXT_FLOW);
  const flows = load<u32>(SETUP_FLOWS);
  const f = flowAt(direction, flow);
  const number = load<u32>(f + FLOW_NEXT);
  const word = flow | direction << DIRECTION_SHIFT;
  store<u32>(f + FLOW_NEXT, number + 1);
  // Every driver writes the header of each frame.
  store<u64>(b, 0);
  store<u32>(b + 8, 0);
  store<u32>(b + SEQUENCE, number);
  store<u32>(b + FLOW, word);
  store<f64>(b + DUE, due);
  store<u32>(b + SEAL, sealOf(number, word, reinterpret<u64>(due)));
  if (flows === 1) return;
  store<u16>(b + DESTINATION_FLOW, bswap<u16>(<u16> flow));
  store<u16>(b + SOURCE_FLOW, bswap<u16>(<u16> flow));
  store<u32>(d + DIRECTION_NEXT_FLOW, flow + 1 === flows ? 0 : flow + 1);
}

/**
 * Judges and counts a frame that has arrived.
 *
 * Runs on the generator's thread; does not allocate.
 *
 * @param b Address of the buffer.
 * @param length Bytes that the back-end says it wrote, header included.
 * @param direction The number of the direction that ends here.
 * @param d Address of the direction's record.
 * @param kind From {@linkcode kindOfRun}.
 * @param now Nanoseconds; 0 in the closed loop, which does not measure latency.
 */
export function judge(
  b: u32,
  length: u32,
  direction: u32,
  d: u32,
  kind: u64,
  now: f64,
): void {
  const difference = load<u64>(b + KIND_AT) ^ kind;
  if (difference !== 0) return judgeKind(d, difference);
  const number = load<u32>(b + SEQUENCE);
  const word = load<u32>(b + FLOW);
  const due = load<u64>(b + DUE);
  const flow = word ^ direction << DIRECTION_SHIFT;
  // The first two bytes of the header say which offloads are needed; none was negotiated.
  const isWhole = load<u32>(b + SEAL) === sealOf(number, word, due) &&
    length === HEADER_BYTES + load<u32>(SETUP_FRAME_BYTES) && load<u16>(b) === 0 &&
    hasAddresses(b, word) && (!isBodyDue(number, length) || hasBody(b, length));
  if (!isWhole) return count(d + DIRECTION_CORRUPTED);
  // Sealed, so it is a frame of the other direction: a back-end that floods has sent it back.
  if (flow >= load<u32>(SETUP_FLOWS)) return count(d + DIRECTION_FOREIGN);
  if (arrive(d, flowAt(direction, flow), number) && now !== 0) {
    record(now - reinterpret<f64>(due));
  }
}

// Frames of others and of earlier runs are nobody's fault; one of ours whose magic number is damaged
// is.
function judgeKind(d: u32, difference: u64): void {
  const isOurType = (difference & 0xffff) === 0;
  const isDamaged = isOurType && (difference & MAGIC_MASK) !== 0;
  count(d + (isDamaged ? DIRECTION_CORRUPTED : DIRECTION_FOREIGN));
}

/** The start of a port's addresses, which differ in the flow's number. */
export function addressWord(port: u32): u32 {
  return ADDRESS_WORD | port << ADDRESS_PORT_SHIFT;
}

function hasAddresses(b: u32, word: u32): bool {
  const port = word >> DIRECTION_SHIFT;
  const flow = <u32> bswap<u16>(<u16> word);
  return load<u32>(b + SOURCE) === addressWord(port) &&
    load<u32>(b + DESTINATION) === addressWord(1 - port) &&
    load<u16>(b + SOURCE_FLOW) === <u16> flow && load<u16>(b + DESTINATION_FLOW) === <u16> flow;
}

function isBodyDue(number: u32, length: u32): bool {
  return length <= <u32> SHORT_BYTES || (number & (BODY_CHECK_INTERVAL - 1)) === 0;
}

function hasBody(b: u32, length: u32): bool {
  let at: u32 = BODY;
  for (; at + 8 <= length; at += 8) {
    if (load<u64>(b + at) !== load<u64>(TEMPLATE + at)) return false;
  }
  for (; at < length; at++) if (load<u8>(b + at) !== load<u8>(TEMPLATE + at)) return false;
  return true;
}

function sealOf(number: u32, word: u32, due: u64): u32 {
  return (number * SPREAD) ^ word ^ (<u32> due) ^ (<u32> (due >> 32)) ^ SPREAD;
}

function count(at: u32): void {
  store<u64>(at, load<u64>(at) + 1);
}
