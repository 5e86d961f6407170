/**
 * The rows of the catalogue of bad input (B) that a back-end acts out in its conversation with a port
 * of type `vhost-user-frontend`.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { createMemfd } from "../../ffi/memory.ts";
import { backendOffer } from "../../src/control/offer.ts";
import { DRIVER_FEATURES } from "../../src/control/frontend_device.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { FLAG_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { featureSet, VHOST_USER_F_PROTOCOL_FEATURES } from "../../src/virtio/features.ts";
import { BACKEND_LAB, endings, exchange, isLeft, testBackend } from "../support/backend_lab.ts";
import { eventually } from "../support/eventually.ts";
import { HostileBackend, type HostilePeer, type Outgoing } from "../support/hostile_backend.ts";
import { countDescriptors } from "../support/leaks.ts";
import { TestLab } from "../support/test_lab.ts";
import { NOTHING, u64 } from "../support/vhost_messages.ts";

const ALL = 2n ** 64n - 1n;
/** Offset of the flags in a message. */
const FLAGS = 4;
/** Bytes of a message's header. */
const HEAD = 12;
/** Messages that only somebody with a back-end channel sends or gets, and its protocol feature. */
const SET_BACKEND_REQ_FD = 21;
const BACKEND_REQ = 5n;
/** A second and what a timer may be late, in which the longest pause passes. */
const LONGEST_PAUSE_MS = 1000;

type Spoil = (request: number, data: Uint8Array) => Outgoing | null;

/** Spoils the replies to one request. */
function spoil(wanted: number, change: (data: Uint8Array) => Uint8Array): Spoil {
  return (request, data) => ({ data: request === wanted ? change(data) : data });
}

function number(request: number, value: bigint): Spoil {
  return spoil(request, () => encode(request, FLAG_REPLY, u64(value)));
}

function withFlags(data: Uint8Array, flags: number): Uint8Array {
  const copy = data.slice();
  copy[FLAGS] = flags;
  return copy;
}

function resized(data: Uint8Array, bytes: number): Uint8Array {
  const payload = new Uint8Array(bytes);
  payload.set(data.subarray(HEAD, HEAD + bytes));
  return encode(data[0]!, FLAG_REPLY, payload);
}

for (
  const [what, change, reason] of [
    ["that is short (B01)", (data) => resized(data, 7), /reply to GET_FEATURES is not one/],
    ["that is long (B01)", (data) => resized(data, 9), /reply to GET_FEATURES is not one/],
    ["without a payload (B01)", (data) => resized(data, 0), /reply to GET_FEATURES is not one/],
    ["that is enormous (B01)", (data) => resized(data, 4097), /has 4097 bytes, at most/],
    ["to another request (B01)", (data) => Uint8Array.of(15, ...data.slice(1)), /is not one/],
    ["with other flags (B01)", (data) => withFlags(data, 0xd), /is not one/],
    ["of another version (B01)", (data) => withFlags(data, 6), /has version 2/],
    ["that is not marked as one (B03)", (data) => withFlags(data, 1), /is not one/],
  ] as const satisfies readonly (readonly [string, (data: Uint8Array) => Uint8Array, RegExp])[]
) {
  testBackend(`FrontendPort leaves a back-end that sends a reply ${what}`, async (scene) => {
    const behave = (peer: HostilePeer) =>
      peer.converse({ spoil: spoil(Request.GET_FEATURES, change) });
    await isLeft(scene, behave, reason);
    strictEqual(endings(scene.lab).length, 1, "the same reason is said once");
  });
}

testBackend("FrontendPort leaves a back-end that does not answer (B02)", async (scene) => {
  // The first words are read, and that is all.
  await isLeft(scene, async (peer) => void await peer.next(), /^the back-end does not answer$/, 1);
});

testBackend("FrontendPort leaves a back-end that answers byte by byte (B02)", async (scene) => {
  const drip = async (peer: HostilePeer) => {
    let isOver = false;
    const end = peer.end().then(() => isOver = true);
    while (!isOver) {
      peer.say(Uint8Array.of(1));
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
    await end;
  };
  const start = performance.now();
  await isLeft(scene, drip, /does not answer|has version|is not one/, 1);
  ok(performance.now() - start < 10_000, "the whole reply has one deadline");
});

testBackend(
  "FrontendPort accepts no features that it does not know (B04)",
  async ({ lab, backend }) => {
    using peer = await backend.accept();
    await peer.serve({ ...backendOffer(1), features: ALL, protocolFeatures: ALL });
    const up = lab.events.findLast(({ kind }) => kind === "up");
    ok(up?.kind === "up");
    strictEqual(up.features & ~(DRIVER_FEATURES | featureSet(VHOST_USER_F_PROTOCOL_FEATURES)), 0n);
    await exchange(lab, peer);
  },
);

testBackend("FrontendPort leaves a back-end without queues (B05)", async (scene) => {
  const behave = (peer: HostilePeer) => peer.converse({ spoil: number(Request.GET_QUEUE_NUM, 0n) });
  await isLeft(scene, behave, /^the back-end has 0 queue pairs, want 1$/);
  strictEqual(endings(scene.lab).length, 1);
});

testBackend("FrontendPort uses one queue pair of 2^64-1 (B05)", async ({ lab, backend }) => {
  using peer = await backend.accept();
  await peer.converse({ spoil: number(Request.GET_QUEUE_NUM, ALL) });
  await exchange(lab, peer);
});

testBackend(
  "FrontendPort does without memory slots: its memory is one region (B06)",
  async (scene) => {
    using peer = await scene.backend.accept();
    await peer.converse({ spoil: number(Request.GET_MAX_MEM_SLOTS, 0n) });
    ok(!peer.requests.includes(Request.GET_MAX_MEM_SLOTS));
    await exchange(scene.lab, peer);
  },
);

testBackend(
  "FrontendPort closes descriptors that come with a reply, and leaves (B07)",
  async (scene) => {
    using file = createMemfd("labswitch-test", 4096);
    const before = countDescriptors();
    const fds = Array.from({ length: 8 }, () => file);
    const behave = (peer: HostilePeer) => peer.converse({ spoil: (_, data) => ({ data, fds }) });
    await isLeft(scene, behave, /^the reply to GET_FEATURES is not one$/);
    await eventually("closed descriptors", () => countDescriptors() <= before || null);
  },
);

testBackend("FrontendPort closes more descriptors than fit, and leaves (B07)", async (scene) => {
  using file = createMemfd("labswitch-test", 4096);
  const before = countDescriptors();
  const fds = Array.from({ length: 200 }, () => file);
  const behave = (peer: HostilePeer) => peer.converse({ spoil: (_, data) => ({ data, fds }) });
  await isLeft(scene, behave, /too many descriptors|more than 32/);
  await eventually("closed descriptors", () => countDescriptors() <= before || null);
});

for (const request of [3, 0xffff_ffff]) {
  testBackend(
    `FrontendPort offers no back-end channel, and leaves who sends request ${request} (B21)`,
    async (scene) => {
      using file = createMemfd("labswitch-test", 4096);
      const before = countDescriptors();
      const offer = backendOffer(1);
      const features = offer.protocolFeatures | 1n << BACKEND_REQ;
      const behave = async (peer: HostilePeer) => {
        await peer.serve({ ...offer, protocolFeatures: features });
        ok(!peer.requests.includes(SET_BACKEND_REQ_FD));
        peer.say(encode(request, 0, u64(0n)), [file, file]);
      };
      await isLeft(scene, behave, /^the back-end says something that it was not asked$/, 1);
      await eventually("closed descriptors", () => countDescriptors() <= before || null);
    },
  );
}

testBackend(
  "FrontendPort never asks where a ring stands: rings begin anew (B22)",
  async (scene) => {
    const { lab, backend } = scene;
    const peer = await backend.attach();
    await exchange(lab, peer);
    peer[Symbol.dispose]();
    using next = await backend.attach();
    await exchange(lab, next);
    for (const { requests } of [peer, next]) ok(!requests.includes(Request.GET_VRING_BASE));
  },
);

testBackend(
  "FrontendPort waits longer for a back-end that always hangs up (B23)",
  async (scene) => {
    const { lab, backend } = scene;
    const start = performance.now();
    const connections = 7;
    for (let i = 0; i < connections; i++) (await backend.accept())[Symbol.dispose]();
    // 100, 200, 400, 800 and 1000 ms.
    ok(performance.now() - start >= 1500 + (connections - 5) * LONGEST_PAUSE_MS - 100);
    deepStrictEqual(endings(lab), ["the back-end hung up before it was ready"]);
  },
);

testBackend(
  "FrontendPort waits longer for a back-end that is up and hangs up (B23)",
  async (scene) => {
    const { lab, backend } = scene;
    const start = performance.now();
    const connections = 5;
    for (let i = 0; i < connections; i++) (await backend.attach())[Symbol.dispose]();
    ok(performance.now() - start >= 100 + 200 + 400 + 800);
    await lab.idle("up");
    deepStrictEqual(endings(lab), new Array(connections).fill(null));
  },
);

testBackend("FrontendPort leaves a back-end that never accepts (B23)", async ({ lab, backend }) => {
  const isOver = () => endings(lab).length > 0 || null;
  await eventually("the port gives up", isOver);
  deepStrictEqual(endings(lab), ["the back-end does not answer"]);
  // It has tried once, and does again.
  const met = [];
  for (let peer; (peer = backend.tryAccept()) !== null;) met.push(peer);
  ok(met.length <= 2, `${met.length} connections`);
});

Deno.test("FrontendPort is not blocked by a queue of connections that is full (B23)", async () => {
  await using lab = await TestLab.open(BACKEND_LAB);
  using backend = new HostileBackend(lab.path("up"), () => false, 0);
  // Whoever comes first fills it, and the port finds no room or no answer.
  using _crowd = await lab.connect("up");
  await lab.exchange("b", "c");
  deepStrictEqual(endings(lab), []);
  for (let peer; (peer = backend.tryAccept()) !== null;) peer[Symbol.dispose]();
  // Now there is room.
  using peer = await backend.accept();
  ok((await peer.next())!.request === Request.SET_OWNER);
});

for (
  const [what, answer, reason] of [
    ["a web server", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", /has version/],
    [
      "a mail server",
      "220 mail.example ESMTP ready when you are\r\n",
      /has \d+ bytes, at most/,
    ],
    ["a service that sends zeros", "\0".repeat(64), /has version 0/],
  ] as const
) {
  testBackend(`FrontendPort leaves ${what} with a clear error (B24)`, async (scene) => {
    const bytes = new TextEncoder().encode(answer);
    await isLeft(scene, async (peer) => {
      await peer.next();
      peer.say(bytes);
    }, reason);
    strictEqual(endings(scene.lab).length, 1);
  });
}

testBackend("FrontendPort leaves an echo service with a clear error (B24)", async (scene) => {
  const echo = async (peer: HostilePeer) => {
    const message = (await peer.next())!;
    peer.say(encode(message.request, message.flags & ~3, NOTHING));
  };
  await isLeft(scene, echo, /^the reply to GET_FEATURES is not one$/);
  strictEqual(endings(scene.lab).length, 1);
});
