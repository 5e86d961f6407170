/**
 * Messages about the device as a whole: MTU, announcement, status, reset and the log of dirty pages
 * (VHOST_USER_NET_SET_MTU, VHOST_USER_SEND_RARP, VHOST_USER_SET_STATUS, VHOST_USER_RESET_DEVICE,
 * VHOST_USER_SET_LOG_BASE).
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ProtocolError } from "../../src/vhost_user/errors.ts";
import {
  FLAG_NEED_REPLY,
  Request,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from "../../src/vhost_user/numbers.ts";
import { featureSet } from "../../src/virtio/features.ts";
import {
  ADDRESSES,
  BackendTrial,
  FakeDescriptor,
  numberOf,
  OFFER,
} from "../support/backend_trial.ts";
import { dirtyLog, NOTHING, ringAddress, ringState, u64 } from "../support/vhost_messages.ts";

/** ACKNOWLEDGE, DRIVER, DRIVER_OK and FEATURES_OK (VIRTIO 1.2, 2.1). */
const RUNNING = 15n;
const WITHOUT_DEVICE_MESSAGES = featureSet(VHOST_USER_PROTOCOL_F_REPLY_ACK);

function trial(): BackendTrial {
  return new BackendTrial().negotiate();
}

function statusOf(device: BackendTrial): bigint {
  return numberOf(device.say(Request.GET_STATUS, NOTHING), Request.GET_STATUS);
}

Deno.test("Backend takes an MTU from 68 to 65535 and hands it to the device while rings stand still (F87)", () => {
  const device = trial();
  device.device.onCall = () => ok(device.device.isQuiet);
  for (const mtu of [68, 1500, 9000, 65535]) {
    strictEqual(device.ask(Request.NET_SET_MTU, u64(mtu)), 0n, `${mtu}`);
  }
  deepStrictEqual(device.device.calls, ["setMtu 68", "setMtu 1500", "setMtu 9000", "setMtu 65535"]);
});

Deno.test("Backend refuses an MTU below 68 or above 65535 (F87)", () => {
  const device = trial();
  for (const mtu of [0n, 67n, 65536n, 2n ** 32n + 1500n, 2n ** 63n, 2n ** 64n - 1n]) {
    strictEqual(device.ask(Request.NET_SET_MTU, u64(mtu)), 1n, `${mtu}`);
  }
  deepStrictEqual(device.device.calls, []);
});

Deno.test("Backend announces the first six bytes of SEND_RARP, whatever they are (F88)", () => {
  const device = trial();
  const payload = Uint8Array.of(0x52, 0x54, 0, 0, 0, 0x9f, 0xee, 0xff);
  strictEqual(device.ask(Request.SEND_RARP, payload), 0n);
  // What no station can have is the device's affair.
  strictEqual(device.ask(Request.SEND_RARP, u64(2n ** 64n - 1n)), 0n);
  deepStrictEqual(device.device.calls, [
    "announce 82,84,0,0,0,159",
    "announce 255,255,255,255,255,255",
  ]);
});

Deno.test("Backend answers GET_STATUS with what SET_STATUS stored (F94)", () => {
  const device = trial();
  strictEqual(statusOf(device), 0n);
  for (const status of [1n, 3n, RUNNING, 0x80n, 0xffn, 0n]) {
    strictEqual(device.ask(Request.SET_STATUS, u64(status)), 0n);
    strictEqual(statusOf(device), status);
  }
  deepStrictEqual(device.device.calls, []);
});

Deno.test("Backend refuses a status of more than 8 bits and keeps the one before (F94)", () => {
  const device = trial();
  device.ask(Request.SET_STATUS, u64(RUNNING));
  const { kick } = device.startRing(0);
  for (const status of [0x100n, 2n ** 32n, 2n ** 63n]) {
    strictEqual(device.ask(Request.SET_STATUS, u64(status)), 1n);
  }
  strictEqual(statusOf(device), RUNNING);
  ok(kick.isOpen);
});

Deno.test("Backend stops running rings on status 0, and then closes their eventfds (F94)", () => {
  const device = trial();
  const { kick, call } = device.startRing(1);
  device.prepareRing(2);
  device.device.base = 7;
  device.device.onCall = () => ok(kick.isOpen && call.isOpen);
  strictEqual(device.ask(Request.SET_STATUS, u64(0)), 0n);
  deepStrictEqual(device.device.calls, ["startRing 1", "stopRing 1"]);
  deepStrictEqual([kick.closed, call.closed], [1, 1]);
  strictEqual(device.stopRing(1), 7);
  // What it was told of its rings stays, so they can be started again.
  device.device.onCall = () => {};
  strictEqual(device.ask(Request.SET_VRING_KICK, u64(0x101)), 0n);
  strictEqual(device.ask(Request.SET_VRING_KICK, u64(0x102)), 0n);
});

Deno.test("Backend does not stop rings on a status that is not 0 (F94)", () => {
  const device = trial();
  device.startRing(0);
  for (const status of [1n, RUNNING, 0x80n]) device.ask(Request.SET_STATUS, u64(status));
  deepStrictEqual(device.device.calls, ["startRing 0"]);
});

Deno.test("Backend stops and disables every ring on RESET_DEVICE, and forgets sizes and addresses (F94)", () => {
  const device = trial();
  device.say(Request.SET_FEATURES, u64(OFFER.features));
  device.say(Request.SET_STATUS, u64(RUNNING));
  const { kick, call } = device.startRing(1);
  const before = device.device.calls.length;
  strictEqual(device.ask(Request.RESET_DEVICE, NOTHING), 0n);
  deepStrictEqual(device.device.calls.slice(before), [
    "stopRing 1",
    ...[0, 1, 2, 3].map((index) => `setRingEnabled ${index} false`),
    "setFeatures 0x0",
  ]);
  deepStrictEqual([kick.closed, call.closed], [1, 1]);
  strictEqual(statusOf(device), 0n);
  // Neither size nor address is there any more.
  strictEqual(device.ask(Request.SET_VRING_KICK, u64(0x101)), 1n);
  device.prepareRing(1);
  strictEqual(device.ask(Request.SET_VRING_KICK, u64(0x101)), 0n);
});

Deno.test("Backend keeps protocol features and error eventfds over RESET_DEVICE (F94)", () => {
  const device = trial();
  const err = new FakeDescriptor();
  device.say(Request.SET_VRING_ERR, u64(0), { fds: [err] });
  for (const _ of [0, 1]) strictEqual(device.ask(Request.RESET_DEVICE, NOTHING), 0n);
  strictEqual(device.backend.errorEventFd(0), err);
  device.backend.close();
  strictEqual(err.closed, 1);
});

Deno.test("Backend takes status, reset, features and rings in any order (F94)", () => {
  const steps: Record<string, (device: BackendTrial) => void> = {
    reset: (device) => device.ask(Request.RESET_DEVICE, NOTHING),
    clear: (device) => device.ask(Request.SET_STATUS, u64(0)),
    status: (device) => device.ask(Request.SET_STATUS, u64(RUNNING)),
    features: (device) => device.ask(Request.SET_FEATURES, u64(OFFER.features)),
    start: (device) => start(device),
    stop: (device) => void device.stopRing(0),
  };
  for (const order of pairsAndTriples(Object.keys(steps))) {
    const device = trial();
    for (const step of order) steps[step]!(device);
    const last = order.findLast((step) => ["reset", "clear", "status"].includes(step));
    strictEqual(statusOf(device), last === "status" ? RUNNING : 0n, order.join(" "));
    device.backend.close();
    const count = (call: string) => device.device.calls.filter((one) => one === call).length;
    strictEqual(count("startRing 0"), order.filter((step) => step === "start").length);
    strictEqual(count("stopRing 0"), count("startRing 0"), order.join(" "));
  }
});

/** Everything that a ring needs; refused as far as it runs already. */
function start(device: BackendTrial): void {
  device.ask(Request.SET_VRING_NUM, ringState(0, 256));
  device.ask(Request.SET_VRING_ADDR, ringAddress(0, ADDRESSES));
  device.ask(Request.SET_VRING_KICK, u64(0), { fds: [new FakeDescriptor()] });
}

Deno.test("Backend keeps the device's state on RESET_OWNER (F94)", () => {
  const device = trial();
  device.ask(Request.SET_STATUS, u64(RUNNING));
  const { kick } = device.startRing(0);
  strictEqual(device.ask(Request.RESET_OWNER, NOTHING), 0n);
  strictEqual(statusOf(device), RUNNING);
  ok(kick.isOpen);
  deepStrictEqual(device.device.calls, ["startRing 0"]);
});

Deno.test("Backend hands the log to the device while rings stand still, and then closes it (VHOST_USER_SET_LOG_BASE)", () => {
  const device = trial();
  const fd = new FakeDescriptor();
  device.device.onCall = () => ok(device.device.isQuiet && fd.isOpen);
  const reply = device.say(Request.SET_LOG_BASE, dirtyLog(65536n, 4096n), { fds: [fd] });
  // A front-end waits for this reply, whether it asked for an acknowledgement or not.
  strictEqual(numberOf(reply, Request.SET_LOG_BASE), 0n);
  deepStrictEqual(device.device.calls, ["setLog 65536 at 4096"]);
  strictEqual(fd.closed, 1);
});

Deno.test("Backend ends the connection on a log that the device refuses, since no reply says so (F92)", () => {
  const device = trial();
  device.device.refused = "setLog";
  const fd = new FakeDescriptor();
  const options = { flags: FLAG_NEED_REPLY, fds: [fd] };
  throws(() => device.say(Request.SET_LOG_BASE, dirtyLog(1n), options), ProtocolError);
  strictEqual(fd.closed, 1);
});

Deno.test("Backend closes the descriptor of SET_LOG_FD, which it does not need (VHOST_USER_SET_LOG_FD)", () => {
  const device = trial();
  const fd = new FakeDescriptor();
  strictEqual(device.ask(Request.SET_LOG_FD, NOTHING, { fds: [fd] }), 0n);
  strictEqual(fd.closed, 1);
});

Deno.test("Backend refuses what was not negotiated: MTU, announcement, status, reset, log (F84)", () => {
  const device = new BackendTrial().negotiate(WITHOUT_DEVICE_MESSAGES);
  const { kick } = device.startRing(0);
  const told = [
    [Request.NET_SET_MTU, u64(1500)],
    [Request.SEND_RARP, u64(0x52)],
    [Request.SET_STATUS, u64(0)],
    [Request.RESET_DEVICE, NOTHING],
  ] as const;
  for (const [request, payload] of told) strictEqual(device.ask(request, payload), 1n);
  const fd = new FakeDescriptor();
  throws(() => device.say(Request.SET_LOG_BASE, dirtyLog(4096n), { fds: [fd] }), ProtocolError);
  throws(() => device.say(Request.GET_STATUS, NOTHING), ProtocolError);
  strictEqual(fd.closed, 1);
  ok(kick.isOpen);
  deepStrictEqual(device.device.calls, ["startRing 0"]);
});

Deno.test("Backend enables rings again after RESET_DEVICE only as it is told (F94)", () => {
  const device = trial();
  device.say(Request.SET_VRING_ENABLE, ringState(0, 1));
  device.say(Request.RESET_DEVICE, NOTHING);
  const before = device.device.calls.length;
  device.startRing(0);
  deepStrictEqual(device.device.calls.slice(before), ["startRing 0"]);
});

function pairsAndTriples(items: readonly string[]): string[][] {
  const pairs = items.flatMap((first) => items.map((second) => [first, second]));
  return [...pairs, ...pairs.flatMap((pair) => items.map((third) => [...pair, third]))];
}
