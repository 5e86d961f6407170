/**
 * A hostile owner of an event descriptor: a Worker that fills its count or signals it again and
 * again, or lets calls wait again that must not.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import type { RacerReport, RacerRole } from "./racer.ts";

/** What the Worker is told. */
export interface RacingEventFdRole extends RacerRole {
  /** The number of the event descriptor. */
  readonly fd: number;
  /** What it does. */
  readonly act: "fill" | "signal" | "let wait";
}

// bits/fcntl-linux.h
const F_SETFL = 4;
const O_RDWR = 2;
/** The largest count there can be (eventfd(2)). */
const FULL = new BigUint64Array([2n ** 64n - 2n]);
const ONE = new BigUint64Array([1n]);

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<RacingEventFdRole>) => void) | null;
  postMessage(report: RacerReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { fd, act, words } }) => {
  const control = new Int32Array(words);
  const { fcntl, write } = libc();
  const bytes = new Uint8Array((act === "fill" ? FULL : ONE).buffer);
  scope.postMessage("running");
  while (Atomics.load(control, 0) === 0) {
    if (act === "let wait") fcntl(fd, F_SETFL, O_RDWR);
    else write(fd, bytes, BigInt(bytes.length));
  }
  scope.postMessage("over");
};
