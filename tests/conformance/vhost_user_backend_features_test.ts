/**
 * Negotiation: "Front-end message types" up to the memory table, and "Protocol features".
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ProtocolError } from "../../src/vhost_user/errors.ts";
import { FLAG_NEED_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { featureSet, VHOST_USER_F_PROTOCOL_FEATURES } from "../../src/virtio/features.ts";
import { BackendTrial, numberOf, OFFER } from "../support/backend_trial.ts";
import { NOTHING, ringState, u64 } from "../support/vhost_messages.ts";

/** Every ring of the offer enabled, as the device is told. */
const ALL_ENABLED = [0, 1, 2, 3].map((index) => `setRingEnabled ${index} true`);
const LEGACY_FEATURES = OFFER.features & ~featureSet(VHOST_USER_F_PROTOCOL_FEATURES);

Deno.test("Backend answers GET_FEATURES with the same set at any time (VHOST_USER_GET_FEATURES)", () => {
  const trial = new BackendTrial();
  const ask = () => numberOf(trial.say(Request.GET_FEATURES, NOTHING), Request.GET_FEATURES);
  strictEqual(ask(), OFFER.features);
  trial.negotiate();
  trial.say(Request.SET_FEATURES, u64(0));
  trial.startRing(0);
  // QEMU uses the message as a fence, so it comes in the middle of everything.
  strictEqual(ask(), OFFER.features);
});

Deno.test("Backend hands accepted features to the device (VHOST_USER_SET_FEATURES)", () => {
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.ask(Request.SET_FEATURES, u64(OFFER.features)), 0n);
  deepStrictEqual(trial.device.calls, [`setFeatures 0x${OFFER.features.toString(16)}`]);
});

Deno.test("Backend takes SET_FEATURES once per queue pair (VHOST_USER_SET_FEATURES)", () => {
  const trial = new BackendTrial().negotiate();
  trial.startRing(0);
  for (const _ of [0, 1]) strictEqual(trial.ask(Request.SET_FEATURES, u64(OFFER.features)), 0n);
});

Deno.test("Backend refuses each feature bit that it did not offer (F81)", () => {
  const trial = new BackendTrial().negotiate();
  for (let bit = 0; bit < 64; bit++) {
    const features = featureSet(bit);
    if ((features & OFFER.features) !== 0n) continue;
    strictEqual(trial.ask(Request.SET_FEATURES, u64(features)), 1n, `bit ${bit}`);
  }
  deepStrictEqual(trial.device.calls, []);
});

Deno.test("Backend refuses features when the device does (F82)", () => {
  const trial = new BackendTrial().negotiate();
  trial.device.refused = "setFeatures";
  strictEqual(trial.ask(Request.SET_FEATURES, u64(OFFER.features)), 1n);
});

Deno.test("Backend enables every ring when bit 30 is not accepted (Ring states)", () => {
  const trial = new BackendTrial();
  trial.say(Request.SET_FEATURES, u64(LEGACY_FEATURES));
  deepStrictEqual(trial.device.calls.slice(1), ALL_ENABLED);
});

Deno.test("Backend enables no ring by itself when bit 30 is accepted (Ring states)", () => {
  const trial = new BackendTrial();
  trial.say(Request.SET_FEATURES, u64(OFFER.features));
  strictEqual(trial.device.calls.length, 1);
});

Deno.test("Backend answers GET_PROTOCOL_FEATURES before SET_FEATURES (VHOST_USER_GET_PROTOCOL_FEATURES)", () => {
  const reply = new BackendTrial().say(Request.GET_PROTOCOL_FEATURES, NOTHING);
  strictEqual(numberOf(reply, Request.GET_PROTOCOL_FEATURES), OFFER.protocolFeatures);
});

Deno.test("Backend takes SET_PROTOCOL_FEATURES once per queue pair (VHOST_USER_SET_PROTOCOL_FEATURES)", () => {
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.ask(Request.SET_PROTOCOL_FEATURES, u64(OFFER.protocolFeatures)), 0n);
  strictEqual(trial.ask(Request.SET_OWNER, NOTHING), 0n);
});

Deno.test("Backend refuses each protocol feature bit that it did not offer (F83)", () => {
  const trial = new BackendTrial().negotiate();
  for (let bit = 0; bit < 64; bit++) {
    const features = featureSet(bit);
    if ((features & OFFER.protocolFeatures) !== 0n) continue;
    strictEqual(trial.ask(Request.SET_PROTOCOL_FEATURES, u64(features)), 1n, `bit ${bit}`);
  }
});

Deno.test("Backend answers GET_QUEUE_NUM with queue pairs (Multiple queue support)", () => {
  const trial = new BackendTrial().negotiate();
  const reply = trial.say(Request.GET_QUEUE_NUM, NOTHING);
  strictEqual(numberOf(reply, Request.GET_QUEUE_NUM), BigInt(OFFER.queuePairs));
});

Deno.test("Backend ends the connection on GET_QUEUE_NUM without MQ, which no number can answer (F84, F86)", () => {
  const trial = new BackendTrial().negotiate(OFFER.protocolFeatures & ~1n);
  const options = { flags: FLAG_NEED_REPLY };
  throws(() => trial.say(Request.GET_QUEUE_NUM, NOTHING, options), ProtocolError);
});

Deno.test("Backend does not need SET_OWNER and takes it twice (F85)", () => {
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.ask(Request.SET_FEATURES, u64(OFFER.features)), 0n);
  strictEqual(trial.ask(Request.SET_OWNER, NOTHING), 0n);
  strictEqual(trial.ask(Request.SET_OWNER, NOTHING), 0n);
});

Deno.test("Backend loses nothing on RESET_OWNER, which is deprecated (F85)", () => {
  const trial = new BackendTrial().negotiate();
  const { kick, call } = trial.startRing(0);
  const before = [...trial.device.calls];
  strictEqual(trial.ask(Request.RESET_OWNER, NOTHING), 0n);
  deepStrictEqual(trial.device.calls, before);
  ok(kick.isOpen && call.isOpen);
});

Deno.test("Backend records SET_VRING_ENABLE before features, memory and addresses (VHOST_USER_SET_VRING_ENABLE)", () => {
  // QEMU sends it for a pair before that pair's SET_FEATURES.
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.ask(Request.SET_VRING_ENABLE, ringState(3, 1)), 0n);
  deepStrictEqual(trial.device.calls, ["setRingEnabled 3 true"]);
});

Deno.test("Backend refuses SET_VRING_ENABLE after features without bit 30 (F79)", () => {
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.ask(Request.SET_FEATURES, u64(LEGACY_FEATURES)), 0n);
  strictEqual(trial.ask(Request.SET_VRING_ENABLE, ringState(0, 0)), 1n);
  deepStrictEqual(trial.device.calls.slice(1), ALL_ENABLED);
});
