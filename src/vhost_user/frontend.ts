/**
 * The front-end role: the conversation that attaches a driver to a back-end, free of I/O.
 *
 * The conversation is a generator of steps. Whoever drives it sends the bytes and descriptors of each
 * step and, where a reply is due, hands the reply in. So the same order of messages serves a host that
 * may block and one that may not:
 *
 *     SET_OWNER, features, protocol features, queue count, SET_FEATURES, SET_MEM_TABLE,
 *     per ring: NUM BASE ADDR CALL KICK, then ENABLE for all
 *
 * This order satisfies every back-end known, also those that refuse a message before its feature is
 * negotiated.
 *
 * @module
 */
import type { Fields, Layout, Value } from "../layout/struct.ts";
import { featureSet, hasFeature, VHOST_USER_F_PROTOCOL_FEATURES } from "../virtio/features.ts";
import { ProtocolError, RequestRefused } from "./errors.ts";
import { MEMORY_REGION, MEMORY_TABLE_HEAD, U64, VRING_ADDRESS, VRING_STATE } from "./layouts.ts";
import { type Descriptor, encode, type Message } from "./message.ts";
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  Request,
  VERSION,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VRING_NO_FD,
} from "./numbers.ts";
import type { MemoryRegion } from "./backend.ts";

/** A message to send; `expectsReply` says whether the driver of the conversation waits for one. */
export interface Step {
  /** The bytes. */
  readonly data: Uint8Array;
  /** Descriptors to send along; they stay the caller's. */
  readonly fds: readonly Descriptor[];
  /** Whether a reply follows. */
  readonly expectsReply: boolean;
}

/** A conversation: yields steps, receives the reply of each step that expects one, returns a result. */
export type Conversation<T> = Generator<Step, T, Message | null>;

/** A ring that the front-end hands over. */
export interface FrontendRing {
  /** Entries. */
  readonly size: number;
  /** Front-end address of the descriptor table. */
  readonly descAddress: bigint;
  /** Front-end address of the available ring. */
  readonly availAddress: bigint;
  /** Front-end address of the used ring. */
  readonly usedAddress: bigint;
  /** Eventfd to kick the back-end with, or null when it polls. */
  readonly kick: Descriptor | null;
  /** Eventfd that the back-end calls, or null when the driver polls. */
  readonly call: Descriptor | null;
}

/** What a front-end brings. */
export interface FrontendSetup {
  /** Virtio features that the driver knows; bit 30 is added. */
  readonly features: bigint;
  /** Its memory. */
  readonly regions: readonly MemoryRegion[];
  /** Its rings in the order of their indexes: receive and transmit queue of pair 0, of pair 1, … */
  readonly rings: readonly FrontendRing[];
}

/** What came of it. */
export interface Negotiated {
  /** Virtio features in use. */
  readonly features: bigint;
  /** Protocol features in use. */
  readonly protocolFeatures: bigint;
}

const KNOWN_PROTOCOL_FEATURES = featureSet(
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
);

/** A front-end on one connection. */
export class Frontend {
  #protocolFeatures = 0n;

  /**
   * Attaches a driver.
   *
   * @param setup Features, memory and rings.
   * @returns What was negotiated; frames may flow.
   * @throws {RequestRefused} When the back-end refuses something or has too few queues.
   * @throws {ProtocolError} When it answers nonsense.
   */
  *attach(setup: FrontendSetup): Conversation<Negotiated> {
    yield* this.#tell(Request.SET_OWNER, new Uint8Array(0));
    const offered = yield* this.#askNumber(Request.GET_FEATURES);
    const known = setup.features | featureSet(VHOST_USER_F_PROTOCOL_FEATURES);
    const features = offered & known;
    if (hasFeature(offered, VHOST_USER_F_PROTOCOL_FEATURES)) yield* this.#negotiateProtocol();
    yield* this.#checkQueues(setup.rings.length / 2);
    yield* this.#tell(Request.SET_FEATURES, encodeU64(features));
    yield* this.#shareMemory(setup.regions);
    for (const [index, ring] of setup.rings.entries()) yield* this.#startRing(index, ring);
    if (hasFeature(features, VHOST_USER_F_PROTOCOL_FEATURES)) {
      for (const index of setup.rings.keys()) yield* this.#enable(index);
    }
    return { features, protocolFeatures: this.#protocolFeatures };
  }

  /**
   * Stops a ring.
   *
   * @param index The ring.
   * @returns Its next available index; the back-end does not touch the ring any more.
   */
  *stopRing(index: number): Conversation<number> {
    const payload = encodeStruct(VRING_STATE, { index, num: 0 });
    const reply = yield {
      data: encode(Request.GET_VRING_BASE, 0, payload),
      fds: [],
      expectsReply: true,
    };
    return decodeReply(VRING_STATE, Request.GET_VRING_BASE, reply).num;
  }

  *#negotiateProtocol(): Conversation<void> {
    const offered = yield* this.#askNumber(Request.GET_PROTOCOL_FEATURES);
    const features = offered & KNOWN_PROTOCOL_FEATURES;
    yield* this.#tell(Request.SET_PROTOCOL_FEATURES, encodeU64(features));
    this.#protocolFeatures = features;
  }

  *#checkQueues(pairs: number): Conversation<void> {
    const hasMany = hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F_MQ);
    const most = hasMany ? Number(yield* this.#askNumber(Request.GET_QUEUE_NUM)) : 1;
    if (pairs > most) {
      throw new RequestRefused(`the back-end has ${most} queue pairs, want ${pairs}`);
    }
  }

  *#shareMemory(regions: readonly MemoryRegion[]): Conversation<void> {
    const payload = new Uint8Array(MEMORY_TABLE_HEAD.size + regions.length * MEMORY_REGION.size);
    const view = new DataView(payload.buffer);
    MEMORY_TABLE_HEAD.write(view, 0, { nregions: regions.length, padding: 0 });
    regions.forEach((region, i) =>
      MEMORY_REGION.write(view, MEMORY_TABLE_HEAD.size + i * MEMORY_REGION.size, {
        guest_phys_addr: region.guestAddress,
        memory_size: region.sizeBytes,
        userspace_addr: region.frontendAddress,
        mmap_offset: region.offsetBytes,
      })
    );
    yield* this.#tell(Request.SET_MEM_TABLE, payload, regions.map(({ fd }) => fd));
  }

  *#startRing(index: number, ring: FrontendRing): Conversation<void> {
    yield* this.#tell(Request.SET_VRING_NUM, encodeStruct(VRING_STATE, { index, num: ring.size }));
    yield* this.#tell(Request.SET_VRING_BASE, encodeStruct(VRING_STATE, { index, num: 0 }));
    const addresses = {
      index,
      flags: 0,
      desc_user_addr: ring.descAddress,
      used_user_addr: ring.usedAddress,
      avail_user_addr: ring.availAddress,
      log_guest_addr: 0n,
    };
    yield* this.#tell(Request.SET_VRING_ADDR, encodeStruct(VRING_ADDRESS, addresses));
    yield* this.#giveEventfd(Request.SET_VRING_CALL, index, ring.call);
    yield* this.#giveEventfd(Request.SET_VRING_KICK, index, ring.kick);
  }

  *#giveEventfd(request: number, index: number, fd: Descriptor | null): Conversation<void> {
    const value = BigInt(index) | (fd === null ? VRING_NO_FD : 0n);
    yield* this.#tell(request, encodeU64(value), fd === null ? [] : [fd]);
  }

  *#enable(index: number): Conversation<void> {
    yield* this.#tell(Request.SET_VRING_ENABLE, encodeStruct(VRING_STATE, { index, num: 1 }));
  }

  *#askNumber(request: number): Conversation<bigint> {
    const reply = yield {
      data: encode(request, 0, new Uint8Array(0)),
      fds: [],
      expectsReply: true,
    };
    return decodeReply(U64, request, reply).value;
  }

  *#tell(
    request: number,
    payload: Uint8Array,
    fds: readonly Descriptor[] = [],
  ): Conversation<void> {
    const expectsReply = hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F_REPLY_ACK);
    const flags = expectsReply ? FLAG_NEED_REPLY : 0;
    const reply = yield { data: encode(request, flags, payload), fds, expectsReply };
    if (!expectsReply) return;
    if (decodeReply(U64, request, reply).value !== 0n) {
      throw new RequestRefused(`the back-end refused request ${request}`);
    }
  }
}

function decodeReply<F extends Fields>(
  layout: Layout<F>,
  request: number,
  reply: Message | null,
): Value<F> {
  if (
    reply === null || reply.request !== request || reply.flags !== (VERSION | FLAG_REPLY) ||
    reply.payload.length !== layout.size
  ) {
    throw new ProtocolError(`the reply to request ${request} is not one`);
  }
  return layout.read(new DataView(reply.payload.buffer, reply.payload.byteOffset, layout.size));
}

function encodeU64(value: bigint): Uint8Array {
  return encodeStruct(U64, { value });
}

function encodeStruct<F extends Fields>(layout: Layout<F>, value: Value<F>): Uint8Array {
  const data = new Uint8Array(layout.size);
  layout.write(new DataView(data.buffer), 0, value);
  return data;
}
