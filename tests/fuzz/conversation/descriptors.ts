/**
 * The odd descriptors that conversations name: opened once, because a conversation takes less time
 * than opening them does. All attackers share them, and the switch gets duplicates.
 *
 * @module
 */
import { join } from "node:path";
import { check } from "../../../ffi/errno.ts";
import { Epoll } from "../../../ffi/epoll.ts";
import { Fd } from "../../../ffi/fd.ts";
import { libc } from "../../../ffi/libc.ts";
import { addSeals, createMemfd, F_SEAL_WRITE } from "../../../ffi/memory.ts";
import { unixSocketPair } from "../../../ffi/unix_socket.ts";
import { openFile } from "../../support/descriptors.ts";
import { FILE_BYTES } from "./layout.ts";
import type { ODD_DESCRIPTORS } from "./plan.ts";

/** The name of every memory file that an attacker opens, as /proc/PID/maps shows it. */
export const MEMORY_NAME = "labswitch-conversation";

/** Where tmpfs is (file-hierarchy(7)). */
const TMPFS_FOLDER = "/dev/shm";
/** Larger than anything that a port can map, and almost all of it a hole. */
const HUGE_BYTES = 1n << 40n;
/** What a pipe holds unless told otherwise (pipe(7)). */
const PIPE_BYTES = 65536;
// bits/eventfd.h
const EFD_SEMAPHORE = 1;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
// bits/fcntl-linux.h
const F_SETFL = 4;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
/** The largest count that an eventfd can have: adding to it must wait. */
const FULL_COUNT = (1n << 64n) - 2n;
const COUNT_BYTES = 8n;

/** What kind of file a guest's memory is. */
export type MemoryKind = "memfd" | "tmpfs";

type OddName = typeof ODD_DESCRIPTORS[number];

/** Makes a file for a guest's memory. */
export function openMemory(kind: MemoryKind): Fd {
  if (kind === "memfd") return createMemfd(MEMORY_NAME, FILE_BYTES);
  const path = Deno.makeTempFileSync({ dir: TMPFS_FOLDER, prefix: MEMORY_NAME });
  try {
    Deno.truncateSync(path, FILE_BYTES);
    return openFile(path, "r+");
  } finally {
    Deno.removeSync(path);
  }
}

/** Opens them all; disposing closes them. */
export class OddDescriptors implements Disposable {
  readonly #all = new Map<OddName, Fd>();
  readonly #stack = new DisposableStack();

  /** @param folder Where plain files and FIFOs may be made; the caller removes it. */
  constructor(folder: string) {
    try {
      this.#openMemory();
      this.#openFiles(folder);
      this.#openEvents();
    } catch (error) {
      this.#stack.dispose();
      throw error;
    }
  }

  /** A descriptor, in the state that its name says; it stays this object's. */
  get(name: OddName): Fd {
    const fd = this.#all.get(name)!;
    if (name === "full eventfd") fill(fd, O_NONBLOCK);
    if (name === "full waiting eventfd") fill(fd, 0);
    return fd;
  }

  /**
   * Makes the eventfd that waits when it is full do so again: whoever shares it has the same right
   * to choose (F34).
   */
  trap(): void {
    this.get("full waiting eventfd");
  }

  /** Closes all. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #keep(name: OddName, fd: Fd): Fd {
    this.#all.set(name, this.#stack.use(fd));
    return fd;
  }

  #openMemory(): void {
    const memory = (bytes: number | bigint, sealable = true) =>
      createMemfd(MEMORY_NAME, bytes, { sealable });
    this.#keep("second memory", memory(FILE_BYTES));
    this.#keep("unsealable memory", memory(FILE_BYTES, false));
    this.#keep("small memory", memory(FILE_BYTES / 16));
    this.#keep("empty memory", memory(0));
    this.#keep("huge memory", memory(HUGE_BYTES));
    this.#keep("tmpfs memory", openMemory("tmpfs"));
    addSeals(this.#keep("write-sealed memory", memory(FILE_BYTES)), F_SEAL_WRITE);
    using writable = memory(FILE_BYTES);
    this.#keep("read-only memory", openFile(`/proc/self/fd/${writable.number}`, "r"));
  }

  #openFiles(folder: string): void {
    const path = join(folder, "file");
    Deno.writeFileSync(path, new Uint8Array(FILE_BYTES));
    this.#keep("file", openFile(path, "r+"));
    this.#keep("folder", openFile(folder, "r"));
    this.#keep("zero device", openFile("/dev/zero", "r+"));
    this.#keep("null device", openFile("/dev/null", "r+"));
    const [one, other] = unixSocketPair();
    this.#keep("socket", one);
    this.#stack.use(other);
    this.#keep("epoll set", this.#stack.use(Epoll.create()).fd);
    this.#keep("pipe", openPipe(join(folder, "pipe")));
    const full = this.#keep("full pipe", openPipe(join(folder, "full-pipe")));
    libc().write(full.number, new Uint8Array(PIPE_BYTES), BigInt(PIPE_BYTES));
  }

  #openEvents(): void {
    const event = (flags: number) =>
      Fd.adopt(check(libc().eventfd(0, EFD_CLOEXEC | flags), "create an eventfd"));
    this.#keep("full eventfd", event(EFD_NONBLOCK));
    this.#keep("full waiting eventfd", event(EFD_NONBLOCK));
    this.#keep("semaphore", event(EFD_NONBLOCK | EFD_SEMAPHORE));
  }
}

// Opened for both directions, a FIFO is a pipe whose ends are one descriptor.
function openPipe(path: string): Fd {
  const { success } = new Deno.Command("mkfifo", { args: [path] }).outputSync();
  if (!success) throw new Error(`Cannot make the FIFO ${path}`);
  return openFile(path, "r+");
}

function fill(event: Fd, flags: number): void {
  setFlags(event, O_NONBLOCK);
  libc().read(event.number, new Uint8Array(8), COUNT_BYTES);
  const count = new Uint8Array(new BigUint64Array([FULL_COUNT]).buffer);
  libc().write(event.number, count, COUNT_BYTES);
  setFlags(event, flags);
}

function setFlags(event: Fd, flags: number): void {
  check(libc().fcntl(event.number, F_SETFL, O_RDWR | flags), "set the flags of an eventfd");
}
