/**
 * What holds for every message ("Header", "Communication", "VHOST_USER_PROTOCOL_F_REPLY_ACK").
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ProtocolError } from "../../src/vhost_user/errors.ts";
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  MAX_TABLE_REGIONS,
  Request,
} from "../../src/vhost_user/numbers.ts";
import { REQUESTS } from "../../src/vhost_user/requests.ts";
import { BackendTrial, FakeDescriptor, numberOf } from "../support/backend_trial.ts";
import { memoryTable, NOTHING, ringState, u64 } from "../support/vhost_messages.ts";

/** Every request by number with its rule. */
const RULES = Object.values(Request).map((request) => ({ request, rule: REQUESTS[request] }));
/** Requests that bring an eventfd, or bit 8 instead. */
const EVENTFD_REQUESTS: readonly number[] = [
  Request.SET_VRING_KICK,
  Request.SET_VRING_CALL,
  Request.SET_VRING_ERR,
];
/** The most descriptors that the kernel passes with one message (SCM_MAX_FD). */
const MOST_DESCRIPTORS = 253;
/** Numbers of messages that exist and are not offered, one that never existed, and the extremes. */
const UNKNOWN = [0, 21, 22, 23, 24, 25, 26, 28, 31, 32, 33, 35, 41, 42, 46, 2 ** 31, 2 ** 32 - 1];

function takesEventFd(request: number): boolean {
  return EVENTFD_REQUESTS.includes(request);
}

function descriptors(count: number): FakeDescriptor[] {
  return Array.from({ length: count }, (_, i) => new FakeDescriptor(100 + i));
}

Deno.test("Backend answers with the request's number and exactly version 1 and the reply flag (Header)", () => {
  const trial = new BackendTrial().negotiate();
  for (const { request, rule } of RULES.filter(({ rule }) => rule.hasReply)) {
    const options = { flags: FLAG_NEED_REPLY, fds: descriptors(rule.fds[0]) };
    const reply = trial.say(request, new Uint8Array(rule.bytes[0]), options)!;
    strictEqual(reply.request, request);
    // NEED_REPLY must not be echoed: QEMU rejects anything but 0x5.
    strictEqual(reply.flags, 5);
    // One reply only, never an acknowledgement behind it.
    strictEqual(reply.payload.length, 8);
  }
});

Deno.test("Backend acknowledges every message without a reply of its own when asked (REPLY_ACK)", () => {
  for (const { request, rule } of RULES.filter(({ rule }) => !rule.hasReply)) {
    const trial = new BackendTrial().negotiate();
    const payload = takesEventFd(request) ? u64(0x100) : new Uint8Array(rule.bytes[0]);
    // Whether it is carried out or refused does not matter here.
    ok(trial.ask(request, payload, { fds: descriptors(rule.fds[0]) }) <= 1n, rule.name);
  }
});

Deno.test("Backend acknowledges with 0 what it carried out and not with 0 what it refused (REPLY_ACK)", () => {
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.ask(Request.SET_VRING_NUM, ringState(0, 256)), 0n);
  strictEqual(trial.ask(Request.SET_VRING_NUM, ringState(0, 3)), 1n);
  strictEqual(trial.refusals.length, 1);
});

Deno.test("Backend acknowledges only after the device has done its work (REPLY_ACK)", () => {
  const trial = new BackendTrial().negotiate();
  const order: string[] = [];
  trial.device.onCall = (call) => order.push(call);
  trial.ask(Request.SET_VRING_ENABLE, ringState(0, 1));
  order.push("acknowledged");
  deepStrictEqual(order, ["setRingEnabled 0 true", "acknowledged"]);
});

Deno.test("Backend says nothing when no acknowledgement is asked for (REPLY_ACK)", () => {
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.say(Request.SET_OWNER, NOTHING), null);
});

Deno.test("Backend ignores NEED_REPLY before REPLY_ACK is negotiated (F14)", () => {
  const trial = new BackendTrial();
  strictEqual(trial.say(Request.SET_OWNER, NOTHING, { flags: FLAG_NEED_REPLY }), null);
  trial.negotiate(1n);
  strictEqual(trial.say(Request.SET_OWNER, NOTHING, { flags: FLAG_NEED_REPLY }), null);
});

Deno.test("Backend ends the connection when it refuses a request that nobody acknowledges (R4)", () => {
  const trial = new BackendTrial();
  throws(() => trial.say(Request.SET_VRING_NUM, ringState(0, 3)), {
    name: "ProtocolError",
    message: /^SET_VRING_NUM: ring 0 cannot have 3 entries/,
  });
});

Deno.test("Backend refuses every message whose size is one less or one more than due (F08)", () => {
  const trial = new BackendTrial().negotiate();
  for (const { request, rule } of RULES) {
    for (const size of [rule.bytes[0] - 1, rule.bytes[1] + 1].filter((size) => size >= 0)) {
      throws(() => trial.say(request, new Uint8Array(size)), ProtocolError, rule.name);
    }
  }
  deepStrictEqual(trial.device.calls, []);
});

Deno.test("Backend refuses a message without payload where one is due (F06)", () => {
  const trial = new BackendTrial().negotiate();
  for (const { request, rule } of RULES.filter(({ rule }) => rule.bytes[0] > 0)) {
    throws(() => trial.say(request, NOTHING), ProtocolError, rule.name);
  }
});

Deno.test("Backend refuses unknown requests and goes on when they asked for an acknowledgement (F10, F84)", () => {
  const trial = new BackendTrial().negotiate();
  for (const request of UNKNOWN) strictEqual(trial.ask(request, NOTHING), 1n, `${request}`);
  strictEqual(trial.refusals.length, UNKNOWN.length);
});

Deno.test("Backend ends the connection on unknown requests that ask for nothing (F10)", () => {
  const trial = new BackendTrial().negotiate();
  for (const request of UNKNOWN) throws(() => trial.say(request, NOTHING), ProtocolError);
});

Deno.test("Backend ends the connection when a request is marked as a reply (F13)", () => {
  const trial = new BackendTrial().negotiate();
  for (const { request, rule } of RULES) {
    const flags = FLAG_REPLY | FLAG_NEED_REPLY;
    throws(() => trial.say(request, new Uint8Array(rule.bytes[0]), { flags }), ProtocolError);
  }
  deepStrictEqual(trial.device.calls, []);
});

Deno.test("Backend ignores reserved flags of the header (F12)", () => {
  const trial = new BackendTrial();
  const reply = trial.say(Request.GET_QUEUE_NUM - 2, NOTHING, { flags: 0xfffffff0 });
  ok(numberOf(reply, Request.GET_PROTOCOL_FEATURES) > 0n);
});

Deno.test("Backend closes a descriptor that a message must not carry (F23)", () => {
  const trial = new BackendTrial().negotiate();
  for (const { request, rule } of RULES.filter(({ rule }) => rule.fds[1] === 0)) {
    const fds = descriptors(1);
    throws(() => trial.say(request, new Uint8Array(rule.bytes[0]), { fds }), ProtocolError);
    strictEqual(fds[0]!.closed, 1, rule.name);
  }
  deepStrictEqual(trial.device.calls, []);
});

Deno.test("Backend closes every descriptor of a message that carries too many (F24)", () => {
  const trial = new BackendTrial().negotiate();
  for (const { request, rule } of RULES) {
    const fds = descriptors(MOST_DESCRIPTORS);
    throws(() => trial.say(request, new Uint8Array(rule.bytes[0]), { fds }), ProtocolError);
    ok(fds.every((fd) => fd.closed === 1), rule.name);
  }
});

Deno.test("Backend closes the descriptors of an unknown request (F10, F23)", () => {
  const trial = new BackendTrial().negotiate();
  const fds = descriptors(3);
  strictEqual(trial.ask(UNKNOWN[1]!, NOTHING, { fds }), 1n);
  ok(fds.every((fd) => fd.closed === 1));
});

Deno.test("Backend ends the connection when KICK, CALL or ERR lack their descriptor (F25, F26)", () => {
  for (const request of EVENTFD_REQUESTS) {
    const trial = new BackendTrial().negotiate().prepareRing(0);
    throws(() => trial.say(request, u64(0)), /0 descriptors, want 1/);
  }
});

Deno.test("Backend ends the connection when KICK, CALL or ERR bring a descriptor and deny it (F26)", () => {
  for (const request of EVENTFD_REQUESTS) {
    const trial = new BackendTrial().negotiate().prepareRing(0);
    const fds = descriptors(1);
    throws(() => trial.say(request, u64(0x100), { fds }), /1 descriptors, want 0/);
    strictEqual(fds[0]!.closed, 1);
  }
});

Deno.test("Backend accepts KICK, CALL and ERR that say they bring no descriptor (F26)", () => {
  const trial = new BackendTrial().negotiate().prepareRing(0);
  for (const request of [Request.SET_VRING_CALL, Request.SET_VRING_ERR, Request.SET_VRING_KICK]) {
    strictEqual(trial.ask(request, u64(0x100)), 0n);
  }
  deepStrictEqual(trial.device.setups.map(({ kick, call }) => [kick, call]), [[null, null]]);
});

Deno.test("Backend closes the descriptors of a memory table that ends the connection (F25, F39)", () => {
  const trial = new BackendTrial().negotiate();
  const region = { size: 4096n };
  for (const [regions, count] of [[2, 1], [1, 2], [1, 0], [MAX_TABLE_REGIONS, 7]] as const) {
    const fds = descriptors(count);
    const table = memoryTable(new Array(regions).fill(region));
    throws(() => trial.say(Request.SET_MEM_TABLE, table, { fds }), ProtocolError);
    ok(fds.every((fd) => fd.closed === 1));
  }
});
