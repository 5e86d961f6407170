/**
 * Measures the way to another host and back with numbered frames: a fixed number of them is on the
 * way at any time, each that comes back is checked and sent out again.
 *
 * @module
 */
import { ETHERNET, ETHERTYPE_EXPERIMENT } from "../ethernet/frame.ts";
import { struct, u32le } from "../layout/struct.ts";
import type { Nic } from "./nic.ts";

/** What a frame of the loop carries behind its Ethernet header. */
const NUMBERED = struct("struct numbered", 4, { number: u32le });
/** How long the frames that are still on the way may take at the end. */
const DRAIN_MS = 200;
/** Empty looks before the thread waits: the other side answers within microseconds. */
const SPINS = 20000;
const WAIT_MS = 20;

/** What to send. */
export interface LoopPlan {
  /** Our address, 6 bytes. */
  readonly source: Uint8Array;
  /** The address of a host that sends frames back, 6 bytes. */
  readonly destination: Uint8Array;
  /** Bytes of a frame without its check sequence, at least 18. */
  readonly frameBytes: number;
  /** Frames on the way at a time; must fit into the rings. */
  readonly window: number;
  /** How long frames are sent. */
  readonly seconds: number;
}

/** What came of it. */
export interface LoopResult {
  /** Frames sent. */
  readonly sent: number;
  /** Frames that came back. */
  readonly returned: number;
  /** Frames that came back out of their order, or with a number that was not due. */
  readonly disordered: number;
  /** How long it took. */
  readonly seconds: number;
}

/**
 * Runs the loop in this thread.
 *
 * @param nic The interface; nobody else uses it meanwhile.
 * @param plan What to send.
 */
export function runClosedLoop(nic: Nic, plan: LoopPlan): LoopResult {
  const frame = numberedFrame(plan);
  const view = new DataView(frame.buffer);
  let sent = 0;
  let returned = 0;
  let disordered = 0;
  let due = 0;
  const onFrame = (data: Uint8Array): void => {
    const back = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (data.length < frame.length || ETHERNET.read(back).type !== ETHERTYPE_EXPERIMENT) return;
    const { number } = NUMBERED.read(back, ETHERNET.size);
    if (number !== due) disordered++;
    due = (number + 1) >>> 0;
    returned++;
  };
  const start = performance.now();
  const end = start + plan.seconds * 1000;
  let last = start;
  let spins = 0;
  for (let now = start; now < end + DRAIN_MS; now = performance.now()) {
    if (nic.poll(onFrame) > 0) {
      spins = 0;
      last = performance.now();
    } else if (++spins > SPINS) {
      nic.wait(WAIT_MS);
      spins = 0;
    }
    if (now >= end && sent === returned) break;
    while (now < end && sent - returned < plan.window) {
      NUMBERED.write(view, ETHERNET.size, { number: sent >>> 0 });
      if (!nic.send(frame)) break;
      sent++;
    }
    nic.flush();
  }
  return { sent, returned, disordered, seconds: (last - start) / 1000 };
}

function numberedFrame({ source, destination, frameBytes }: LoopPlan): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(frameBytes);
  const header = { destination, source, type: ETHERTYPE_EXPERIMENT };
  ETHERNET.write(new DataView(frame.buffer), 0, header);
  return frame;
}
