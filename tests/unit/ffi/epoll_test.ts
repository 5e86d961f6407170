import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Epoll, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../../../ffi/epoll.ts";
import { EventFd } from "../../../ffi/eventfd.ts";
import { unixSocketPair } from "../../../ffi/unix_socket.ts";
import { descriptorState, isInUse } from "../../support/descriptors.ts";

/** Long enough for what is certain to happen, on a busy machine as well. */
const TIMEOUT_MS = 5000;

Deno.test("Epoll.create makes a set that programs do not inherit", () => {
  using epoll = Epoll.create();
  ok(descriptorState(epoll.fd.number).isCloseOnExec);
});

Deno.test("Epoll.wait returns 0 when nothing is ready in time", () => {
  using epoll = Epoll.create();
  using event = EventFd.create();
  epoll.add(event.fd.number, EPOLLIN, 1);
  strictEqual(epoll.wait(0), 0);
});

Deno.test("Epoll.wait reports token and events of a ready descriptor", () => {
  using epoll = Epoll.create();
  using event = EventFd.create(1);
  epoll.add(event.fd.number, EPOLLIN | EPOLLOUT, 0xffffffff);
  strictEqual(epoll.wait(TIMEOUT_MS), 1);
  strictEqual(epoll.token(0), 0xffffffff);
  strictEqual(epoll.events(0), EPOLLIN | EPOLLOUT);
});

Deno.test("Epoll.wait reports a peer that hung up", () => {
  using epoll = Epoll.create();
  const [left, right] = unixSocketPair();
  using _ = left;
  epoll.add(left.number, EPOLLIN | EPOLLRDHUP, 1);
  right.close();
  strictEqual(epoll.wait(TIMEOUT_MS), 1);
  strictEqual(epoll.events(0), EPOLLIN | EPOLLRDHUP | EPOLLHUP);
});

Deno.test("Epoll.wait reports 64 descriptors at a time and none twice before all had their turn", () => {
  using epoll = Epoll.create();
  const events = Array.from({ length: 100 }, () => EventFd.create(1));
  events.forEach((event, i) => epoll.add(event.fd.number, EPOLLIN | EPOLLET, i));
  const tokens: number[] = [];
  for (const count of [64, 36]) {
    strictEqual(epoll.wait(TIMEOUT_MS), count);
    for (let i = 0; i < count; i++) tokens.push(epoll.token(i));
  }
  deepStrictEqual(tokens.toSorted((a, b) => a - b), events.map((_, i) => i));
  for (const event of events) event.close();
});

Deno.test("Epoll.wait reports an edge-triggered descriptor once per signal", () => {
  using epoll = Epoll.create();
  using event = EventFd.create();
  epoll.add(event.fd.number, EPOLLIN | EPOLLET, 1);
  event.signal();
  strictEqual(epoll.wait(TIMEOUT_MS), 1);
  strictEqual(epoll.wait(0), 0);
  event.signal();
  strictEqual(epoll.wait(TIMEOUT_MS), 1);
});

Deno.test("Epoll.wait throws when the set is closed", () => {
  const epoll = Epoll.create();
  epoll[Symbol.dispose]();
  throws(() => epoll.wait(0), /it is closed/);
});

Deno.test("Epoll.modify changes events and token", () => {
  using epoll = Epoll.create();
  using event = EventFd.create();
  epoll.add(event.fd.number, EPOLLIN, 1);
  epoll.modify(event.fd.number, EPOLLOUT, 2);
  strictEqual(epoll.wait(TIMEOUT_MS), 1);
  deepStrictEqual([epoll.token(0), epoll.events(0)], [2, EPOLLOUT]);
});

Deno.test("Epoll.remove stops watching a descriptor", () => {
  using epoll = Epoll.create();
  using event = EventFd.create(1);
  epoll.add(event.fd.number, EPOLLIN, 1);
  epoll.remove(event.fd.number);
  strictEqual(epoll.wait(0), 0);
  throws(() => epoll.remove(event.fd.number), { name: "OsError", code: "ENOENT" });
});

Deno.test("Epoll.add throws EEXIST for a descriptor that it watches, EBADF for none", () => {
  using epoll = Epoll.create();
  using event = EventFd.create();
  epoll.add(event.fd.number, EPOLLIN, 1);
  throws(() => epoll.add(event.fd.number, EPOLLIN, 1), { name: "OsError", code: "EEXIST" });
  throws(() => epoll.add(-1, EPOLLIN, 1), { name: "OsError", code: "EBADF" });
});

Deno.test("Epoll.waitAsync resolves when a descriptor becomes ready, without holding the thread", async () => {
  using epoll = Epoll.create();
  using event = EventFd.create();
  epoll.add(event.fd.number, EPOLLIN, 7);
  const ready = epoll.waitAsync(TIMEOUT_MS);
  event.signal();
  strictEqual(await ready, 1);
  strictEqual(epoll.token(0), 7);
});

Deno.test("Epoll.waitAsync resolves with 0 when nothing is ready in time", async () => {
  using epoll = Epoll.create();
  strictEqual(await epoll.waitAsync(1), 0);
});

Deno.test("Epoll.borrow waits on the same set and does not close it", () => {
  using epoll = Epoll.create();
  using event = EventFd.create(1);
  epoll.add(event.fd.number, EPOLLIN, 3);
  {
    using borrowed = Epoll.borrow(epoll.fd.number);
    strictEqual(borrowed.wait(TIMEOUT_MS), 1);
    strictEqual(borrowed.token(0), 3);
  }
  ok(isInUse(epoll.fd.number));
});
