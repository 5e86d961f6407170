/**
 * What an input works with: connections to the attacked port that stay open until the others were
 * looked at, and a notebook for what the back-end answered.
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { FLAG_NEED_REPLY, Request } from "../../../src/vhost_user/numbers.ts";
import { encode } from "../../../src/vhost_user/message.ts";
import { U64 } from "../../../src/vhost_user/layouts.ts";
import {
  featureSet,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_VERSION_1,
} from "../../../src/virtio/features.ts";
import { BROADCAST, makeFrame, stationAddress } from "../../support/frames.ts";
import { RawClient } from "../../support/raw_client.ts";
import { TestGuest } from "../../support/test_guest.ts";
import { NOTHING, u64 } from "../../support/vhost_messages.ts";
import { RawGuest, type RawGuestOptions } from "./raw_guest.ts";
import { PLAIN_PROTOCOL_FEATURES } from "./requests.ts";
import type { Sockets } from "./target.ts";

/** How long a back-end may take to answer or to hang up before it counts as silent. */
const ANSWER_MS = 2000;
/** Frames of a flood, and the time between two. */
const FLOOD_FRAMES = 40;
const FLOOD_REST_MS = 5;
/** Without these no ring is worth its name. */
const FEATURES = featureSet(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES);

/** How a back-end answered. */
export type Answer = "answers" | "accepts" | "refuses" | "hangs up" | "says nothing";

/** The scene of an attack. */
export class Scene implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #notes = new Map<string, number>();

  /**
   * @param sockets Where the ports are.
   * @param pid The back-end's process.
   */
  constructor(readonly sockets: Sockets, readonly pid: number) {}

  /** What was noted, for a person. */
  get notes(): string {
    return [...this.#notes].map(([text, n]) => n === 1 ? text : `${text} ${n}×`).join(", ");
  }

  /** Notes something. */
  note(text: string): void {
    this.#notes.set(text, (this.#notes.get(text) ?? 0) + 1);
  }

  /** Closes something at the end of the scene. */
  keep<T extends Disposable | AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  /** Does something at the end of the scene. */
  atEnd(work: () => Promise<void>): void {
    this.#stack.defer(work);
  }

  /** Does something again and again until the end of the scene. */
  background(work: () => Promise<void>): void {
    let isOver = false;
    const running = (async () => {
      while (!isOver) await work();
    })().catch((error) => this.note(String(error)));
    this.#stack.defer(async () => {
      isOver = true;
      await running;
    });
  }

  /** Connects to the attacked port. */
  async connect(): Promise<RawClient> {
    return this.keep(await RawClient.connect(this.sockets.attacked));
  }

  /**
   * Connects and negotiates what is offered of what is wanted.
   *
   * @param features Features beside VERSION_1.
   * @param protocolFeatures Those of a plain front-end unless told otherwise.
   */
  async session(
    features = 0n,
    protocolFeatures: bigint = PLAIN_PROTOCOL_FEATURES,
  ): Promise<RawClient> {
    const client = await this.connect();
    await client.say(Request.SET_OWNER, NOTHING);
    await client.say(Request.GET_FEATURES, NOTHING);
    const offered = await client.number(Request.GET_FEATURES);
    await client.say(Request.GET_PROTOCOL_FEATURES, NOTHING);
    const protocol = await client.number(Request.GET_PROTOCOL_FEATURES);
    await client.say(Request.SET_PROTOCOL_FEATURES, u64(protocol & protocolFeatures));
    await client.say(Request.SET_FEATURES, u64(offered & (features | FEATURES)));
    await client.probe();
    return client;
  }

  /** Does something in a session of its own that ends with it. */
  async visit(
    work: (client: RawClient) => Promise<unknown>,
    ...negotiated: readonly [features?: bigint, protocolFeatures?: bigint]
  ): Promise<void> {
    using client = await this.session(...negotiated);
    await work(client);
  }

  /** Attaches a guest whose rings are written by hand. */
  async guest(options: RawGuestOptions = {}): Promise<RawGuest> {
    const client = await this.session(options.features, options.protocolFeatures);
    return this.keep(await RawGuest.attach(client, options));
  }

  /** Sends broadcast frames from the free port to everybody. */
  async flood(): Promise<void> {
    const guest = await TestGuest.attach(this.sockets.free);
    try {
      for (let i = 0; i < FLOOD_FRAMES; i++) {
        guest.send(makeFrame(BROADCAST, stationAddress(0xf1)));
        await pause(FLOOD_REST_MS);
      }
    } finally {
      await guest[Symbol.asyncDispose]();
    }
  }

  /** Sends bytes on a connection of its own and notes whether the back-end still answers there. */
  async provoke(data: Uint8Array, fds: readonly Fd[] = []): Promise<void> {
    using client = await RawClient.connect(this.sockets.attacked);
    this.note(
      await settled(async () => {
        await client.send(data, fds);
        return await stillAnswers(client);
      }),
    );
  }

  /** Sends a request and notes whether it is accepted. */
  async ask(
    client: RawClient,
    request: number,
    payload: Uint8Array,
    fds: readonly Fd[] = [],
  ): Promise<Answer> {
    const answer = await settled(async () => {
      await client.send(encode(request, FLAG_NEED_REPLY, payload), fds);
      const reply = await client.reply();
      if (reply.request !== request || reply.payload.length !== U64.size) return "answers";
      const view = new DataView(reply.payload.buffer, reply.payload.byteOffset);
      return U64.read(view).value === 0n ? "accepts" : "refuses";
    });
    this.note(answer);
    return answer;
  }

  /** Notes whether the back-end still answers on a connection. */
  async look(client: RawClient): Promise<void> {
    this.note(await settled(() => stillAnswers(client)));
  }

  /** Closes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Waits for something, but not for ever.
 *
 * @returns What came, or null when the time was over first; then it may come later, unseen.
 */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

// Replies to what was sent before come first.
async function stillAnswers(client: RawClient): Promise<Answer> {
  await client.say(Request.GET_FEATURES, NOTHING);
  while ((await client.reply()).request !== Request.GET_FEATURES);
  return "answers";
}

// Every failure of a connection is one: the back-end has gone.
async function settled(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await within(ANSWER_MS, work()) ?? "says nothing";
  } catch {
    return "hangs up";
  }
}
