import { match, ok, strictEqual, throws } from "node:assert/strict";
import { EventFd } from "../../../ffi/eventfd.ts";
import { readProcFile, readProcLink } from "../../../ffi/proc.ts";
import { countDescriptors } from "../../support/leaks.ts";

Deno.test("readProcLink tells what a descriptor is", () => {
  using event = EventFd.create();
  strictEqual(readProcLink(`/proc/self/fd/${event.fd.number}`), "anon_inode:[eventfd]");
});

Deno.test("readProcLink names the path that it cannot read", () => {
  throws(
    () => readProcLink("/proc/self/fd/-1"),
    /Cannot read the link \/proc\/self\/fd\/-1: ENOENT/,
  );
  throws(() => readProcLink("/proc/self/comm"), /\/proc\/self\/comm: EINVAL/);
});

Deno.test("readProcFile reads a file whole, however long, and closes it", () => {
  const before = countDescriptors();
  strictEqual(readProcFile("/proc/self/maps").split(" ")[0]!.includes("-"), true);
  ok(readProcFile("/proc/kallsyms").length > 100_000);
  match(readProcFile("/proc/self/cmdline"), /\0/);
  strictEqual(countDescriptors(), before);
});

Deno.test("readProcFile names the path that it cannot read", () => {
  throws(() => readProcFile("/proc/self/none"), /Cannot open \/proc\/self\/none: ENOENT/);
});
