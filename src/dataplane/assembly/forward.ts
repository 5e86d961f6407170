/**
 * The switch: learns source addresses and decides which ports each frame of a burst goes to.
 *
 * Touches state memory only. The result is one 64-bit set of frames per destination port, in the
 * Worker's scratch: bit i stands for frame i, so a port's frames keep their order.
 *
 * The bridge is a neutral wire: group addresses are flooded whatever protocol they belong to, the
 * reserved ones of IEEE 802.1Q (LACP, STP, LLDP) included.
 */
import {
  BRIDGE_COUNT,
  BRIDGE_PORTS,
  C_DROP_SAME_PORT,
  C_FLOODED,
  CLOCK_SECONDS,
  FRAME_BYTES,
  FRAME_DROP,
  FRAME_SNAPSHOT,
  PORT_BRIDGE,
  W_DESTINATION_COUNT,
  W_DESTINATIONS,
  W_FRAMES,
  W_MASKS,
} from "../state_layout.ts";
import { learn, lookUp, UNKNOWN } from "./fdb.ts";
import { bridgeAt, count, portAt, workerAt } from "./records.ts";

/** The 48 bits of a MAC address in a 64-bit load. */
const ADDRESS_MASK: u64 = 0xffffffffffff;
/** The group bit: the lowest bit of the first byte (IEEE 802-2014, 8.2.2). */
const GROUP: u64 = 1;

/**
 * Decides where the frames of a burst go.
 *
 * Runs on the Worker that took them; does not allocate.
 *
 * @param worker The Worker's number.
 * @param port The port that the frames came from.
 * @param taken How many frame records are filled.
 */
export function forward(worker: u32, port: u32, taken: u32): void {
  const w = workerAt(worker);
  const now = load<u32>(CLOCK_SECONDS);
  const bridge = load<u32>(portAt(port) + PORT_BRIDGE);
  let flooded: u64 = 0;
  // Frames of one flow come in trains: the last answers are remembered for the next frame.
  let lastSource: u64 = 0;
  let lastDestination: u64 = 0;
  let lastPort: u32 = UNKNOWN;
  let train: u64 = 0;
  let trainPort: u32 = UNKNOWN;
  store<u32>(w + W_DESTINATION_COUNT, 0);

  for (let i: u32 = 0; i < taken; i++) {
    const f = w + W_FRAMES + i * FRAME_BYTES;
    if (load<u32>(f + FRAME_DROP) !== 0) continue;
    const destination = load<u64>(f + FRAME_SNAPSHOT) & ADDRESS_MASK;
    const source = load<u64>(f + FRAME_SNAPSHOT + 6) & ADDRESS_MASK;
    if (source !== lastSource) {
      lastSource = source;
      // A group address is no station's own (IEEE 802.1Q, 8.7); neither is zero.
      if ((source & GROUP) === 0 && source !== 0) {
        learn(worker, port, source, now);
        // What was just learned may be the address that the last answer was about.
        if (source === lastDestination) lastPort = port;
      }
    }
    if (destination !== lastDestination) {
      lastDestination = destination;
      lastPort = (destination & GROUP) !== 0 ? UNKNOWN : lookUp(bridge, destination, now);
    }
    if (lastPort === UNKNOWN) flooded |= <u64> 1 << i;
    else if (lastPort === port) count(worker, port, C_DROP_SAME_PORT, 1);
    else {
      // Trains again: one port's frames are noted together.
      if (lastPort !== trainPort) {
        if (train !== 0) send(w, trainPort, train);
        trainPort = lastPort;
        train = 0;
      }
      train |= <u64> 1 << i;
    }
  }
  if (train !== 0) send(w, trainPort, train);
  if (flooded !== 0) flood(worker, port, bridge, flooded);
}

function flood(worker: u32, port: u32, bridge: u32, frames: u64): void {
  const w = workerAt(worker);
  const b = bridgeAt(bridge);
  const members = load<u32>(b + BRIDGE_COUNT);
  for (let i: u32 = 0; i < members; i++) {
    const member = <u32> load<u16>(b + BRIDGE_PORTS + i * 2);
    if (member !== port) send(w, member, frames);
  }
  count(worker, port, C_FLOODED, popcnt<u64>(frames));
}

function send(w: u32, port: u32, frames: u64): void {
  const mask = w + W_MASKS + port * 8;
  const before = load<u64>(mask);
  if (before === 0) {
    const destinations = load<u32>(w + W_DESTINATION_COUNT);
    store<u16>(w + W_DESTINATIONS + destinations * 2, <u16> port);
    store<u32>(w + W_DESTINATION_COUNT, destinations + 1);
  }
  store<u64>(mask, before | frames);
}
