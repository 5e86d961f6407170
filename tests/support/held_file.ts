/**
 * A memory file whose lock its owner holds: it writes to the file from a page that it does not fill
 * itself (userfaultfd), and the kernel keeps the file's lock until somebody does.
 *
 * @module
 */
import { addressOf } from "../../ffi/address.ts";
import { OsError } from "../../ffi/errno.ts";
import { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import { createMemfd, PAGE_SIZE_BYTES } from "../../ffi/memory.ts";
import { type Fields, type Layout, struct, u64le, type Value } from "../../src/layout/struct.ts";
import { eventually } from "./eventually.ts";
import { Racer } from "./racer.ts";
import type { WaitingWriteRole } from "./waiting_write.ts";

/** Numbers of the system calls (asm/unistd_64.h, asm-generic/unistd.h). */
const NUMBERS = Deno.build.arch === "x86_64"
  ? { ioctl: 16n, munmap: 11n, userfaultfd: 323n }
  : { ioctl: 29n, munmap: 215n, userfaultfd: 282n };
// linux/userfaultfd.h
const UFFD_API = 0xaan;
const UFFDIO_API = 0xc018aa3fn;
const UFFDIO_REGISTER = 0xc020aa00n;
const UFFDIO_REGISTER_MODE_MISSING = 1n;
const MESSAGE_BYTES = 32;
/** struct uffdio_api. */
const API = struct("uffdio_api", 24, { api: u64le, features: u64le, ioctls: u64le });
/** struct uffdio_register. */
const REGISTER = struct("uffdio_register", 32, {
  start: u64le,
  len: u64le,
  mode: u64le,
  ioctls: u64le,
});
const PAGE = BigInt(PAGE_SIZE_BYTES);
// bits/fcntl-linux.h, bits/mman-linux.h
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** Such a file. Disposing lets go of it. */
export class HeldFile implements AsyncDisposable {
  /** The file; this object owns it. */
  readonly file: Fd;
  readonly #faults: Fd;
  readonly #page: bigint;
  readonly #writer = new Racer<WaitingWriteRole>("waiting_write.ts");
  #isWriting = false;

  private constructor(file: Fd, faults: Fd, page: bigint) {
    this.file = file;
    this.#faults = faults;
    this.#page = page;
  }

  /** Makes one, and waits until its lock is held. */
  static async open(sizeBytes: number): Promise<HeldFile> {
    const page = libc().mmap(0n, PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    const held = new HeldFile(createMemfd("labswitch-held", sizeBytes), openFaults(), page);
    try {
      await held.#hold();
      return held;
    } catch (error) {
      await held[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Lets go of the lock: the page becomes one like all others. */
  async release(): Promise<void> {
    this.#faults.close();
    if (this.#isWriting) await this.#writer.end();
    this.#isWriting = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
    this.#writer[Symbol.dispose]();
    this.file.close();
    libc().syscall(NUMBERS.munmap, this.#page, PAGE, 0n);
  }

  async #hold(): Promise<void> {
    control(this.#faults, UFFDIO_API, API, { api: UFFD_API, features: 0n, ioctls: 0n });
    control(this.#faults, UFFDIO_REGISTER, REGISTER, {
      ...{ start: this.#page, len: PAGE, ioctls: 0n },
      mode: UFFDIO_REGISTER_MODE_MISSING,
    });
    await this.#writer.begin({ fd: this.file.number, address: this.#page, bytes: 1n });
    this.#isWriting = true;
    const message = new Uint8Array(MESSAGE_BYTES);
    const read = () => libc().read(this.#faults.number, message, BigInt(MESSAGE_BYTES));
    await eventually("the write waits for its page", () => read() > 0n || null);
  }
}

/** Says what is missing to make one; `undefined` when nothing is. */
export function missingUserFaults(): string | undefined {
  try {
    openFaults().close();
    return undefined;
  } catch (error) {
    if (!(error instanceof OsError)) throw error;
    return "userfaultfd for users other than root";
  }
}

function control<F extends Fields>(fd: Fd, request: bigint, layout: Layout<F>, value: Value<F>) {
  const argument = new Uint8Array(layout.size);
  layout.write(new DataView(argument.buffer), 0, value);
  const result = libc().syscall(NUMBERS.ioctl, BigInt(fd.number), request, addressOf(argument));
  if (result < 0) throw new OsError(`set up a userfaultfd (${layout.name})`);
}

function openFaults(): Fd {
  const flags = BigInt(O_CLOEXEC | O_NONBLOCK);
  const number = libc().syscall(NUMBERS.userfaultfd, flags, 0n, 0n);
  if (number < 0) throw new OsError("open a userfaultfd");
  return Fd.adopt(number);
}
