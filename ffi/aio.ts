/**
 * Linux AIO, as far as it signals event descriptors: the kernel does that for a read that is done, and
 * unlike a write it never waits.
 *
 * A write to an event descriptor waits while its count is full, unless the descriptor says that it must
 * not. Both are shared with the peer that gave it, which can fill the count and allow waiting between
 * any two of our calls. The kernel's own signal leaves a full count full.
 *
 * @module
 */
import { addressOf } from "./address.ts";
import { AIO_RING_HEAD, IOCB } from "./layouts.ts";
import { libc } from "./libc.ts";

/** Numbers of the system calls, for which libc has no functions (asm/unistd_64.h, asm-generic/unistd.h). */
const NUMBERS = Deno.build.arch === "x86_64"
  ? { io_setup: 206n, io_submit: 209n }
  : { io_setup: 0n, io_submit: 2n };
// linux/aio_abi.h
const IOCB_CMD_PREAD = 0;
const IOCB_FLAG_RESFD = 1;
const WORD_BYTES = 4;
/** Where the fields that change are, in words. */
const FILDES = IOCB.offset.aio_fildes / WORD_BYTES;
const RESFD = IOCB.offset.aio_resfd / WORD_BYTES;
const HEAD = AIO_RING_HEAD.offset.head / WORD_BYTES;
const TAIL = AIO_RING_HEAD.offset.tail / WORD_BYTES;

/** Contexts that are free: taking one down takes the kernel tens of milliseconds, so they are kept. */
const free: bigint[] = [];

/**
 * Takes a context, a queue of requests in the kernel. Any thread of the process may use it, one at a
 * time.
 *
 * @returns Its number, or null where the kernel has no AIO, forbids it, or has none left.
 */
export function acquireContext(): bigint | null {
  const kept = free.pop();
  if (kept !== undefined) return kept;
  const context = new BigUint64Array(1);
  const result = libc().syscall(NUMBERS.io_setup, 1n, addressOf(context), 0n);
  return result < 0 ? null : context[0]!;
}

/** Gives a context back that nobody uses any more. */
export function releaseContext(context: bigint | null): void {
  if (context !== null) free.push(context);
}

/** A way to signal event descriptors that belongs to one thread. */
export class AioSignaller {
  readonly #context: bigint;
  readonly #request: Uint32Array<ArrayBuffer>;
  readonly #list: BigUint64Array<ArrayBuffer>;
  readonly #listAddress: bigint;
  /** The kernel's list of what is done, which it writes and we empty. */
  readonly #ring: Uint32Array;
  readonly #syscall = libc().syscall;

  /** @param context From {@linkcode acquireContext}; stays the caller's. */
  constructor(context: bigint) {
    this.#context = context;
    // A read of no bytes from the event descriptor itself: it fails, and that is as good as done.
    const request = new ArrayBuffer(IOCB.size);
    IOCB.write(new DataView(request), 0, {
      ...{ aio_data: 0n, aio_key: 0, aio_rw_flags: 0, aio_reqprio: 0, aio_buf: 0n, aio_nbytes: 0n },
      ...{ aio_offset: 0n, aio_reserved2: 0n, aio_fildes: 0, aio_resfd: 0 },
      aio_lio_opcode: IOCB_CMD_PREAD,
      aio_flags: IOCB_FLAG_RESFD,
    });
    this.#request = new Uint32Array(request);
    this.#list = new BigUint64Array([addressOf(this.#request)]);
    this.#listAddress = addressOf(this.#list);
    // SAFETY: a context's number is the address of its ring, which stays there for ever.
    const ring = Deno.UnsafePointer.create(context)!;
    this.#ring = new Uint32Array(Deno.UnsafePointerView.getArrayBuffer(ring, AIO_RING_HEAD.size));
  }

  /**
   * Adds one to the count of an event descriptor. Neither allocates, throws nor waits.
   *
   * @param fd Its number.
   */
  signal(fd: number): void {
    this.#request[FILDES] = fd;
    this.#request[RESFD] = fd;
    this.#syscall(NUMBERS.io_submit, this.#context, 1n, this.#listAddress);
    // Nobody wants to know what came of the read.
    this.#ring[HEAD] = this.#ring[TAIL]!;
  }
}
