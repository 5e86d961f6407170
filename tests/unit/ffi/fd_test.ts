import { ok, strictEqual, throws } from "node:assert/strict";
import { Fd } from "../../../ffi/fd.ts";
import { createMemfd } from "../../../ffi/memory.ts";
import { descriptorState, isInUse } from "../../support/descriptors.ts";

/** A descriptor number that nothing in a test run reaches. */
const NEVER_OPEN = 1_000_000;

Deno.test("Fd.close closes the descriptor", () => {
  const fd = createMemfd("fd-test", 0);
  const { number } = fd;
  ok(isInUse(number));
  fd.close();
  strictEqual(fd.isOpen, false);
  ok(!isInUse(number));
});

Deno.test("Fd.close does nothing the second time, whoever has the number by then", () => {
  const first = createMemfd("fd-test", 0);
  const { number } = first;
  first.close();
  using second = createMemfd("fd-test", 0);
  strictEqual(second.number, number);
  first.close();
  ok(isInUse(number));
});

Deno.test("Fd.number throws after the descriptor was closed", () => {
  const fd = createMemfd("fd-test", 0);
  fd.close();
  throws(() => fd.number, /Cannot use a descriptor: it is closed/);
});

Deno.test("Fd.release gives the descriptor away without closing it", () => {
  const fd = createMemfd("fd-test", 0);
  const number = fd.release();
  using owner = Fd.adopt(number);
  fd.close();
  strictEqual(fd.isOpen, false);
  ok(isInUse(owner.number));
  throws(() => fd.release(), /it is closed/);
});

Deno.test("Fd.duplicate makes a descriptor that outlives the first", () => {
  const first = createMemfd("fd-test", 0);
  using second = first.duplicate();
  first.close();
  ok(Deno.readLinkSync(`/proc/self/fd/${second.number}`).startsWith("/memfd:fd-test"));
});

Deno.test("Fd.duplicate makes a descriptor that programs do not inherit", () => {
  using first = createMemfd("fd-test", 0);
  using second = first.duplicate();
  ok(descriptorState(second.number).isCloseOnExec);
});

Deno.test("Fd.duplicate throws EBADF when the number is nobody's", () => {
  const stray = Fd.adopt(NEVER_OPEN);
  throws(() => stray.duplicate(), { name: "OsError", code: "EBADF" });
});

Deno.test("Fd is closed at the end of its block", () => {
  let number: number;
  {
    using fd = createMemfd("fd-test", 0);
    number = fd.number;
  }
  ok(!isInUse(number));
});
