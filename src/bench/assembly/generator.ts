/**
 * The generator: two driver ports, a burst at a time. The entry of its module.
 *
 * One thread owns the memory and calls these functions; none of them allocates. A set of kicks has a
 * bit for each ring, in the order of the rings' records: receive and transmit ring of port 0, of port 1.
 */
import {
  BODY,
  DESTINATION,
  DESTINATION_FLOW,
  KIND_AT,
  SOURCE,
  SOURCE_FLOW,
} from "../frame_layout.ts";
import {
  BUFFER_STRIDE,
  BURST,
  DIRECTION_SENT,
  DIRECTION_SETTLED,
  DIRECTIONS,
  FLOWS,
  HEADER_BYTES,
  PORTS,
  RING_BUFFERS,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  SETUP_END_NS,
  SETUP_FLOWS,
  SETUP_FRAME_BYTES,
  SETUP_INTERVAL_NS,
  SETUP_PACKED,
  SETUP_RING_SIZE,
  SETUP_WINDOW,
  TEMPLATE,
} from "../memory_layout.ts";
import { addressWord, kindOfRun } from "./frames.ts";
import { record } from "./histogram.ts";
import * as packed from "./packed_ring.ts";
import { directionAt, flowAt, receiveRing, transmitRing } from "./records.ts";
import { arrive, giveUp } from "./sequence.ts";
import * as split from "./split_ring.ts";
import { due, look, receive, room, send } from "./transfer.ts";

export { arrive, record };

/** Lays out the rings of a port; every receive buffer is offered. */
export function layOut(port: u32): void {
  const r = receiveRing(port);
  const t = transmitRing(port);
  store<u32>(r + RING_NEXT_USED, 0);
  store<u32>(r + RING_NEXT_AVAIL, load<u32>(SETUP_RING_SIZE));
  store<u32>(t + RING_NEXT_USED, 0);
  store<u32>(t + RING_NEXT_AVAIL, 0);
  if (load<u32>(SETUP_PACKED) !== 0) {
    packed.layOut(r, true);
    packed.layOut(t, false);
  } else {
    split.layOut(r, true);
    split.layOut(t, false);
  }
}

/** Begins a run: all counts are zero, and every transmit buffer, which must be back, has its frame. */
export function begin(): void {
  memory.fill(DIRECTIONS, 0, TEMPLATE - DIRECTIONS);
  memory.fill(FLOWS, 0, PORTS - FLOWS);
  for (let port: u32 = 0; port < 2; port++) {
    fillTemplate(port);
    const t = transmitRing(port);
    for (let i: u32 = 0; i < load<u32>(SETUP_RING_SIZE); i++) {
      const b = load<u32>(t + RING_BUFFERS) + i * BUFFER_STRIDE;
      memory.copy(b, TEMPLATE, HEADER_BYTES + load<u32>(SETUP_FRAME_BYTES));
    }
  }
}

/**
 * Closed loop: turns in which what has arrived makes room in the window for new frames.
 *
 * @param turns How many; it ends early when a back-end wants to be kicked.
 * @returns Rings to kick.
 */
export function closedLoop(turns: u32): u32 {
  let kicks: u32 = 0;
  for (; turns > 0 && kicks === 0; turns--) {
    kicks = <u32> closedTurn(0, 1) | <u32> closedTurn(1, 0);
  }
  return kicks;
}

// What arrives at a port was sent by its peer, which may then send more.
function closedTurn(port: u32, peer: u32): u32 {
  look(port);
  const receiveKick = <u32> receive(port, 0) << (2 * port);
  const d = directionAt(peer);
  const onTheWay = <i32> (load<u64>(d + DIRECTION_SENT) - load<u64>(d + DIRECTION_SETTLED));
  const wanted = min<i32>(<i32> load<u32>(SETUP_WINDOW) - onTheWay, BURST);
  if (wanted <= 0) return receiveKick;
  return receiveKick | <u32> send(peer, wanted, 0) << (2 * peer + 1);
}

/**
 * Open loop: looks what has arrived. The clock is read after this, so that no latency is too short.
 *
 * @returns Whether something has.
 */
export function lookBoth(): bool {
  return (look(0) | look(1)) !== 0;
}

/**
 * Open loop: takes what {@linkcode lookBoth} saw and sends what is due.
 *
 * @param now Nanoseconds, after 0.
 * @returns Rings to kick.
 */
export function openLoop(now: f64): u32 {
  return openTurn(0, now) | openTurn(1, now);
}

function openTurn(port: u32, now: f64): u32 {
  const kick = <u32> receive(port, now) << (2 * port);
  const amount = due(port, min<f64>(now, load<f64>(SETUP_END_NS)));
  if (amount === 0) return kick;
  return kick | <u32> send(port, amount, load<f64>(SETUP_INTERVAL_NS)) << (2 * port + 1);
}

/** Gives up what is on the way. */
export function writeOff(): void {
  for (let direction: u32 = 0; direction < 2; direction++) {
    for (let flow: u32 = 0; flow < load<u32>(SETUP_FLOWS); flow++) {
      giveUp(directionAt(direction), flowAt(direction, flow));
    }
  }
}

/** Whether all transmit buffers of both ports are back. */
export function isIdle(): bool {
  const size = load<u32>(SETUP_RING_SIZE);
  return room(0, size) === size && room(1, size) === size;
}

function fillTemplate(port: u32): void {
  memory.fill(TEMPLATE, 0, HEADER_BYTES);
  store<u32>(TEMPLATE + DESTINATION, addressWord(1 - port));
  store<u32>(TEMPLATE + SOURCE, addressWord(port));
  store<u16>(TEMPLATE + DESTINATION_FLOW, 0);
  store<u16>(TEMPLATE + SOURCE_FLOW, 0);
  store<u64>(TEMPLATE + KIND_AT, kindOfRun());
  const length: u32 = HEADER_BYTES + load<u32>(SETUP_FRAME_BYTES);
  for (let at: u32 = BODY - 4; at < length; at++) store<u8>(TEMPLATE + at, <u8> (at * 7 + 1));
}
