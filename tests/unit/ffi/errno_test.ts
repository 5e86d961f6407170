import { strictEqual, throws } from "node:assert/strict";
import { check, EAGAIN, errno, OsError } from "../../../ffi/errno.ts";
import { libc } from "../../../ffi/libc.ts";

/** No call accepts it. */
const BAD_FD = -1;
const EBADF = 9;

Deno.test("OsError says what failed, the error's name and its meaning", () => {
  const error = new OsError("open the door", 13);
  strictEqual(error.message, "Cannot open the door: EACCES (permission denied)");
  strictEqual(error.name, "OsError");
  strictEqual(error.code, "EACCES");
  strictEqual(error.errno, 13);
});

Deno.test("OsError names an unknown error by its number", () => {
  strictEqual(new OsError("wait", 4095).message, "Cannot wait: E4095 (unknown error)");
});

Deno.test("OsError takes the number of the last failed call when none is given", () => {
  libc().close(BAD_FD);
  strictEqual(new OsError("close nothing").code, "EBADF");
});

Deno.test("errno returns the number of the last failed call of this thread", () => {
  libc().close(BAD_FD);
  strictEqual(errno(), EBADF);
  libc().epoll_create1(BAD_FD);
  strictEqual(new OsError("x", errno()).code, "EINVAL");
});

Deno.test("check returns a result that is not negative", () => {
  strictEqual(check(0, "do it"), 0);
  strictEqual(check(7, "do it"), 7);
});

Deno.test("check throws the error of a call that returned -1", () => {
  throws(() => check(libc().close(BAD_FD), "close nothing"), {
    name: "OsError",
    message: "Cannot close nothing: EBADF (bad file descriptor)",
  });
});

Deno.test("EAGAIN is named as the kernel names it", () => {
  strictEqual(new OsError("read", EAGAIN).code, "EAGAIN");
});
