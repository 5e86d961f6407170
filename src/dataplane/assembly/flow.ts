/**
 * Which flow a frame belongs to: frames of one flow always go to one receive queue, in their order.
 *
 * Source: RFC 791 and RFC 8200 for the places of the addresses, RFC 9293 and RFC 768 for the ports.
 */
import { FRAME_FLOW, FRAME_SNAPSHOT, SNAPSHOT_BYTES } from "../state_layout.ts";
import { networkHeaderAt } from "./network.ts";

/** Odd multiplier of the hash: the golden ratio, 2^64 / 1.618. */
const GOLDEN: u64 = 0x9e3779b97f4a7c15;
const PROTOCOL_TCP: u32 = 6;
const PROTOCOL_UDP: u32 = 17;
/** More fragments follow, or this is not the first (RFC 791, 3.1), as a little-endian load reads it. */
const FRAGMENT: u32 = 0xff3f;
const IPV6_HEADER_BYTES: u32 = 40;

/**
 * The hash of a frame's flow: addresses and, where they are plain to see, ports.
 *
 * @param f Address of the frame record; it keeps the hash.
 * @returns 31 bits, never 0.
 */
export function flowOf(f: u32): u32 {
  const known = load<u32>(f + FRAME_FLOW);
  if (known !== 0) return known;
  // Once more: a product's high bits need the key's high bits, where the ports are, in its low ones.
  const hash = mix(keyOf(f + FRAME_SNAPSHOT), 0);
  const flow = max<u32>(<u32> (hash >> 33), 1);
  store<u32>(f + FRAME_FLOW, flow);
  return flow;
}

// Looks at the snapshot only. Behind the end of a frame that is shorter than its own headers anything
// may stand there: such a frame has no flow to keep in order.
function keyOf(frame: u32): u64 {
  const network = networkHeaderAt(frame);
  if (network === 0) return mix(load<u64>(frame), load<u32>(frame + 8));
  const ip = frame + network;
  if (<u32> load<u8>(ip) >> 4 === 4) {
    const words = <u32> load<u8>(ip) & 15;
    const hasPorts = (load<u16>(ip + 6) & FRAGMENT) === 0;
    const transport = network + words * 4;
    return mix(load<u64>(ip + 12), hasPorts ? portsOf(frame, load<u8>(ip + 9), transport) : 0);
  }
  const source = mix(load<u64>(ip + 8), load<u64>(ip + 16));
  const destination = mix(load<u64>(ip + 24), load<u64>(ip + 32));
  const transport = network + IPV6_HEADER_BYTES;
  return mix(source ^ destination, portsOf(frame, load<u8>(ip + 6), transport));
}

function portsOf(frame: u32, protocol: u32, transport: u32): u64 {
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return 0;
  return transport + 4 <= <u32> SNAPSHOT_BYTES ? load<u32>(frame + transport) : 0;
}

function mix(a: u64, b: u64): u64 {
  return (a ^ (a >> 29) ^ b) * GOLDEN;
}
