import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ProtocolError, RequestRefused } from "../../../src/vhost_user/errors.ts";
import {
  type Conversation,
  type FrontendSetup,
  type Step,
  VhostUserFrontend,
} from "../../../src/vhost_user/frontend.ts";
import { HEADER, U64, VRING_STATE } from "../../../src/vhost_user/layouts.ts";
import { type Descriptor, type Message, payload } from "../../../src/vhost_user/message.ts";
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  Request,
  VERSION,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_NET_MTU,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_STATUS,
} from "../../../src/vhost_user/numbers.ts";
import { REQUESTS, ruleOf } from "../../../src/vhost_user/requests.ts";
import {
  featureSet,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MTU,
} from "../../../src/virtio/features.ts";

const ALL_PROTOCOL_FEATURES = featureSet(
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_NET_MTU,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_STATUS,
);
const FEATURES = featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MTU);

/** What a made-up back-end answers. */
interface Answers {
  readonly features?: bigint;
  readonly protocolFeatures?: bigint;
  readonly queuePairs?: bigint;
  readonly slots?: bigint;
  readonly status?: bigint;
  /** Changes a reply before it is handed in. */
  readonly spoil?: (reply: Message) => Message | null;
}

/** Holds a conversation with a made-up back-end; returns what it got and the names of the messages. */
function hold<T>(conversation: Conversation<T>, answers: Answers = {}): [T, string[]] {
  const names: string[] = [];
  let accepted = 0n;
  let reply: Message | null = null;
  for (;;) {
    const { value, done } = conversation.next(reply);
    if (done) return [value, names];
    const { request, flags, size } = HEADER.read(new DataView(value.data.buffer));
    const rule = ruleOf(request)!;
    names.push(rule.name);
    strictEqual(value.data.length, HEADER.size + size);
    ok(size >= rule.bytes[0] && size <= rule.bytes[1], `${rule.name} has ${size} bytes`);
    ok(rule.gate === undefined || (accepted >> BigInt(rule.gate) & 1n) === 1n, rule.name);
    strictEqual(value.expectsReply, rule.hasReply === true || (flags & FLAG_NEED_REPLY) !== 0);
    if (request === Request.SET_PROTOCOL_FEATURES) {
      accepted = U64.read(new DataView(value.data.buffer), HEADER.size).value;
    }
    reply = value.expectsReply ? answer(request, value, answers) : null;
  }
}

function answer(request: number, step: Step, answers: Answers): Message | null {
  const offered = FEATURES | featureSet(VHOST_USER_F_PROTOCOL_FEATURES);
  const numbers: Readonly<Record<number, bigint>> = {
    [Request.GET_FEATURES]: answers.features ?? offered,
    [Request.GET_PROTOCOL_FEATURES]: answers.protocolFeatures ?? ALL_PROTOCOL_FEATURES,
    [Request.GET_QUEUE_NUM]: answers.queuePairs ?? 8n,
    [Request.GET_MAX_MEM_SLOTS]: answers.slots ?? 32n,
    [Request.GET_STATUS]: answers.status ?? 0xfn,
  };
  const bytes = request === Request.GET_VRING_BASE
    ? step.data.slice(HEADER.size)
    : payload(U64, { value: numbers[request] ?? 0n });
  const reply = { request, flags: VERSION | FLAG_REPLY, payload: bytes, fds: [] };
  return answers.spoil === undefined ? reply : answers.spoil(reply);
}

function setup(more: Partial<FrontendSetup> = {}, regions = 1): FrontendSetup {
  const fd: Descriptor = { number: 7, close: () => {} };
  const region = { guestAddress: 0n, frontendAddress: 0n, sizeBytes: 4096n, offsetBytes: 0n, fd };
  const ring = { size: 256, descAddress: 0n, availAddress: 1024n, usedAddress: 2048n };
  return {
    features: FEATURES,
    regions: Array.from({ length: regions }, () => region),
    rings: Array.from({ length: 2 }, () => ({ ...ring, kick: fd, call: fd })),
    ...more,
  };
}

function attach(answers: Answers = {}, wanted = setup()): string[] {
  return hold(new VhostUserFrontend().attach(wanted), answers)[1];
}

const RING = ["SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR", "SET_VRING_CALL"];

Deno.test("VhostUserFrontend.attach says everything in the order that every back-end accepts", () => {
  deepStrictEqual(attach({}, setup({ mtu: 1500 })), [
    ...["SET_OWNER", "GET_FEATURES", "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES"],
    ...["GET_QUEUE_NUM", "SET_STATUS", "SET_FEATURES", "SET_STATUS", "GET_STATUS", "NET_SET_MTU"],
    ...["SET_MEM_TABLE", ...RING, "SET_VRING_KICK", ...RING, "SET_VRING_KICK"],
    ...["SET_VRING_ENABLE", "SET_VRING_ENABLE", "SET_STATUS"],
  ]);
});

Deno.test("VhostUserFrontend.attach sends nothing to an old back-end that it does not know", () => {
  deepStrictEqual(attach({ features: FEATURES }), [
    ...["SET_OWNER", "GET_FEATURES", "SET_FEATURES"],
    ...["SET_MEM_TABLE", ...RING, "SET_VRING_KICK", ...RING, "SET_VRING_KICK"],
    "GET_FEATURES",
  ]);
});

Deno.test("VhostUserFrontend.attach asks now and then a back-end that acknowledges nothing", () => {
  const rings = Array.from({ length: 256 }, () => setup().rings[0]!);
  const protocolFeatures = featureSet(VHOST_USER_PROTOCOL_F_MQ);
  const names = attach({ protocolFeatures, queuePairs: 128n }, setup({ rings }));
  const silent = names.join(" ").split(/GET_\w+/).map((part) => part.split(" ").length);
  ok(Math.max(...silent) <= 66, `${Math.max(...silent)} messages in a row`);
  strictEqual(names.filter((name) => name === "SET_VRING_ENABLE").length, 256);
});

Deno.test("VhostUserFrontend.attach never sends a message whose feature was not negotiated", () => {
  // `hold` compares each message with its gate.
  for (let bits = 0n; bits < 32n; bits++) {
    const features = [0, 3, 4, 15, 16].filter((_, i) => (bits >> BigInt(i) & 1n) === 1n);
    attach({ protocolFeatures: featureSet(...features) }, setup({ mtu: 9000 }));
  }
});

Deno.test("VhostUserFrontend.attach accepts no features that it does not know (B04)", () => {
  const all = 2n ** 64n - 1n;
  const [{ features, protocolFeatures }] = hold(
    new VhostUserFrontend().attach(setup()),
    { features: all, protocolFeatures: all },
  );
  strictEqual(features, FEATURES | featureSet(VHOST_USER_F_PROTOCOL_FEATURES));
  strictEqual(protocolFeatures, ALL_PROTOCOL_FEATURES);
});

Deno.test("VhostUserFrontend.attach refuses a back-end without queues, and one with too few (B05)", () => {
  for (const queuePairs of [0n, 1n]) {
    const wanted = setup({ rings: [...setup().rings, ...setup().rings] });
    throws(() => attach({ queuePairs }, wanted), {
      name: "RequestRefused",
      message: `the back-end has ${queuePairs} queue pairs, want 2`,
    });
  }
});

Deno.test("VhostUserFrontend.attach is content with a back-end that claims 2^64-1 queues (B05)", () => {
  attach({ queuePairs: 2n ** 64n - 1n });
});

Deno.test("VhostUserFrontend.attach refuses a back-end with too few memory slots (B06)", () => {
  for (const slots of [0n, 8n]) {
    throws(() => attach({ slots }, setup({}, 9)), RequestRefused);
  }
});

Deno.test("VhostUserFrontend.attach adds regions one by one when a table cannot hold them", () => {
  const names = attach({}, setup({}, 9));
  strictEqual(names.filter((name) => name === "ADD_MEM_REG").length, 9);
  ok(!names.includes("SET_MEM_TABLE"));
});

Deno.test("VhostUserFrontend.attach refuses a back-end that does not keep FEATURES_OK", () => {
  throws(() => attach({ status: 3n }), RequestRefused);
});

Deno.test("VhostUserFrontend.attach refuses a back-end that refuses", () => {
  for (const name of ["SET_FEATURES", "SET_MEM_TABLE", "SET_VRING_KICK", "SET_VRING_ENABLE"]) {
    const spoil = (reply: Message) =>
      REQUESTS[reply.request as keyof typeof REQUESTS].name === name
        ? { ...reply, payload: payload(U64, { value: 1n }) }
        : reply;
    throws(() => attach({ spoil }), { message: `the back-end refused ${name}` });
  }
});

for (
  const [what, spoil] of [
    ["that is short (B01)", (reply) => ({ ...reply, payload: reply.payload.slice(1) })],
    ["that is long (B01)", (reply) => ({ ...reply, payload: new Uint8Array(9) })],
    ["to another request (B01)", (reply) => ({ ...reply, request: reply.request + 1 })],
    ["with other flags (B01)", (reply) => ({ ...reply, flags: reply.flags | 8 })],
    ["without the reply flag (B03)", (reply) => ({ ...reply, flags: VERSION })],
    ["that did not come (B02)", () => null],
  ] as const satisfies readonly (readonly [string, (reply: Message) => Message | null])[]
) {
  Deno.test(`VhostUserFrontend.attach ends on a reply ${what}`, () => {
    throws(() => attach({ spoil }), ProtocolError);
  });
}

Deno.test("VhostUserFrontend.attach closes descriptors that come with a reply, and ends (B07)", () => {
  let closed = 0;
  const fds = [1, 2].map((number) => ({ number, close: () => void closed++ }));
  throws(() => attach({ spoil: (reply) => ({ ...reply, fds }) }), ProtocolError);
  strictEqual(closed, 2);
});

Deno.test("VhostUserFrontend.stopRing returns where the ring stands", () => {
  const spoil = (reply: Message) => ({
    ...reply,
    payload: payload(VRING_STATE, { index: 1, num: 0xffff_ffff }),
  });
  strictEqual(hold(new VhostUserFrontend().stopRing(1), { spoil })[0], 0xffff_ffff);
});

Deno.test("VhostUserFrontend.stopRing ends on a reply for another ring (B22)", () => {
  const spoil = (reply: Message) => ({
    ...reply,
    payload: payload(VRING_STATE, { index: 77, num: 5 }),
  });
  throws(() => hold(new VhostUserFrontend().stopRing(1), { spoil }), ProtocolError);
});

Deno.test("VhostUserFrontend.attach says where a fresh ring stands, of either format", () => {
  for (
    const [more, base] of [[[], 0], [[VIRTIO_F_RING_PACKED], 0x8000_8000]] as const
  ) {
    const features = FEATURES | featureSet(VHOST_USER_F_PROTOCOL_FEATURES, ...more);
    const conversation = new VhostUserFrontend().attach(setup({ features }));
    const bases: number[] = [];
    const watched = function* (): Conversation<void> {
      let reply: Message | null = null;
      for (;;) {
        const { value, done } = conversation.next(reply);
        if (done) return;
        const view = new DataView(value.data.buffer);
        if (HEADER.read(view).request === Request.SET_VRING_BASE) {
          bases.push(VRING_STATE.read(view, HEADER.size).num);
        }
        reply = yield value;
      }
    };
    hold(watched(), { features });
    deepStrictEqual(bases, [base, base]);
  }
});
