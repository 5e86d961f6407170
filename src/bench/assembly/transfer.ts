/**
 * Bursts of frames through the rings of a port, of either format.
 *
 * Everything here runs on the generator's thread and does not allocate.
 */
import {
  BUFFER_BYTES,
  BURST,
  DIRECTION_SENT,
  DIRECTION_START_NS,
  HEADER_BYTES,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RING_SEEN,
  RULES_BROKEN,
  SETUP_FRAME_BYTES,
  SETUP_INTERVAL_NS,
  SETUP_PACKED,
  SETUP_RING_SIZE,
} from "../memory_layout.ts";
import { judge, kindOfRun, stamp } from "./frames.ts";
import * as packed from "./packed_ring.ts";
import { bufferAddress, directionAt, receiveRing, transmitRing } from "./records.ts";
import * as split from "./split_ring.ts";

/** Notes how many frames wait at a port; returns that. */
export function look(port: u32): u32 {
  const r = receiveRing(port);
  const seen = load<u32>(SETUP_PACKED) !== 0 ? packed.look(r) : split.look(r);
  store<u32>(r + RING_SEEN, seen);
  return seen;
}

/**
 * Takes a burst of the frames that {@linkcode look} saw, and offers their buffers again.
 *
 * @param port The port.
 * @param now When they were seen, in nanoseconds; 0 in the closed loop.
 * @returns Whether the back-end wants to be kicked.
 */
export function receive(port: u32, now: f64): bool {
  const r = receiveRing(port);
  const seen = load<u32>(r + RING_SEEN);
  if (seen === 0) return false;
  const size = load<u32>(SETUP_RING_SIZE);
  if (seen > size) return breakRules();
  const isPacked = load<u32>(SETUP_PACKED) !== 0;
  const first = load<u32>(r + RING_NEXT_USED);
  const amount = min<u32>(seen, BURST);
  const direction = 1 - port;
  const d = directionAt(direction);
  const kind = kindOfRun();
  for (let i: u32 = 0; i < amount; i++) {
    const at = isPacked ? packed.usedAt(r, first + i) : split.usedAt(r, first + i);
    const buffer = isPacked ? packed.usedBuffer(at) : split.usedBuffer(at);
    const length = isPacked ? packed.usedLength(at) : split.usedLength(at);
    if (buffer >= size || length > <u32> BUFFER_BYTES) return breakRules();
    judge(bufferAddress(r, buffer), length, direction, d, kind, now);
    if (isPacked) packed.put(r, first + i, buffer, BUFFER_BYTES);
    else {
      split.put(r, first + i, buffer);
      split.describe(r, buffer, BUFFER_BYTES, true);
    }
  }
  store<u32>(r + RING_NEXT_USED, first + amount);
  store<u32>(r + RING_NEXT_AVAIL, first + size + amount);
  return isPacked ? packed.publish(r, first + size, true) : split.publish(r);
}

/**
 * Sends the next frames of a direction.
 *
 * @param port The port that they are sent from.
 * @param wanted How many, a burst at most.
 * @param interval Open loop: nanoseconds between them; 0 in the closed loop.
 * @returns Whether the back-end wants to be kicked.
 */
export function send(port: u32, wanted: u32, interval: f64): bool {
  const r = transmitRing(port);
  const amount = min<u32>(wanted, room(port, wanted));
  if (amount === 0) return false;
  const isPacked = load<u32>(SETUP_PACKED) !== 0;
  const length: u32 = HEADER_BYTES + load<u32>(SETUP_FRAME_BYTES);
  const first = load<u32>(r + RING_NEXT_AVAIL);
  const d = directionAt(port);
  const sent = load<u64>(d + DIRECTION_SENT);
  const start = load<f64>(d + DIRECTION_START_NS);
  for (let i: u32 = 0; i < amount; i++) {
    const buffer = isPacked ? packed.bufferAt(r, first + i) : split.bufferAt(r, first + i);
    const due = interval === 0 ? 0 : start + <f64> (sent + i) * interval;
    stamp(bufferAddress(r, buffer), port, d, due);
    if (isPacked) packed.put(r, first + i, buffer, length);
    else split.describe(r, buffer, length, false);
  }
  store<u64>(d + DIRECTION_SENT, sent + amount);
  store<u32>(r + RING_NEXT_AVAIL, first + amount);
  return isPacked ? packed.publish(r, first, false) : split.publish(r);
}

/** How many frames of a direction are due at an instant and not sent, a burst at most. */
export function due(port: u32, now: f64): u32 {
  const d = directionAt(port);
  const elapsed = now - load<f64>(d + DIRECTION_START_NS);
  if (elapsed < 0) return 0;
  const total = floor<f64>(elapsed / load<f64>(SETUP_INTERVAL_NS)) + 1;
  const left = total - <f64> load<u64>(d + DIRECTION_SENT);
  return <u32> min<f64>(max<f64>(left, 0), BURST);
}

/** Free transmit buffers of a port; takes back those that are used if there are fewer than wanted. */
export function room(port: u32, wanted: u32): u32 {
  const r = transmitRing(port);
  const size = load<u32>(SETUP_RING_SIZE);
  const outstanding = load<u32>(r + RING_NEXT_AVAIL) - load<u32>(r + RING_NEXT_USED);
  if (size - outstanding >= wanted) return size - outstanding;
  return size - outstanding + takeBack(r, outstanding);
}

function takeBack(r: u32, outstanding: u32): u32 {
  const isPacked = load<u32>(SETUP_PACKED) !== 0;
  const first = load<u32>(r + RING_NEXT_USED);
  const amount = isPacked ? packed.look(r) : split.look(r);
  if (amount > outstanding) {
    breakRules();
    return 0;
  }
  for (let i: u32 = 0; i < amount; i++) {
    const at = isPacked ? packed.usedAt(r, first + i) : split.usedAt(r, first + i);
    const buffer = isPacked ? packed.usedBuffer(at) : split.usedBuffer(at);
    if (buffer >= load<u32>(SETUP_RING_SIZE)) {
      breakRules();
      return 0;
    }
    if (!isPacked) split.put(r, first + i, buffer);
  }
  store<u32>(r + RING_NEXT_USED, first + amount);
  return amount;
}

// The thread stops when it sees this; until then nothing more is taken from that ring.
function breakRules(): bool {
  store<u32>(RULES_BROKEN, 1);
  return false;
}
