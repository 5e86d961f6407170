import { deepStrictEqual, throws } from "node:assert/strict";
import { keepThreadOn, MAX_PROCESSORS, threadProcessors } from "../../../ffi/affinity.ts";
import { OsError } from "../../../ffi/errno.ts";

Deno.test("threadProcessors says what the kernel says of this thread", () => {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(
    Deno.readTextFileSync("/proc/thread-self/status"),
  );
  const ranges = list![1]!.split(",").map((range) => range.split("-").map(Number));
  const want = ranges.flatMap(([first = 0, last = first]) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i)
  );
  deepStrictEqual(threadProcessors(), want);
});

Deno.test("keepThreadOn keeps the thread on one processor, or on several", () => {
  const before = threadProcessors();
  try {
    for (const processor of before) {
      keepThreadOn([processor]);
      deepStrictEqual(threadProcessors(), [processor]);
    }
  } finally {
    keepThreadOn(before);
  }
  deepStrictEqual(threadProcessors(), before);
});

Deno.test("keepThreadOn throws EINVAL for a processor that is not there, and changes nothing", () => {
  const before = threadProcessors();
  const absent = MAX_PROCESSORS - 1;
  throws(
    () => keepThreadOn([absent]),
    (error: unknown) =>
      error instanceof OsError && error.code === "EINVAL" &&
      error.message.startsWith(`Cannot run a thread on processor ${absent}: `),
  );
  deepStrictEqual(threadProcessors(), before);
});
