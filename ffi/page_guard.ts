/**
 * Memory that a peer may take away: a file that cannot be sealed is cut off, or has no page left.
 *
 * Touching such a page is a SIGBUS, which ends the process by default, and no JavaScript can run in its
 * place. A handler of a few machine instructions (sigbus_handler.s) puts zero pages where the whole
 * range was and counts that, and the interrupted access goes on.
 *
 * Ranges belong to the thread that guards them; the handler runs in whichever thread faults.
 *
 * @module
 */
import { bytes, struct, u64le } from "../src/layout/struct.ts";
import { check, OsError } from "./errno.ts";
import { SIGACTION } from "./layouts.ts";
import { libc } from "./libc.ts";
import { memoryAddress, PAGE_SIZE_BYTES } from "./memory.ts";

/** What the assembler makes of sigbus_handler.s; a test compares. */
export const HANDLER: Uint8Array<ArrayBuffer> = Uint8Array.fromHex(
  "488b4610488d0df50f00004c8b41084c8d49304983e8017853493b017206493b410872064983c118" +
    "ebe95756524151498b39498b71084829feba0300000041ba3240000049c7c0ffffffff4531c9b809" +
    "0000000f0541595a5e5f488d0d9f0f00004885c07806f049ff4110c3488b014883f8017602ffe0bf" +
    "07000000488d711031d241ba08000000b80d0000000f05c3",
);

/** Ranges of one thread: the ports of several switches. */
const MAX_RANGES = 1024;
const HEAD = struct("head of the table", 48, {
  previous: u64le,
  ranges: u64le,
  defaultAction: bytes(32),
});
const RANGE = struct("range", 24, { first: u64le, end: u64le, replaced: u64le });
const TABLE_BYTES = HEAD.size + MAX_RANGES * RANGE.size;

// bits/signum-arch.h
const SIGBUS = 7;
// bits/sigaction.h
const SA_SIGINFO = 4;
const SA_ONSTACK = 0x08000000;
// asm-generic/mman.h
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 32;

/** This thread's table; stays until the process ends, because the handler does. */
let table: DataView | null = null;

/** What is guarded is not collected: its addresses would be somebody else's. */
const guarded = new Set<WebAssembly.Memory>();

/** A range that is replaced by zero pages as soon as one of its pages is gone. */
export class GuardedRange implements Disposable {
  readonly #at: number;
  readonly #table: DataView;
  readonly #memory: WebAssembly.Memory;
  readonly #start: bigint;
  #known: bigint;

  private constructor(table: DataView, at: number, memory: WebAssembly.Memory) {
    this.#table = table;
    this.#at = at;
    this.#memory = memory;
    this.#start = memoryAddress(memory);
    this.#known = this.#replaced;
  }

  /**
   * Guards a part of a WebAssembly memory until the range is disposed of.
   *
   * @param memory The memory.
   * @param from Where the part starts; page aligned. Behind it there is nothing but guest memory.
   * @returns The range, which is empty at first; null on a machine that the handler was not written for.
   * @throws {OsError} When the system refuses.
   */
  static guard(memory: WebAssembly.Memory, from: bigint): GuardedRange | null {
    if (Deno.build.arch !== "x86_64") return null;
    table ??= install();
    const at = freePlace(table);
    const range = new GuardedRange(table, at, memory);
    const first = range.#start + from;
    // SAFETY: the table's range is empty until its end is known.
    RANGE.write(table, at, { first, end: first, replaced: range.#known });
    guarded.add(memory);
    return range;
  }

  /** Where the range ends in the memory; page aligned, and inside of it. */
  set end(end: bigint) {
    u64le.set(this.#table, this.#at + RANGE.offset.end, this.#start + end);
  }

  /** Whether it was replaced since this was asked last. */
  wasReplaced(): boolean {
    const now = this.#replaced;
    const isNews = now !== this.#known;
    this.#known = now;
    return isNews;
  }

  /** Ends the guard; nobody touches what was guarded any more. */
  [Symbol.dispose](): void {
    if (!guarded.delete(this.#memory)) return;
    u64le.set(this.#table, this.#at + RANGE.offset.end, 0n);
    u64le.set(this.#table, this.#at + RANGE.offset.first, 0n);
  }

  get #replaced(): bigint {
    return u64le.get(this.#table, this.#at + RANGE.offset.replaced);
  }
}

function freePlace(table: DataView): number {
  for (let at = HEAD.size; at < TABLE_BYTES; at += RANGE.size) {
    if (u64le.get(table, at + RANGE.offset.first) === 0n) return at;
  }
  throw new RangeError(`Cannot guard more than ${MAX_RANGES} memories`);
}

function install(): DataView {
  const tableBytes = Math.ceil(TABLE_BYTES / PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES;
  const code = allocate(BigInt(PAGE_SIZE_BYTES + tableBytes));
  new Uint8Array(view(code, PAGE_SIZE_BYTES).buffer as ArrayBuffer).set(HANDLER);
  const protection = PROT_READ | PROT_EXEC;
  check(libc().mprotect(code, BigInt(PAGE_SIZE_BYTES), protection), "protect the SIGBUS handler");
  const table = view(code + BigInt(PAGE_SIZE_BYTES), tableBytes);
  HEAD.write(table, 0, {
    previous: currentHandler(),
    ranges: BigInt(MAX_RANGES),
    defaultAction: new Uint8Array(),
  });
  const wanted = new Uint8Array(SIGACTION.size);
  SIGACTION.write(new DataView(wanted.buffer), 0, {
    sa_sigaction: code,
    sa_mask: new Uint8Array(),
    sa_flags: SA_SIGINFO | SA_ONSTACK,
    sa_restorer: 0n,
  });
  // SAFETY: the code keeps what a signal handler has to keep, and stays mapped for ever.
  check(libc().sigaction(SIGBUS, wanted, null), "handle SIGBUS");
  return table;
}

function currentHandler(): bigint {
  const action = new Uint8Array(SIGACTION.size);
  check(libc().sigaction(SIGBUS, null, action), "ask who handles SIGBUS");
  return SIGACTION.read(new DataView(action.buffer)).sa_sigaction;
}

function allocate(bytes: bigint): bigint {
  const protection = PROT_READ | PROT_WRITE;
  const address = libc().mmap(0n, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0n);
  if (address === -1n) throw new OsError("allocate memory for the SIGBUS handler");
  return address;
}

// SAFETY: the range was allocated in this module and is never given back.
function view(address: bigint, bytes: number): DataView {
  const pointer = Deno.UnsafePointer.create(address)!;
  return new DataView(Deno.UnsafePointerView.getArrayBuffer(pointer, bytes));
}
