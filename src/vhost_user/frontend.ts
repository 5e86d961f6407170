/**
 * The front-end role: the conversation that attaches a driver to a back-end, free of I/O.
 *
 * The conversation is a generator of steps. Whoever drives it sends the bytes and descriptors of each
 * step and, where a reply is due, hands the reply in. So the same order of messages serves a host that
 * may block and one that may not:
 *
 *     negotiate: SET_OWNER, features, protocol features, queue count, SET_FEATURES, status, MTU
 *     start:     memory; per ring NUM BASE ADDR CALL KICK; ENABLE for all; status
 *
 * This order satisfies every back-end known, also those that refuse a message before its feature is
 * negotiated. No message is sent whose feature was not: some back-ends end the connection on one.
 *
 * Nothing that the back-end says is used as it comes: features are masked by ours, numbers have bounds,
 * a reply must be the one that is due, and no reply of these messages carries a descriptor.
 *
 * @module
 */
import type { Fields, Layout } from "../layout/struct.ts";
import {
  acceptable,
  featureSet,
  hasFeature,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_RING_PACKED,
  VIRTIO_NET_F_MTU,
} from "../virtio/features.ts";
import { WRAP_COUNTER } from "../virtio/packed_layouts.ts";
import type { MemoryRegion } from "./device.ts";
import { ProtocolError, RequestRefused } from "./errors.ts";
import {
  MEMORY_REGION,
  MEMORY_TABLE_HEAD,
  SINGLE_REGION,
  U64,
  VRING_ADDRESS,
  VRING_STATE,
} from "./layouts.ts";
import { type Descriptor, encode, type Message, payload, read } from "./message.ts";
import {
  DeviceStatus,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  MAX_QUEUE_PAIRS,
  MAX_TABLE_REGIONS,
  Request,
  type RequestNumber,
  VERSION,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_NET_MTU,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_STATUS,
  VRING_NO_FD,
} from "./numbers.ts";
import { REQUESTS } from "./requests.ts";

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

/** What a front-end wants of a back-end. */
export interface FrontendWish {
  /** Virtio features that the driver knows; bit 30 is added. */
  readonly features: bigint;
  /** Queue pairs that it uses; 1. */
  readonly queuePairs?: number;
  /** The largest packet that the driver's side takes, in bytes; not said when left out. */
  readonly mtu?: number;
}

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
  /** Where the ring stands, as GET_VRING_BASE had it; a fresh ring when left out. */
  readonly base?: number;
  /** Eventfd to kick the back-end with, or null when it polls. */
  readonly kick: Descriptor | null;
  /** Eventfd that the back-end calls, or null when the driver polls. */
  readonly call: Descriptor | null;
}

/** What a front-end brings. */
export interface FrontendSetup extends FrontendWish {
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
  VHOST_USER_PROTOCOL_F_NET_MTU,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_STATUS,
);
const NOTHING = new Uint8Array(0);
/**
 * Messages without a reply that are sent before a question is. A socket's buffer takes four times as
 * many small ones (net.core.wmem_default), and a sender that waited for room could be made to wait.
 */
const MOST_UNANSWERED = 64;
/** Next available and next used position of a packed ring that was never used. */
const FRESH_PACKED_BASE = (WRAP_COUNTER << 16 | WRAP_COUNTER) >>> 0;

/** A front-end on one connection. */
export class VhostUserFrontend {
  #features = 0n;
  #protocolFeatures = 0n;
  /** Messages since the last reply. */
  #unanswered = 0;

  /**
   * Attaches a driver that lays its rings out before it knows the back-end.
   *
   * @param setup Features, memory and rings.
   * @returns What was negotiated; frames may flow.
   * @throws {RequestRefused} When the back-end refuses something or has too few queues.
   * @throws {ProtocolError} When it answers nonsense.
   */
  *attach(setup: FrontendSetup): Conversation<Negotiated> {
    const negotiated = yield* this.negotiate({ ...setup, queuePairs: setup.rings.length / 2 });
    yield* this.start(setup.regions, setup.rings);
    return negotiated;
  }

  /**
   * Finds out what both sides can do, and says so.
   *
   * @param wish What the driver knows and wants.
   * @returns What was negotiated; the rings may be laid out accordingly.
   * @throws {RequestRefused} When the back-end refuses something or has too few queues.
   * @throws {ProtocolError} When it answers nonsense.
   */
  *negotiate({ features, queuePairs = 1, mtu }: FrontendWish): Conversation<Negotiated> {
    yield* this.#tell(Request.SET_OWNER, NOTHING);
    const offered = yield* this.#askNumber(Request.GET_FEATURES);
    this.#features = acceptable(offered & (features | featureSet(VHOST_USER_F_PROTOCOL_FEATURES)));
    if (this.#hasProtocolFeatures) yield* this.#negotiateProtocol();
    yield* this.#checkQueues(queuePairs);
    if (this.#speaks(VHOST_USER_PROTOCOL_F_STATUS)) {
      yield* this.#setStatus(DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER);
    }
    yield* this.#tell(Request.SET_FEATURES, u64(this.#features));
    if (this.#speaks(VHOST_USER_PROTOCOL_F_STATUS)) yield* this.#confirmFeatures();
    if (
      mtu !== undefined && hasFeature(this.#features, VIRTIO_NET_F_MTU) &&
      this.#speaks(VHOST_USER_PROTOCOL_F_NET_MTU)
    ) yield* this.#tell(Request.NET_SET_MTU, u64(BigInt(mtu)));
    return { features: this.#features, protocolFeatures: this.#protocolFeatures };
  }

  /**
   * Hands memory and rings over, after {@linkcode negotiate}.
   *
   * @param regions The driver's memory.
   * @param rings Its rings in the order of their indexes.
   * @throws {RequestRefused} When the back-end refuses something.
   * @throws {ProtocolError} When it answers nonsense.
   */
  *start(regions: readonly MemoryRegion[], rings: readonly FrontendRing[]): Conversation<void> {
    yield* this.#shareMemory(regions);
    for (const [index, ring] of rings.entries()) yield* this.#startRing(index, ring);
    // A back-end without protocol features has enabled every ring at SET_FEATURES.
    if (this.#hasProtocolFeatures) {
      for (const index of rings.keys()) yield* this.#enable(index);
    }
    if (this.#speaks(VHOST_USER_PROTOCOL_F_STATUS)) {
      yield* this.#setStatus(CONFIRMED_STATUS | DeviceStatus.DRIVER_OK);
    }
    // Whoever does not acknowledge has done everything when it answers the next question.
    if (!this.#speaks(VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
      yield* this.#askNumber(Request.GET_FEATURES);
    }
  }

  /**
   * Stops a ring.
   *
   * @param index The ring.
   * @returns Where it stands, to be given as `base` when it is started again: the next available
   * index (split), or the next available position with the next used one above it (packed). The
   * back-end does not touch the ring any more.
   * @throws {ProtocolError} When it answers nonsense.
   */
  *stopRing(index: number): Conversation<number> {
    const request = Request.GET_VRING_BASE;
    const state = read(VRING_STATE, yield* this.#ask(request, VRING_STATE, ringState(index, 0)));
    if (state.index !== index) {
      throw new ProtocolError(`the reply to ${requestName(request)} is for ring ${state.index}`);
    }
    return state.num;
  }

  // A packed ring begins with both wrap counters at 1 (VIRTIO 1.2, 2.8.1; "A vring state description").
  get #freshBase(): number {
    return hasFeature(this.#features, VIRTIO_F_RING_PACKED) ? FRESH_PACKED_BASE : 0;
  }

  get #hasProtocolFeatures(): boolean {
    return hasFeature(this.#features, VHOST_USER_F_PROTOCOL_FEATURES);
  }

  #speaks(protocolFeature: number): boolean {
    return hasFeature(this.#protocolFeatures, protocolFeature);
  }

  *#negotiateProtocol(): Conversation<void> {
    const offered = yield* this.#askNumber(Request.GET_PROTOCOL_FEATURES);
    const features = offered & KNOWN_PROTOCOL_FEATURES;
    yield* this.#tell(Request.SET_PROTOCOL_FEATURES, u64(features));
    this.#protocolFeatures = features;
  }

  *#checkQueues(wanted: number): Conversation<void> {
    const has = this.#speaks(VHOST_USER_PROTOCOL_F_MQ)
      ? yield* this.#askNumber(Request.GET_QUEUE_NUM)
      : 1n;
    // The index of a ring has 8 bits in some messages ("Message types"), so there are no more pairs.
    const most = has > BigInt(MAX_QUEUE_PAIRS) ? MAX_QUEUE_PAIRS : Number(has);
    if (wanted > most) {
      throw new RequestRefused(`the back-end has ${most} queue pairs, want ${wanted}`);
    }
  }

  // VIRTIO 1.2, 3.1.1: a device that does not keep the bit cannot work with these features.
  *#confirmFeatures(): Conversation<void> {
    yield* this.#setStatus(CONFIRMED_STATUS);
    const status = yield* this.#askNumber(Request.GET_STATUS);
    if ((status & BigInt(DeviceStatus.FEATURES_OK)) === 0n) {
      throw new RequestRefused("the back-end does not work with the features that it offered");
    }
  }

  *#setStatus(status: number): Conversation<void> {
    yield* this.#tell(Request.SET_STATUS, u64(BigInt(status)));
  }

  *#shareMemory(regions: readonly MemoryRegion[]): Conversation<void> {
    if (regions.length > MAX_TABLE_REGIONS) return yield* this.#addRegions(regions);
    const table = new Uint8Array(MEMORY_TABLE_HEAD.size + regions.length * MEMORY_REGION.size);
    const view = new DataView(table.buffer);
    MEMORY_TABLE_HEAD.write(view, 0, { nregions: regions.length, padding: 0 });
    regions.forEach((region, i) =>
      MEMORY_REGION.write(view, MEMORY_TABLE_HEAD.size + i * MEMORY_REGION.size, described(region))
    );
    yield* this.#tell(Request.SET_MEM_TABLE, table, regions.map(({ fd }) => fd));
  }

  *#addRegions(regions: readonly MemoryRegion[]): Conversation<void> {
    const slots = this.#speaks(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
      ? yield* this.#askNumber(Request.GET_MAX_MEM_SLOTS)
      : BigInt(MAX_TABLE_REGIONS);
    if (BigInt(regions.length) > slots) {
      throw new RequestRefused(`the back-end has ${slots} memory slots, want ${regions.length}`);
    }
    for (const region of regions) {
      const bytes = payload(SINGLE_REGION, { padding: 0n, ...described(region) });
      yield* this.#tell(Request.ADD_MEM_REG, bytes, [region.fd]);
    }
  }

  *#startRing(index: number, ring: FrontendRing): Conversation<void> {
    yield* this.#tell(Request.SET_VRING_NUM, ringState(index, ring.size));
    yield* this.#tell(Request.SET_VRING_BASE, ringState(index, ring.base ?? this.#freshBase));
    const addresses = {
      index,
      flags: 0,
      desc_user_addr: ring.descAddress,
      used_user_addr: ring.usedAddress,
      avail_user_addr: ring.availAddress,
      log_guest_addr: 0n,
    };
    yield* this.#tell(Request.SET_VRING_ADDR, payload(VRING_ADDRESS, addresses));
    yield* this.#giveEventfd(Request.SET_VRING_CALL, index, ring.call);
    yield* this.#giveEventfd(Request.SET_VRING_KICK, index, ring.kick);
  }

  *#giveEventfd(request: number, index: number, fd: Descriptor | null): Conversation<void> {
    const value = BigInt(index) | (fd === null ? VRING_NO_FD : 0n);
    yield* this.#tell(request, u64(value), fd === null ? [] : [fd]);
  }

  *#enable(index: number): Conversation<void> {
    yield* this.#tell(Request.SET_VRING_ENABLE, ringState(index, 1));
  }

  *#askNumber(request: number): Conversation<bigint> {
    return read(U64, yield* this.#ask(request, U64, NOTHING)).value;
  }

  *#ask<F extends Fields>(
    request: number,
    layout: Layout<F>,
    question: Uint8Array,
  ): Conversation<Message> {
    const reply = yield { data: encode(request, 0, question), fds: [], expectsReply: true };
    this.#unanswered = 0;
    return checked(layout, request, reply);
  }

  // A back-end that does not acknowledge has read everything when it answers a question.
  *#keepPace(): Conversation<void> {
    if (++this.#unanswered >= MOST_UNANSWERED) yield* this.#askNumber(Request.GET_FEATURES);
  }

  *#tell(
    request: number,
    what: Uint8Array,
    fds: readonly Descriptor[] = [],
  ): Conversation<void> {
    const expectsReply = this.#speaks(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    const flags = expectsReply ? FLAG_NEED_REPLY : 0;
    const reply = yield { data: encode(request, flags, what), fds, expectsReply };
    if (!expectsReply) return yield* this.#keepPace();
    if (read(U64, checked(U64, request, reply)).value !== 0n) {
      throw new RequestRefused(`the back-end refused ${requestName(request)}`);
    }
  }
}

const CONFIRMED_STATUS = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.FEATURES_OK;

// The reply, if it is the one that is due.
function checked<F extends Fields>(
  layout: Layout<F>,
  request: number,
  reply: Message | null,
): Message {
  for (const fd of reply?.fds ?? []) fd.close();
  if (
    reply === null || reply.request !== request || reply.flags !== (VERSION | FLAG_REPLY) ||
    reply.payload.length !== layout.size || reply.fds.length > 0
  ) {
    throw new ProtocolError(`the reply to ${requestName(request)} is not one`);
  }
  return reply;
}

function requestName(request: number): string {
  return REQUESTS[request as RequestNumber].name;
}

function described(region: MemoryRegion): ReturnType<typeof MEMORY_REGION.read> {
  return {
    guest_phys_addr: region.guestAddress,
    memory_size: region.sizeBytes,
    userspace_addr: region.frontendAddress,
    mmap_offset: region.offsetBytes,
  };
}

function ringState(index: number, num: number): Uint8Array {
  return payload(VRING_STATE, { index, num });
}

function u64(value: bigint): Uint8Array {
  return payload(U64, { value });
}
