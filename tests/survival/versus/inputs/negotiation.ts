/**
 * Front-ends that use what was not negotiated, or use it wrongly, and those that do not stop (F81 to
 * F99).
 *
 * @module
 */
import { EventFd } from "../../../../ffi/eventfd.ts";
import { createMemfd } from "../../../../ffi/memory.ts";
import { unixSocketPair } from "../../../../ffi/unix_socket.ts";
import { encode } from "../../../../src/vhost_user/message.ts";
import { FLAG_NEED_REPLY, Request } from "../../../../src/vhost_user/numbers.ts";
import {
  VHOST_F_LOG_ALL,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../../../src/virtio/features.ts";
import { nextTurn } from "../../../support/eventually.ts";
import { residentBytes } from "../../../support/leaks.ts";
import { NOTHING, ringState, u64 } from "../../../support/vhost_messages.ts";
import { Random } from "../../../fuzz/random.ts";
import { bad, type Input, legal } from "../input.ts";
import { MEMORY_BYTES, MEMORY_NAME } from "../raw_guest.ts";
import { ALL_PROTOCOL_FEATURES, HAS_REPLY, LAST_REQUEST, More } from "../requests.ts";
import { pause, type Scene, within } from "../scene.ts";

/** Bytes of a description of in-flight buffers: size, offset, queues, entries, padding. */
const INFLIGHT_BYTES = 24;
/**
 * Queues and entries that are absurd for a port, about 1 GiB. The format goes up to 65535 of both, which
 * some back-ends allocate and clear: 64 GiB, on which the machine would die rather than the back-end.
 */
const LARGE_INFLIGHT = [1024, 65535] as const;
const INFLIGHT_REQUESTS = 200;
/** Bytes of the head of a configuration message. */
const CONFIG_HEAD_BYTES = 12;
/** Requests between two looks at the replies. */
const FLOOD_BATCH = 100;
const RANDOM_SESSIONS = 200;
const RANDOM_MESSAGES = 20;
const REPEATS = 10_000;
const SEED = 1;
const PATIENCE_MS = 500;

/** REPLY_ACK and RARP (2). */
const RARP = 1n << 3n | 1n << 2n;
/** REPLY_ACK and LOG_SHMFD (1). */
const LOG = 1n << 3n | 1n << 1n;

/** F81 to F99. */
export const NEGOTIATION_INPUTS: readonly Input[] = [
  bad("F81", async (scene) => {
    for (const bits of [1n << 63n, (1n << 64n) - 1n]) {
      await scene.visit((client) => scene.ask(client, Request.SET_FEATURES, u64(bits)));
    }
  }),
  bad("F82", async (scene) => {
    const guest = await scene.guest();
    const plain = 1n << BigInt(VIRTIO_F_VERSION_1) | 1n << 30n;
    for (const bits of [plain | 1n << 15n, plain | 1n << BigInt(VIRTIO_F_RING_PACKED), 0n]) {
      await scene.ask(guest.client, Request.SET_FEATURES, u64(bits));
      scene.note(await guest.works() ? "goes on" : "takes nothing");
    }
  }),
  bad("F83", async (scene) => {
    for (const bits of [1n << 63n, (1n << 64n) - 1n]) {
      await scene.visit((client) => scene.ask(client, Request.SET_PROTOCOL_FEATURES, u64(bits)));
    }
  }),
  bad("F84", async (scene) => {
    const { fd } = scene.keep(EventFd.create());
    for (const request of Object.values(More)) {
      for (const fds of [[], [fd]]) {
        await scene.visit((client) => scene.ask(client, request, u64(1), fds));
      }
    }
  }),
  legal("F85", async (scene) => {
    const guest = await scene.guest();
    for (const request of [Request.SET_OWNER, Request.SET_OWNER]) {
      await guest.client.say(request, NOTHING);
    }
    if (!await guest.works()) throw new Error("takes no frame afterwards");
  }, "set twice"),
  bad("F85", async (scene) => {
    const guest = await scene.guest();
    await guest.client.say(Request.RESET_OWNER, NOTHING);
    await scene.look(guest.client);
    scene.note(await guest.works() ? "goes on" : "takes nothing");
  }, "reset while rings run"),
  bad("F86", (scene) => scene.provoke(encode(Request.GET_QUEUE_NUM, 0, NOTHING))),
  bad("F87", async (scene) => {
    for (const mtu of [0n, 67n, 68n, 65535n, 65536n, 2n ** 63n]) {
      await scene.visit(
        (client) => scene.ask(client, Request.NET_SET_MTU, u64(mtu)),
        0n,
        ALL_PROTOCOL_FEATURES,
      );
    }
  }),
  bad("F88", async (scene) => {
    const guest = await scene.guest({ protocolFeatures: RARP });
    for (const mac of [0xffff_ffff_ffffn, 0x0000_0000_0001n, 0n]) {
      await scene.ask(guest.client, Request.SEND_RARP, u64(mac));
    }
    await scene.flood();
  }),
  bad("F89", async (scene) => {
    const file = scene.keep(createMemfd(MEMORY_NAME, MEMORY_BYTES));
    const [end, other] = unixSocketPair();
    for (const fd of [file, scene.keep(end)]) {
      await scene.visit(
        (client) => scene.ask(client, More.SET_BACKEND_REQ_FD, NOTHING, [fd]),
        0n,
        ALL_PROTOCOL_FEATURES,
      );
    }
    scene.keep(other);
  }),
  bad("F90", async (scene) => {
    const client = await scene.session(0n, ALL_PROTOCOL_FEATURES);
    const before = residentBytes(scene.pid);
    for (let i = 0; i < INFLIGHT_REQUESTS; i++) {
      const [queues, entries] = i === 0 ? LARGE_INFLIGHT : [2, 256];
      const answer = await scene.ask(client, More.GET_INFLIGHT_FD, inflight(0n, queues, entries));
      if (i === 0) {
        const grown = Math.round((residentBytes(scene.pid) - before) / 2 ** 20);
        scene.note(`${grown} MiB larger after one request`);
      }
      if (answer === "hangs up" || answer === "says nothing") break;
    }
  }),
  bad("F91", async (scene) => {
    const small = scene.keep(createMemfd(MEMORY_NAME, 4096));
    const drafts = [
      inflight(2n ** 20n, 2, 256),
      inflight(2n ** 63n, 2, 256),
      inflight(4096n, 0xffff, 0xffff),
      inflight(4096n, 2, 256, 2n ** 64n - 4096n),
    ];
    for (const draft of drafts) {
      const guest = await scene.session(0n, ALL_PROTOCOL_FEATURES);
      await scene.ask(guest, More.SET_INFLIGHT_FD, draft, [small]);
      guest[Symbol.dispose]();
    }
  }),
  ...([
    ["wraps around", 2n ** 64n - 1n, 1n],
    ["behind its file", 2n ** 20n, 2n ** 20n],
    ["longer than its file", 2n ** 20n, 0n],
  ] as const).map(([what, size, offset]) =>
    bad("F92", async (scene) => {
      const guest = await scene.guest({ protocolFeatures: LOG });
      const file = scene.keep(createMemfd(MEMORY_NAME, 4096));
      const payload = Uint8Array.from([...u64(size), ...u64(offset)]);
      await scene.ask(guest.client, Request.SET_LOG_BASE, payload, [file]);
      await pause(1);
      const features = 1n << BigInt(VIRTIO_F_VERSION_1) | 1n << 30n | 1n << BigInt(VHOST_F_LOG_ALL);
      await scene.ask(guest.client, Request.SET_FEATURES, u64(features));
      guest.post([{ addr: guest.at(2 ** 21), len: 2048, flags: 2 }], 8);
      scene.note(await guest.works() ? "goes on" : "takes nothing");
      await scene.flood();
    }, what)
  ),
  bad("F93", async (scene) => {
    for (const [type, address] of [[2, 0n], [3, 0n], [2, 2n ** 64n - 1n], [9, 0n]] as const) {
      const message = Uint8Array.from([
        ...[...u64(address), ...u64(2n ** 40n), ...u64(address)],
        ...[3, type, 0, 0, 0, 0, 0, 0],
      ]);
      const guest = await scene.guest();
      await scene.ask(guest.client, More.IOTLB_MSG, message);
      scene.note(await guest.works() ? "goes on" : "takes nothing");
      guest.client[Symbol.dispose]();
    }
  }),
  bad("F94", async (scene) => {
    const guest = await scene.guest();
    for (const status of [0x80n, 0n, 0xffn, 15n, 2n ** 32n]) {
      await scene.ask(guest.client, Request.SET_STATUS, u64(status));
    }
    await scene.ask(guest.client, Request.RESET_DEVICE, NOTHING);
    scene.note(await guest.works() ? "goes on" : "takes nothing");
    await scene.look(guest.client);
  }),
  bad("F95", async (scene) => {
    for (const request of [More.GET_CONFIG, More.SET_CONFIG]) {
      for (const bytes of [0, CONFIG_HEAD_BYTES, CONFIG_HEAD_BYTES + 256, 4096]) {
        await scene.visit(
          (client) => scene.ask(client, request, new Uint8Array(bytes).fill(0xff)),
          0n,
          ALL_PROTOCOL_FEATURES,
        );
      }
    }
  }),
  bad("F96", async (scene) => {
    for (const request of [More.POSTCOPY_ADVISE, More.POSTCOPY_LISTEN, More.POSTCOPY_END]) {
      await scene.visit(
        (client) => scene.ask(client, request, NOTHING),
        0n,
        ALL_PROTOCOL_FEATURES,
      );
    }
  }),
  bad("F97", async (scene) => {
    const client = await scene.connect();
    const batch = encode(Request.GET_FEATURES, 0, NOTHING);
    const many = Uint8Array.from(new Array(FLOOD_BATCH).fill([...batch]).flat());
    scene.background(async () => {
      await client.send(many);
      for (let i = 0; i < FLOOD_BATCH; i++) await client.number(Request.GET_FEATURES);
    });
    await pause(PATIENCE_MS);
  }),
  bad("F98", async (scene) => {
    const random = new Random(SEED, 0);
    for (let i = 0; i < RANDOM_SESSIONS; i++) await converse(scene, random);
  }),
  bad("F99", async (scene) => {
    const client = await scene.session();
    const message = encode(Request.SET_VRING_NUM, FLAG_NEED_REPLY, ringState(0, 3));
    for (let i = 0; i < REPEATS; i++) {
      await client.send(message);
      await client.number(Request.SET_VRING_NUM);
    }
  }),
];

function inflight(bytes: bigint, queues: number, entries: number, offset = 0n): Uint8Array {
  const data = new Uint8Array(INFLIGHT_BYTES);
  const view = new DataView(data.buffer);
  view.setBigUint64(0, bytes, true);
  view.setBigUint64(8, offset, true);
  view.setUint16(16, queues, true);
  view.setUint16(18, entries, true);
  return data;
}

// A conversation of messages that are well formed more often than not.
async function converse(scene: Scene, random: Random): Promise<void> {
  using client = await scene.session(0n, ALL_PROTOCOL_FEATURES);
  using file = createMemfd(MEMORY_NAME, MEMORY_BYTES);
  using event = EventFd.create();
  try {
    for (let i = 0; i < RANDOM_MESSAGES; i++) {
      const request = random.below(LAST_REQUEST);
      const bytes = random.pick([0, 8, 8, 16, 24, 32, 40, 40, 72, random.below(300)]);
      const words = Uint8Array.from(
        { length: bytes },
        () => random.chance(0.7) ? 0 : random.below(256),
      );
      const fds = random.pick([[], [], [file], [event.fd], [file, event.fd]]);
      await client.send(encode(request, 0, words), fds);
      if (HAS_REPLY.includes(request)) await within(10, client.reply().catch(() => null));
      else await nextTurn();
    }
  } catch {
    // Disconnected before everything was said.
  }
}
