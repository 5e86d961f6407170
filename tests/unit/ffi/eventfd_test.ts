import { deepStrictEqual, notStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { join } from "node:path";
import { acquireContext, releaseContext } from "../../../ffi/aio.ts";
import {
  EventFd,
  prepareEventFd,
  relieveEventFd,
  signalBeside,
  signalEventFd,
  Signaller,
} from "../../../ffi/eventfd.ts";
import { Fd } from "../../../ffi/fd.ts";
import { libc } from "../../../ffi/libc.ts";
import { createMemfd } from "../../../ffi/memory.ts";
import { unixSocketPair } from "../../../ffi/unix_socket.ts";
import { eventually } from "../../support/eventually.ts";
import { countDescriptors } from "../../support/leaks.ts";
import { descriptorState, isInUse, openFile } from "../../support/descriptors.ts";

/** The largest count that an eventfd can hold (man 2 eventfd). */
const MAX_COUNT = 0xfffffffffffffffen;
const MANY = 5000;

/** An eventfd as a careless peer makes it: writing a full one waits. */
function blockingEventFd(): Fd {
  return Fd.adopt(libc().eventfd(0, 0));
}

/** Writes a count by hand, which `signal` does only in steps of one. */
function add(fd: Fd, count: bigint): void {
  libc().write(fd.number, new Uint8Array(new BigUint64Array([count]).buffer), 8n);
}

Deno.test("EventFd.create makes a non-blocking descriptor that programs do not inherit", () => {
  using event = EventFd.create();
  deepStrictEqual(descriptorState(event.fd.number), { isCloseOnExec: true, isNonBlocking: true });
});

Deno.test("EventFd.drain returns what was signalled and sets it to zero", () => {
  using event = EventFd.create(3);
  event.signal();
  event.signal();
  strictEqual(event.drain(), 5n);
  strictEqual(event.drain(), 0n);
});

Deno.test("EventFd.signal neither waits nor throws when the count is full", () => {
  using event = EventFd.create();
  add(event.fd, MAX_COUNT);
  event.signal();
  strictEqual(event.drain(), MAX_COUNT);
});

Deno.test("EventFd.close closes the descriptor", () => {
  const event = EventFd.create();
  const { number } = event.fd;
  event.close();
  ok(!isInUse(number));
  throws(() => event.signal(), /it is closed/);
});

Deno.test("prepareEventFd accepts an eventfd and makes it non-blocking", () => {
  using fd = blockingEventFd();
  strictEqual(descriptorState(fd.number).isNonBlocking, false);
  strictEqual(prepareEventFd(fd), true);
  strictEqual(descriptorState(fd.number).isNonBlocking, true);
});

Deno.test("prepareEventFd leaves the count and the ownership alone", () => {
  using event = EventFd.create(2);
  strictEqual(prepareEventFd(event.fd), true);
  strictEqual(event.drain(), 2n);
});

Deno.test("prepareEventFd refuses memory files, sockets, folders and devices", () => {
  using memory = createMemfd("anon_inode:[eventfd]", 8);
  const [left, right] = unixSocketPair();
  using folder = openFile("/proc", "r");
  using device = openFile("/dev/zero", "r+");
  for (const fd of [memory, left, right, folder, device]) strictEqual(prepareEventFd(fd), false);
  left.close();
  right.close();
});

Deno.test("prepareEventFd refuses pipes and files that bear an eventfd's name", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  try {
    const fifo = join(folder, "fifo");
    await new Deno.Command("mkfifo", { args: [fifo] }).output();
    using pipe = openFile(fifo, "r+");
    strictEqual(prepareEventFd(pipe), false);
    using file = openFile(join(folder, "anon_inode:[eventfd]"), "w");
    strictEqual(prepareEventFd(file), false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Every test signals through the same. */
const context = acquireContext();

Deno.test("Signaller.signal adds one to a count by the descriptor's number", () => {
  using event = EventFd.create();
  const signaller = new Signaller(context);
  for (let i = 0; i < 3; i++) signaller.signal(event.fd.number);
  strictEqual(event.drain(), 3n);
});

Deno.test("Signaller.signal does not throw when the descriptor is bad, and goes on", () => {
  using event = EventFd.create();
  using memory = createMemfd("signaller-test", 8);
  const signaller = new Signaller(context);
  for (const number of [-1, 1_000_000, memory.number]) signaller.signal(number);
  signaller.signal(event.fd.number);
  strictEqual(event.drain(), 1n);
});

Deno.test("Signaller.signal works more often than its kernel ring has entries", () => {
  using event = EventFd.create();
  const signaller = new Signaller(context);
  for (let i = 0; i < MANY; i++) signaller.signal(event.fd.number);
  strictEqual(event.drain(), BigInt(MANY));
});

Deno.test("signalBeside does not wait for a full count, and signals when there is room", async () => {
  using fd = blockingEventFd();
  add(fd, MAX_COUNT);
  signalBeside(fd.number);
  const count = new BigUint64Array(1);
  libc().read(fd.number, new Uint8Array(count.buffer), 8n);
  strictEqual(count[0], MAX_COUNT);
  prepareEventFd(fd);
  const signalled = () =>
    libc().read(fd.number, new Uint8Array(count.buffer), 8n) === 8n ? count[0]! : null;
  strictEqual(await eventually("the signal", signalled), 1n);
});

Deno.test("signalBeside leaves no descriptor, and a closed one alone", async () => {
  using event = EventFd.create();
  const before = countDescriptors();
  signalBeside(event.fd.number);
  signalBeside(1_000_000);
  await eventually("no duplicate is left", () => countDescriptors() === before || null);
  strictEqual(event.drain(), 1n);
});

for (
  const [name, signal] of [["Signaller.signal", viaSignaller], [
    "signalEventFd",
    signalEventFd,
  ]] as const
) {
  Deno.test(`${name} does not wait for a full count that may be waited for (F33, F34)`, () => {
    using fd = blockingEventFd();
    add(fd, MAX_COUNT);
    for (let i = 0; i < 3; i++) signal(fd.number);
    // Nothing was changed to make that so: a peer could change it back.
    strictEqual(descriptorState(fd.number).isNonBlocking, false);
    const count = new BigUint64Array(1);
    libc().read(fd.number, new Uint8Array(count.buffer), 8n);
    strictEqual(count[0], MAX_COUNT + 1n);
  });
}

Deno.test("relieveEventFd empties a count, keeps a signal, and does not wait", () => {
  using fd = blockingEventFd();
  relieveEventFd(fd.number);
  add(fd, MAX_COUNT);
  relieveEventFd(fd.number);
  const count = new BigUint64Array(1);
  libc().read(fd.number, new Uint8Array(count.buffer), 8n);
  strictEqual(count[0], 1n);
});

function viaSignaller(fd: number): void {
  const signaller = new Signaller(context);
  signaller.signal(fd);
}

Deno.test("Signaller works without a context, as far as its peers let it", () => {
  using event = EventFd.create();
  new Signaller(null).signal(event.fd.number);
  strictEqual(event.drain(), 1n);
});

Deno.test("acquireContext gives a context again that was released", () => {
  const first = acquireContext();
  const second = acquireContext();
  notStrictEqual(first, second);
  releaseContext(second);
  strictEqual(acquireContext(), second);
  releaseContext(first);
  releaseContext(second);
});
