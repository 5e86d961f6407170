/**
 * A hostile owner of a memory file: a Worker that shrinks and grows it again and again, until it is
 * sealed; then it leaves it as small as it is.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import type { RacerReport, RacerRole } from "./racer.ts";

/** What the Worker is told. */
export interface RacingFileRole extends RacerRole {
  /** The number of the memory file. */
  readonly fd: number;
  /** Its size when it is not shrunk. */
  readonly sizeBytes: number;
}

// linux/fcntl.h
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<RacingFileRole>) => void) | null;
  postMessage(report: RacerReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { fd, sizeBytes, words } }) => {
  const control = new Int32Array(words);
  const { fcntl, ftruncate } = libc();
  scope.postMessage("running");
  while (Atomics.load(control, 0) === 0) {
    if (ftruncate(fd, 0n) < 0) break;
    if ((fcntl(fd, F_GET_SEALS, 0) & F_SEAL_SHRINK) !== 0) break;
    ftruncate(fd, BigInt(sizeBytes));
  }
  scope.postMessage("over");
};
