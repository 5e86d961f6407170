/**
 * Puts right what a poll Worker left half-way when its thread died in the middle of a turn.
 *
 * Two kinds of rings are affected: those that it polled, and the receive ring that it was filling,
 * which is locked in its name. In both, chains were taken (RING_NEXT_AVAIL) that were not given back
 * (RING_NEXT_USED). Everything is given back in order, so the next chain to take is simply the next
 * one to give back: the frames of the broken burst are taken again, and no chain stays with us.
 *
 * | what died in between | what follows |
 * | --- | --- |
 * | taking and delivering | the frames are delivered once, by the next thread |
 * | delivering and completing | the frames are delivered twice |
 * | reserving and publishing | the buffers are filled again, with other frames |
 *
 * The thread that dies calls it itself, before it counts as asleep: from then on control may answer
 * that a ring is stopped and say where. Control calls it again before it starts another thread,
 * because a thread can end without running any more code of ours. A second time nothing changes.
 *
 * @module
 */
import { portAt, ringAt, ringNumber, type State, workerAt } from "../dataplane/state.ts";
import {
  FAULT_LOST,
  MAX_PORTS,
  PORT_ROLE,
  PORT_ROLE_FRONTEND,
  RING_FAULT,
  RING_LOCK,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RINGS_PER_PORT,
  W_FRAMES,
  W_LIST,
  W_LIST_COUNT,
  W_SLEEPING,
  W_TAKEN,
} from "../dataplane/state_layout.ts";

/**
 * Makes the rings of a dead Worker as if it had finished its last turn, and says that it is asleep.
 *
 * Runs on the thread that dies, or on the main thread when the thread is dead.
 *
 * @param state The state memory.
 * @param worker The Worker's number.
 */
export function recover(state: State, worker: number): void {
  const at = workerAt(worker);
  for (const ring of polledRings(state, at)) takeAgain(state, ring);
  for (const ring of receiveRings()) {
    if (state.load32(ringAt(ring) + RING_LOCK) !== worker + 1) continue;
    takeAgain(state, ring);
    state.store32(ringAt(ring) + RING_LOCK, 0);
  }
  // What is left of the burst: counts, destinations, and a set of frames for each port.
  state.clear(at + W_TAKEN, W_FRAMES - W_TAKEN);
  state.store32(at + W_SLEEPING, 1);
}

// Of a ring that we drive only its lost Worker knew which buffers were in hand.
function takeAgain(state: State, ring: number): void {
  const at = ringAt(ring);
  const port = Math.trunc(ring / RINGS_PER_PORT);
  if (state.get32(portAt(port) + PORT_ROLE) === PORT_ROLE_FRONTEND) {
    return state.store32(at + RING_FAULT, FAULT_LOST);
  }
  state.set32(at + RING_NEXT_AVAIL, state.get32(at + RING_NEXT_USED));
}

function polledRings(state: State, at: number): number[] {
  const length = state.get32(at + W_LIST_COUNT);
  return Array.from({ length }, (_, i) => state.get16(at + W_LIST + 2 * i));
}

function* receiveRings(): Generator<number> {
  for (let port = 0; port < MAX_PORTS; port++) {
    for (let index = 0; index < RINGS_PER_PORT; index += 2) yield ringNumber(port, index);
  }
}
