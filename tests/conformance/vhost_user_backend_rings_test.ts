/**
 * The two bits of a ring and the messages that move them ("Ring states", VHOST_USER_SET_VRING_*,
 * VHOST_USER_GET_VRING_BASE).
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Request } from "../../src/vhost_user/numbers.ts";
import { ADDRESSES, BackendTrial, FakeDescriptor } from "../support/backend_trial.ts";
import { ringAddress, ringState, u64 } from "../support/vhost_messages.ts";

function trial(): BackendTrial {
  return new BackendTrial().negotiate();
}

Deno.test("Backend starts a ring with what it was told when the kick arrives (VHOST_USER_SET_VRING_KICK)", () => {
  const ring = trial();
  ring.say(Request.SET_VRING_NUM, ringState(1, 1024));
  ring.say(Request.SET_VRING_BASE, ringState(1, 0xffff));
  ring.say(Request.SET_VRING_ADDR, ringAddress(1, ADDRESSES));
  const [kick, call] = [new FakeDescriptor(5), new FakeDescriptor(6)];
  strictEqual(ring.ask(Request.SET_VRING_CALL, u64(1), { fds: [call] }), 0n);
  deepStrictEqual(ring.device.calls, []);
  strictEqual(ring.ask(Request.SET_VRING_KICK, u64(1), { fds: [kick] }), 0n);
  deepStrictEqual(ring.device.calls, ["startRing 1"]);
  deepStrictEqual(ring.device.setups, [{
    size: 1024,
    base: 0xffff,
    descAddress: ADDRESSES.desc,
    availAddress: ADDRESSES.avail,
    usedAddress: ADDRESSES.used,
    kick,
    call,
  }]);
  ok(kick.isOpen && call.isOpen);
});

Deno.test("Backend starts a ring that has no call eventfd (VHOST_USER_SET_VRING_KICK)", () => {
  const ring = trial().prepareRing(0);
  strictEqual(ring.ask(Request.SET_VRING_KICK, u64(0), { fds: [new FakeDescriptor()] }), 0n);
  strictEqual(ring.device.setups[0]!.call, null);
});

Deno.test("Backend refuses a kick before address or size, and starts nothing (F75)", () => {
  const ring = trial();
  const kick = () => {
    const fd = new FakeDescriptor();
    strictEqual(ring.ask(Request.SET_VRING_KICK, u64(0), { fds: [fd] }), 1n);
    strictEqual(fd.closed, 1);
  };
  kick();
  ring.say(Request.SET_VRING_NUM, ringState(0, 256));
  kick();
  const other = trial();
  other.say(Request.SET_VRING_ADDR, ringAddress(0, ADDRESSES));
  strictEqual(other.ask(Request.SET_VRING_KICK, u64(0x100)), 1n);
  deepStrictEqual([...ring.device.calls, ...other.device.calls], []);
});

Deno.test("Backend keeps a ring stopped when the device refuses to start it", () => {
  const ring = trial().prepareRing(0);
  ring.device.refused = "startRing";
  const first = new FakeDescriptor();
  strictEqual(ring.ask(Request.SET_VRING_KICK, u64(0), { fds: [first] }), 1n);
  ring.device.refused = null;
  strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, 128)), 0n);
  strictEqual(ring.ask(Request.SET_VRING_KICK, u64(0), { fds: [new FakeDescriptor()] }), 0n);
  deepStrictEqual(ring.device.calls, ["startRing 0"]);
  strictEqual(first.closed, 1);
});

Deno.test("Backend stops a ring on GET_VRING_BASE and answers its base (VHOST_USER_GET_VRING_BASE)", () => {
  const ring = trial();
  const { kick, call } = ring.startRing(2);
  ring.device.base = 0x1234;
  // The descriptors may go only when nothing uses them any more.
  ring.device.onCall = () => ok(kick.isOpen && call.isOpen);
  strictEqual(ring.stopRing(2), 0x1234);
  deepStrictEqual(ring.device.calls, ["startRing 2", "stopRing 2"]);
  deepStrictEqual([kick.closed, call.closed], [1, 1]);
});

Deno.test("Backend does not touch the enabled bit on GET_VRING_BASE (Ring states)", () => {
  const ring = trial();
  ring.startRing(0);
  ring.say(Request.SET_VRING_ENABLE, ringState(0, 1));
  ring.stopRing(0);
  ok(!ring.device.calls.includes("setRingEnabled 0 false"));
});

Deno.test("Backend answers GET_VRING_BASE of a ring that never started and starts nothing later (F77)", () => {
  const ring = trial().prepareRing(0);
  ring.say(Request.SET_VRING_BASE, ringState(0, 77));
  strictEqual(ring.stopRing(0), 77);
  strictEqual(ring.ask(Request.SET_VRING_ENABLE, ringState(0, 1)), 0n);
  deepStrictEqual(ring.device.calls, ["setRingEnabled 0 true"]);
});

Deno.test("Backend answers GET_VRING_BASE twice with the same base (F78)", () => {
  const ring = trial();
  ring.startRing(0);
  ring.device.base = 9;
  strictEqual(ring.stopRing(0), 9);
  strictEqual(ring.stopRing(0), 9);
  deepStrictEqual(ring.device.calls, ["startRing 0", "stopRing 0"]);
});

Deno.test("Backend starts a ring again where it stopped (VHOST_USER_GET_VRING_BASE)", () => {
  const ring = trial();
  ring.startRing(0);
  ring.device.base = 9;
  ring.stopRing(0);
  ring.say(Request.SET_VRING_KICK, u64(0x100));
  strictEqual(ring.device.setups[1]!.base, 9);
});

Deno.test("Backend starts and stops the rings of a pair independently (Ring states)", () => {
  const ring = trial();
  ring.startRing(0);
  ring.startRing(1);
  ring.stopRing(0);
  deepStrictEqual(ring.device.calls, ["startRing 0", "startRing 1", "stopRing 0"]);
});

Deno.test("Backend leaves gaps where a front-end announces only some rings (VHOST_USER_SET_VRING_KICK)", () => {
  const ring = trial();
  ring.startRing(3);
  deepStrictEqual(ring.device.calls, ["startRing 3"]);
});

Deno.test("Backend stops a running ring before it starts it with a new kick (F80)", () => {
  const ring = trial();
  const { kick } = ring.startRing(1);
  ring.device.base = 40;
  const next = new FakeDescriptor(7);
  strictEqual(ring.ask(Request.SET_VRING_KICK, u64(1), { fds: [next] }), 0n);
  deepStrictEqual(ring.device.calls, ["startRing 1", "stopRing 1", "startRing 1"]);
  strictEqual(ring.device.setups[1]!.base, 40);
  strictEqual(ring.device.setups[1]!.kick, next);
  deepStrictEqual([kick.closed, next.closed], [1, 0]);
});

Deno.test("Backend swaps the call of a running ring and closes the old one afterwards (F80)", () => {
  const ring = trial();
  const { call } = ring.startRing(0);
  ring.device.onCall = () => ok(call.isOpen);
  const next = new FakeDescriptor(8);
  strictEqual(ring.ask(Request.SET_VRING_CALL, u64(0), { fds: [next] }), 0n);
  deepStrictEqual(ring.device.calls, ["startRing 0", "setCall 0 8"]);
  deepStrictEqual([call.closed, next.closed], [1, 0]);
  ring.device.onCall = () => ok(next.isOpen);
  strictEqual(ring.ask(Request.SET_VRING_CALL, u64(0x100)), 0n);
  strictEqual(ring.device.calls.at(-1), "setCall 0 none");
  strictEqual(next.closed, 1);
});

Deno.test("Backend keeps the old call when the device refuses the new one", () => {
  const ring = trial();
  const { call } = ring.startRing(0);
  ring.device.refused = "setCall";
  const next = new FakeDescriptor(8);
  strictEqual(ring.ask(Request.SET_VRING_CALL, u64(0), { fds: [next] }), 1n);
  deepStrictEqual([call.closed, next.closed], [0, 1]);
});

Deno.test("Backend keeps one error eventfd per ring and closes the one before (VHOST_USER_SET_VRING_ERR)", () => {
  const ring = trial();
  const [first, second] = [new FakeDescriptor(1), new FakeDescriptor(2)];
  for (const fd of [first, second]) {
    strictEqual(ring.ask(Request.SET_VRING_ERR, u64(0), { fds: [fd] }), 0n);
  }
  deepStrictEqual([first.closed, second.closed], [1, 0]);
  deepStrictEqual(ring.device.calls, []);
});

Deno.test("Backend passes on enabled and disabled, started or not (VHOST_USER_SET_VRING_ENABLE)", () => {
  const ring = trial();
  strictEqual(ring.ask(Request.SET_VRING_ENABLE, ringState(0, 1)), 0n);
  ring.startRing(0);
  strictEqual(ring.ask(Request.SET_VRING_ENABLE, ringState(0, 0)), 0n);
  deepStrictEqual(ring.device.calls, [
    "setRingEnabled 0 true",
    "startRing 0",
    "setRingEnabled 0 false",
  ]);
  strictEqual(ring.ask(Request.SET_VRING_ENABLE, ringState(0, 2)), 1n);
});

Deno.test("Backend.close stops running rings and then closes every descriptor", () => {
  const ring = trial();
  const { kick, call } = ring.startRing(0);
  const err = new FakeDescriptor(9);
  ring.say(Request.SET_VRING_ERR, u64(0), { fds: [err] });
  const early = new FakeDescriptor(10);
  ring.say(Request.SET_VRING_CALL, u64(3), { fds: [early] });
  ring.device.onCall = () => ok(kick.isOpen && call.isOpen);
  ring.backend.close();
  deepStrictEqual(ring.device.calls, ["startRing 0", "stopRing 0"]);
  deepStrictEqual([kick, call, err, early].map((fd) => fd.closed), [1, 1, 1, 1]);
  ring.backend.close();
  deepStrictEqual([kick, call, err, early].map((fd) => fd.closed), [1, 1, 1, 1]);
});
