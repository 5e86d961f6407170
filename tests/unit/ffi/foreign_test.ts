import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../../ffi/eventfd.ts";
import { ForeignDescriptors } from "../../../ffi/foreign.ts";
import { createMemfd } from "../../../ffi/memory.ts";
import { unixSocketPair } from "../../../ffi/unix_socket.ts";
import { isInUse, openFile } from "../../support/descriptors.ts";
import { nextTurn } from "../../support/eventually.ts";
import { connectLingering } from "../../support/lingering_socket.ts";

const LINGER_SECONDS = 10;

Deno.test("ForeignDescriptors closes eventfds and memory files at once", () => {
  const foreign = new ForeignDescriptors();
  for (const number of [EventFd.create().fd.release(), createMemfd("foreign-test", 1).release()]) {
    const fd = foreign.adopt(number);
    strictEqual(fd.number, number);
    fd.close();
    ok(!isInUse(number));
    strictEqual(foreign.isClosing, false);
  }
});

Deno.test("ForeignDescriptors closes everything else on another thread", async () => {
  const foreign = new ForeignDescriptors();
  const numbers = [
    ...unixSocketPair().map((fd) => fd.release()),
    openFile("/proc/self/status", "r").release(),
  ];
  for (const number of numbers) {
    const fd = foreign.adopt(number);
    fd.close();
    fd.close();
    strictEqual(fd.isOpen, false);
  }
  ok(foreign.isClosing);
  await foreign.closed();
  strictEqual(foreign.isClosing, false);
  deepStrictEqual(numbers.map(isInUse), [false, false, false]);
});

Deno.test("ForeignDescriptors closes one by one, so that one that waits holds up only its own kind", async () => {
  const { socket, peer } = await connectLingering(LINGER_SECONDS);
  const [slow, other] = [new ForeignDescriptors(), new ForeignDescriptors()];
  const behind = openFile("/proc/self/status", "r").release();
  slow.adopt(socket.release()).close();
  slow.adopt(behind).close();
  const elsewhere = openFile("/proc/self/status", "r").release();
  other.adopt(elsewhere).close();
  await other.closed();
  await nextTurn();
  deepStrictEqual([isInUse(elsewhere), isInUse(behind), slow.isClosing], [false, true, true]);
  peer.close();
  await slow.closed();
  strictEqual(isInUse(behind), false);
});
