/**
 * Makes the thread of the host ports in this process fail, as a fault of ours would: the ring of its
 * first host says that a chain was used which the host never offered.
 *
 * @module
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { Fd } from "../../ffi/fd.ts";
import { signalEventFd } from "../../ffi/eventfd.ts";
import { QUEUE_SIZE } from "../../src/host/nic.ts";
import { u16le, u32le } from "../../src/layout/struct.ts";
import { placeRing } from "../../src/virtio/layouts.ts";

/** The name of a host's memory file in the list of mappings. */
const MAPPING = /^([0-9a-f]+)-.*memfd:labswitch-host/;
/** The token of the doorbell in the epoll set of the hosts, as the kernel shows it. */
const DOORBELL = /^tfd: +\d+ .*data: +ffffffff /m;
/** The first host's call descriptor in that set. */
const CALL = /^tfd: +(\d+) .*data: +0 /m;
const NO_CHAIN = 9999;

/** Breaks the receive ring of the only host of the only switch, in which no frame has come yet. */
export function breakHostRing(): void {
  const { used } = placeRing(0, QUEUE_SIZE);
  // Flags, index; the identifier and the length of the first chain.
  const broken = new Uint8Array(12);
  const view = new DataView(broken.buffer);
  u16le.set(view, 2, 1);
  u32le.set(view, 4, NO_CHAIN);
  // The thread may still be looking at its ring, and die of it before it is called: the descriptor is
  // found before that, and kept.
  using call = callDescriptor();
  writeOwnMemory(hostMemory() + used, broken);
  signalEventFd(call.number);
}

function hostMemory(): number {
  const lines = Deno.readTextFileSync("/proc/self/maps").split("\n");
  const [, start] = lines.map((line) => MAPPING.exec(line)).find((found) => found !== null)!;
  return parseInt(start!, 16);
}

function writeOwnMemory(address: number, data: Uint8Array): void {
  const memory = openSync("/proc/self/mem", "r+");
  try {
    writeSync(memory, data, 0, data.length, address);
  } finally {
    closeSync(memory);
  }
}

// A second descriptor of the first host's call.
function callDescriptor(): Fd {
  for (const { name } of Deno.readDirSync("/proc/self/fdinfo")) {
    const info = readInfo(name);
    if (DOORBELL.test(info)) return duplicateOf(Number(CALL.exec(info)![1]));
  }
  throw new Error("Cannot find the epoll set of the host ports");
}

function duplicateOf(number: number): Fd {
  const theirs = Fd.adopt(number);
  try {
    return theirs.duplicate();
  } finally {
    theirs.release();
  }
}

// The descriptor of the listing itself is gone by then.
function readInfo(name: string): string {
  try {
    return Deno.readTextFileSync(`/proc/self/fdinfo/${name}`);
  } catch {
    return "";
  }
}
