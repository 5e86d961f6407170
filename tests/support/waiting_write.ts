/**
 * A Worker that writes from memory whose pages somebody else fills, and waits until they do.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import type { RacerReport, RacerRole } from "./racer.ts";

/** What the Worker is told. */
export interface WaitingWriteRole extends RacerRole {
  /** The number of the file. */
  readonly fd: number;
  /** Where the bytes are. */
  readonly address: bigint;
  /** How many. */
  readonly bytes: bigint;
}

/** Number of the system call: libc's function would want a buffer (asm/unistd_64.h, asm-generic/unistd.h). */
const WRITE = Deno.build.arch === "x86_64" ? 1n : 64n;

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<WaitingWriteRole>) => void) | null;
  postMessage(report: RacerReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { fd, address, bytes } }) => {
  const { syscall } = libc();
  scope.postMessage("running");
  syscall(WRITE, BigInt(fd), address, bytes);
  scope.postMessage("over");
};
