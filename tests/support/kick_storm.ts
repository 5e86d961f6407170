/**
 * A thread that writes to an eventfd as fast as it can.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";

/** What the Worker is told. */
export interface KickStormRole {
  /** The eventfd's number; it stays open for as long as the Worker runs. */
  readonly fd: number;
  /** Two words: whether to stop, and how many thousands of writes were made. */
  readonly control: SharedArrayBuffer;
}

/** The word that ends the storm when it is not 0. */
export const STORM_STOP = 0;
/** Thousands of writes. */
export const STORM_THOUSANDS = 1;
/** Bytes of the control words. */
export const STORM_CONTROL_BYTES = 8;

/** Writes between two looks at the word that ends it. */
const WRITES = 1000;

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<KickStormRole>) => void) | null;
  postMessage(report: "running" | "stopped"): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { fd, control } }) => {
  const words = new Int32Array(control);
  const { write } = libc();
  const one = new Uint8Array(new BigUint64Array([1n]).buffer);
  scope.postMessage("running");
  while (Atomics.load(words, STORM_STOP) === 0) {
    for (let i = 0; i < WRITES; i++) write(fd, one, 8n);
    Atomics.add(words, STORM_THOUSANDS, 1);
  }
  scope.postMessage("stopped");
};
