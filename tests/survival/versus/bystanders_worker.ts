/**
 * Two hosts that exchange frames without end, in a thread of their own: one burst there, one burst
 * back, and so on. Every frame is counted; none may be lost, because there is room for all.
 *
 * @module
 */
import { ETHERNET, parseMac } from "../../../src/ethernet/frame.ts";
import { Nic } from "../../../src/host/nic.ts";
import { makeFrame, stationAddress } from "../../support/frames.ts";

/** What the Worker is told. */
export type Command = readonly [first: string, second: string] | "take" | "stop";

/** What was seen since the last report. */
export interface Report {
  /** Frames sent. */
  readonly sent: number;
  /** Frames sent that never came. */
  readonly lost: number;
  /** Bursts that had not all come when patience was over; perhaps they came later. */
  readonly late: number;
}

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<Command>) => void) | null;
  postMessage(message: Report | "ready" | "stopped"): void;
}

/** Far less than the room of a queue. */
const BURST = 8;
/** How long a frame may be under way before the next burst is sent nevertheless. */
const PATIENCE_MS = 1000;
/** Attempts to get a first frame through. */
const INTRODUCTIONS = 100;
const INTRODUCTION_MS = 100;
/** Between two bursts, in which messages are read. */
const REST_MS = 1;
/** Stations that nobody else uses. */
const STATIONS = [stationAddress(0xb1), stationAddress(0xb2)] as const;

const scope = globalThis as unknown as Scope;
let isOver = false;
let [sent, received, late] = [0, 0, 0];

scope.onmessage = ({ data }) => {
  if (data === "take") take();
  else if (data === "stop") isOver = true;
  else run(...data);
};

async function run(first: string, second: string): Promise<void> {
  const a = Nic.connect(first);
  const b = Nic.connect(second);
  introduce(a, b, 0);
  introduce(b, a, 1);
  scope.postMessage("ready");
  while (!isOver) {
    exchange(a, b, 0);
    exchange(b, a, 1);
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
  }
  a[Symbol.dispose]();
  b[Symbol.dispose]();
  scope.postMessage("stopped");
}

function take(): void {
  scope.postMessage({ sent, lost: sent - received, late });
  [sent, received, late] = [0, 0, 0];
}

// A switch may need a moment until it uses a port.
function introduce(from: Nic, to: Nic, direction: 0 | 1): void {
  for (let i = 0; i < INTRODUCTIONS; i++) {
    from.send(frameOf(direction));
    from.flush();
    to.wait(INTRODUCTION_MS);
    if (collect(to, direction) > 0) break;
  }
  // What was sent before comes late, or not at all.
  while (to.wait(INTRODUCTION_MS)) collect(to, direction);
}

function exchange(from: Nic, to: Nic, direction: 0 | 1): void {
  const start = performance.now();
  for (let i = 0; i < BURST; i++) from.send(frameOf(direction));
  from.flush();
  sent += BURST;
  for (let left = BURST; left > 0;) {
    const elapsed = performance.now() - start;
    if (elapsed > PATIENCE_MS) {
      late++;
      break;
    }
    to.wait(Math.ceil(PATIENCE_MS - elapsed));
    const got = collect(to, direction);
    received += got;
    left -= got;
  }
}

// Counts the frames that the other station sent; what an attacker floods does not matter.
function collect(nic: Nic, direction: 0 | 1): number {
  let frames = 0;
  const source = parseMac(STATIONS[direction]);
  nic.poll((frame) => {
    if (frame.length < ETHERNET.size) return;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    if (source.every((byte, i) => byte === ETHERNET.read(view).source[i])) frames++;
  });
  nic.flush();
  return frames;
}

function frameOf(direction: 0 | 1): Uint8Array {
  return makeFrame(STATIONS[1 - direction]!, STATIONS[direction]);
}
