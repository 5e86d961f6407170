/**
 * A frame that goes to and fro between two front-ends through a switch, one at a time; run by
 * `latency.ts` as a process of its own, on a core of its own.
 *
 *     ping_pong.ts COUNT SOCKET SOCKET
 *
 * It listens on both sockets, waits for the switch, and prints the round trips in nanoseconds.
 *
 * @module
 */
import { acceptUnix, listenUnix, waitReadable } from "../../ffi/unix_socket.ts";
import { ETHERNET, ETHERTYPE_EXPERIMENT, MIN_FRAME_BYTES } from "../../src/ethernet/frame.ts";
import { Nic } from "../../src/host/nic.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 1000;
/** Time between two attempts to get a first frame through. */
const INTRODUCTION_MS = 50;
/** Round trips before the measurement. */
const WARM_UP = 2000;
/** Looks at the ring between two looks at the clock. */
const LOOKS_PER_CLOCK = 1000;

const [count, first, second] = Deno.args;
using a = attach(first!);
using b = attach(second!);
const [there, back] = [frame(1, 2), frame(2, 1)];
// Both addresses become known, as soon as the switch uses the rings.
introduce(a, b, there);
introduce(b, a, back);
for (let i = 0; i < WARM_UP; i++) roundTrip();
const times = Array.from({ length: Number(count) }, roundTrip);
console.log(JSON.stringify(times));

function attach(path: string): Nic {
  using listener = listenUnix(path);
  if (!waitReadable(listener, CONNECT_TIMEOUT_MS)) throw new Error(`Nobody connects to ${path}`);
  return new Nic(acceptUnix(listener)!);
}

function frame(source: number, destination: number): Uint8Array {
  const data = new Uint8Array(MIN_FRAME_BYTES);
  const address = (last: number) => Uint8Array.of(2, 0, 0, 0, 0, last);
  ETHERNET.write(new DataView(data.buffer), 0, {
    ...{ source: address(source), destination: address(destination), type: ETHERTYPE_EXPERIMENT },
  });
  return data;
}

function roundTrip(): number {
  const start = performance.now();
  pass(a, b, there);
  pass(b, a, back);
  return Math.round((performance.now() - start) * 1e6);
}

function introduce(from: Nic, to: Nic, data: Uint8Array): void {
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  let frames = 0;
  while (frames === 0) {
    if (performance.now() > deadline) throw new Error("The switch passes nothing");
    from.send(data);
    from.flush();
    to.wait(INTRODUCTION_MS);
    frames = to.poll(() => {});
  }
  // What was sent before comes late, or not at all.
  while (to.poll(() => {}) > 0 || to.wait(INTRODUCTION_MS)) to.flush();
  to.flush();
}

function pass(from: Nic, to: Nic, data: Uint8Array): void {
  from.send(data);
  from.flush();
  const deadline = performance.now() + ANSWER_TIMEOUT_MS;
  for (let looks = 1; to.poll(() => {}) === 0; looks++) {
    if (looks % LOOKS_PER_CLOCK !== 0) continue;
    if (performance.now() > deadline) throw new Error("A frame did not arrive");
  }
  to.flush();
}
