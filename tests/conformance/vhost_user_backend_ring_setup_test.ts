/**
 * What a front-end may not say about a ring (VHOST_USER_SET_VRING_*).
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  Request,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VRING_F_LOG,
} from "../../src/vhost_user/numbers.ts";
import { featureSet, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import { ADDRESSES, BackendTrial, FakeDescriptor, OFFER } from "../support/backend_trial.ts";
import { ringAddress, ringState, u64 } from "../support/vhost_messages.ts";

/** Ring indexes that a port of two pairs does not have (F63). */
const BAD_INDEXES = [4, 5, 255, 256, 0x10000, 2 ** 31, 2 ** 32 - 1];

function trial(): BackendTrial {
  return new BackendTrial().negotiate();
}

Deno.test("Backend refuses ring indexes that the port does not have (F63)", () => {
  const states = [
    Request.SET_VRING_NUM,
    Request.SET_VRING_BASE,
    Request.SET_VRING_ENABLE,
  ];
  for (const index of BAD_INDEXES) {
    const ring = trial();
    for (const request of states) strictEqual(ring.ask(request, ringState(index, 1)), 1n);
    strictEqual(ring.ask(Request.SET_VRING_ADDR, ringAddress(index, ADDRESSES)), 1n);
    deepStrictEqual(ring.device.calls, []);
  }
});

Deno.test("Backend ends the connection on GET_VRING_BASE of a ring that the port does not have (F63)", () => {
  for (const index of BAD_INDEXES) {
    let ended = false;
    try {
      trial().stopRing(index);
    } catch (error) {
      ended = (error as Error).name === "ProtocolError";
    }
    ok(ended, `ring ${index}`);
  }
});

Deno.test("Backend refuses KICK, CALL and ERR whose number holds more than an index and bit 8 (F63)", () => {
  const requests = [Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR];
  for (const value of [4n, 255n, 0x200n, 0x10000n, 2n ** 31n, 2n ** 32n, 2n ** 63n]) {
    for (const request of requests) {
      const ring = trial().prepareRing(0);
      const fd = new FakeDescriptor();
      strictEqual(ring.ask(request, u64(value), { fds: [fd] }), 1n, `${request} ${value}`);
      strictEqual(fd.closed, 1);
      deepStrictEqual(ring.device.calls, []);
    }
  }
});

Deno.test("Backend refuses ring sizes that are 0, no power of two, or too large (F64, F65, F66)", () => {
  const ring = trial();
  for (const size of [0, 3, 100, 1023, 1025, 2048, 32769, 65536, 2 ** 31, 2 ** 32 - 1]) {
    strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, size)), 1n, `${size}`);
  }
  for (const size of [1, 2, 256, 1024]) {
    strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, size)), 0n, `${size}`);
  }
});

Deno.test("Backend starts no split ring with a size that only a packed one can have (F65)", () => {
  const features = OFFER.features | featureSet(VIRTIO_F_RING_PACKED);
  const ring = new BackendTrial({ ...OFFER, features }).negotiate();
  ring.say(Request.SET_FEATURES, u64(features));
  strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, 3)), 0n);
  strictEqual(
    ring.ask(Request.SET_VRING_ADDR, ringAddress(0, { ...ADDRESSES, avail: 0x2000n })),
    0n,
  );
  ring.say(Request.SET_FEATURES, u64(OFFER.features));
  strictEqual(ring.ask(Request.SET_VRING_KICK, u64(0x100)), 1n);
  ring.say(Request.SET_FEATURES, u64(features));
  strictEqual(ring.ask(Request.SET_VRING_KICK, u64(0x100)), 0n);
});

Deno.test("Backend takes a ring of 32768 entries when it offers that (VIRTIO 1.2, 2.7)", () => {
  const ring = new BackendTrial({ ...OFFER, maxQueueSize: 32768 }).negotiate();
  strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, 32768)), 0n);
  strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, 65536)), 1n);
});

Deno.test("Backend refuses size, address and base of a running ring (F67, F73)", () => {
  const ring = trial();
  ring.startRing(0);
  strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, 128)), 1n);
  const moved = ringAddress(0, { ...ADDRESSES, used: ADDRESSES.used + 4n });
  strictEqual(ring.ask(Request.SET_VRING_ADDR, moved), 1n);
  strictEqual(ring.ask(Request.SET_VRING_BASE, ringState(0, 1)), 1n);
  ring.stopRing(0);
  strictEqual(ring.ask(Request.SET_VRING_NUM, ringState(0, 128)), 0n);
});

Deno.test("Backend keeps ring addresses that come before the memory table (F68)", () => {
  const ring = trial();
  strictEqual(ring.ask(Request.SET_VRING_ADDR, ringAddress(0, ADDRESSES)), 0n);
  deepStrictEqual(ring.device.calls, []);
});

Deno.test("Backend refuses misaligned ring addresses (F71)", () => {
  const ring = trial();
  for (const part of [{ desc: 0x1008n }, { avail: 0x2001n }, { used: 0x3002n }]) {
    const address = ringAddress(0, { ...ADDRESSES, ...part });
    strictEqual(ring.ask(Request.SET_VRING_ADDR, address), 1n);
  }
});

Deno.test("Backend takes the addresses that a running ring has, with another wish to log (Migration)", () => {
  const ring = trial();
  ring.startRing(0);
  for (const flags of [VRING_F_LOG, 0]) {
    strictEqual(ring.ask(Request.SET_VRING_ADDR, ringAddress(0, { ...ADDRESSES, flags })), 0n);
  }
});

Deno.test("Backend refuses the wish to log when that was not negotiated (F72)", () => {
  const ring = new BackendTrial().negotiate(featureSet(VHOST_USER_PROTOCOL_F_REPLY_ACK));
  const address = ringAddress(0, { ...ADDRESSES, flags: VRING_F_LOG });
  strictEqual(ring.ask(Request.SET_VRING_ADDR, address), 1n);
});

Deno.test("Backend refuses address flags that it does not know (F72)", () => {
  const ring = trial();
  for (const flags of [2, 3, 2 ** 31]) {
    const address = ringAddress(0, { ...ADDRESSES, flags });
    strictEqual(ring.ask(Request.SET_VRING_ADDR, address), 1n, `flags ${flags}`);
  }
});

Deno.test("Backend refuses a base of more than 16 bits (F74)", () => {
  const ring = trial();
  strictEqual(ring.ask(Request.SET_VRING_BASE, ringState(0, 0xffff)), 0n);
  for (const base of [0x10000, 2 ** 31, 2 ** 32 - 1]) {
    strictEqual(ring.ask(Request.SET_VRING_BASE, ringState(0, base)), 1n);
  }
});

Deno.test("Backend starts a ring in every order of messages that names size and address before the kick (F76)", () => {
  for (const order of permutations(["num", "base", "addr", "kick", "call", "enable"])) {
    const ring = trial();
    for (const step of order) sayStep(ring, step);
    const kick = order.indexOf("kick");
    const isLegal = order.indexOf("num") < kick && order.indexOf("addr") < kick;
    strictEqual(ring.device.calls.includes("startRing 0"), isLegal, order.join(" "));
    ok(ring.device.calls.includes("setRingEnabled 0 true"));
    ring.backend.close();
    strictEqual(ring.device.calls.includes("stopRing 0"), isLegal, order.join(" "));
  }
});

function sayStep(ring: BackendTrial, step: string): void {
  const fds = [new FakeDescriptor()];
  switch (step) {
    case "num":
      return void ring.ask(Request.SET_VRING_NUM, ringState(0, 256));
    case "base":
      return void ring.ask(Request.SET_VRING_BASE, ringState(0, 0));
    case "addr":
      return void ring.ask(Request.SET_VRING_ADDR, ringAddress(0, ADDRESSES));
    case "kick":
      return void ring.ask(Request.SET_VRING_KICK, u64(0), { fds });
    case "call":
      return void ring.ask(Request.SET_VRING_CALL, u64(0), { fds });
    case "enable":
      return void ring.ask(Request.SET_VRING_ENABLE, ringState(0, 1));
  }
}

function permutations(items: readonly string[]): string[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((first) =>
    permutations(items.filter((item) => item !== first)).map((rest) => [first, ...rest])
  );
}
