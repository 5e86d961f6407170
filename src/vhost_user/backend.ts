/**
 * The back-end role: the state machine of one connection, free of I/O.
 *
 * Bytes come in as messages and replies go out as bytes. What a message does to memory and rings is
 * the device's affair; the back-end keeps what was negotiated, checks what is asked, and owns the
 * descriptors of its rings. A ring has two independent bits ("Ring states"): started by SET_VRING_KICK
 * and stopped by GET_VRING_BASE; enabled and disabled by SET_VRING_ENABLE.
 *
 * Runs on the main thread. Every message is carried out completely before its reply is made.
 *
 * @module
 */
import type { Fields, Layout, Value } from "../layout/struct.ts";
import {
  hasFeature,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_RING_PACKED,
} from "../virtio/features.ts";
import { ringParts } from "../virtio/layouts.ts";
import { ProtocolError, RequestRefused } from "./errors.ts";
import { MEMORY_REGION, MEMORY_TABLE_HEAD, U64, VRING_ADDRESS, VRING_STATE } from "./layouts.ts";
import { type Descriptor, encode, type Message } from "./message.ts";
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  Request,
  type RequestNumber,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VRING_INDEX_MASK,
  VRING_NO_FD,
} from "./numbers.ts";
import { type RequestRule, ruleOf } from "./requests.ts";

/** What a back-end offers; the same for every connection of a port. */
export interface BackendOffer {
  /** Virtio features, bit 30 included. */
  readonly features: bigint;
  /** Protocol features. */
  readonly protocolFeatures: bigint;
  /** Queue pairs. */
  readonly queuePairs: number;
  /** Most entries of a ring. */
  readonly maxQueueSize: number;
}

/** A part of the guest's memory ("Memory region description"). */
export interface MemoryRegion {
  /** Guest-physical address of its first byte. */
  readonly guestAddress: bigint;
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** The same byte as the front-end addresses it. */
  readonly frontendAddress: bigint;
  /** Where the region starts in its file. */
  readonly offsetBytes: bigint;
  /** The file. */
  readonly fd: Descriptor;
}

/** What a ring needs to start. */
export interface RingSetup {
  /** Entries; a power of two unless the ring is packed. */
  readonly size: number;
  /** Next available index, or a packed ring's positions, as the front-end remembers it. */
  readonly base: number;
  /** Front-end address of the descriptor table. */
  readonly descAddress: bigint;
  /** Front-end address of the available ring. */
  readonly availAddress: bigint;
  /** Front-end address of the used ring. */
  readonly usedAddress: bigint;
  /** Eventfd that the guest kicks, or null when it does not; stays the back-end's. */
  readonly kick: Descriptor | null;
  /** Eventfd that calls the guest, or null when it polls; stays the back-end's. */
  readonly call: Descriptor | null;
}

/** The device behind a back-end. Its methods throw {@linkcode RequestRefused} to say no. */
export interface BackendDevice {
  /** Takes over negotiated features. */
  setFeatures(features: bigint): void;
  /** Replaces the memory table; the device owns the regions' descriptors from now on. */
  setMemoryTable(regions: MemoryRegion[]): void;
  /** Starts a ring that is stopped. */
  startRing(index: number, setup: RingSetup): void;
  /** Stops a ring; when it returns nothing touches it. Returns its next available index. */
  stopRing(index: number): number;
  /** Sets a ring's enabled bit, started or not. */
  setRingEnabled(index: number, isEnabled: boolean): void;
  /** Makes sure that a descriptor of a ring is an eventfd that can be written without waiting. */
  requireEventFd(fd: Descriptor): void;
  /** Swaps a started ring's call eventfd; when it returns the old one is not used any more. */
  setCall(index: number, call: Descriptor | null): void;
}

type VringAddress = ReturnType<typeof VRING_ADDRESS.read>;
type VringState = ReturnType<typeof VRING_STATE.read>;

/** What is kept for a ring. */
interface Ring {
  size: number;
  base: number;
  addresses: VringAddress | null;
  kick: Descriptor | null;
  call: Descriptor | null;
  err: Descriptor | null;
  isStarted: boolean;
}

/** Told about each refused request: its name and why. */
export type RefusalListener = (request: string, reason: string) => void;

const NO_PAYLOAD = new Uint8Array(0);

/** The state machine of one connection. */
export class Backend {
  readonly #device: BackendDevice;
  readonly #offer: BackendOffer;
  readonly #onRefused: RefusalListener;
  readonly #rings: Ring[];
  #protocolFeatures = 0n;
  /** Accepted features; null before SET_FEATURES. */
  #features: bigint | null = null;

  /**
   * @param device What the messages act on.
   * @param offer What is offered.
   * @param onRefused Told about each refused request.
   */
  constructor(device: BackendDevice, offer: BackendOffer, onRefused: RefusalListener = () => {}) {
    this.#device = device;
    this.#offer = offer;
    this.#onRefused = onRefused;
    this.#rings = Array.from({ length: 2 * offer.queuePairs }, newRing);
  }

  /**
   * Carries a message out.
   *
   * @param message The message; its descriptors are the back-end's from now on.
   * @returns The reply's bytes, or null when there is none.
   * @throws {ProtocolError} When the connection must be closed.
   */
  handle(message: Message): Uint8Array | null {
    const wantsAck = (message.flags & FLAG_NEED_REPLY) !== 0 &&
      hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F_REPLY_ACK);
    const unused = new Set(message.fds);
    const rule = ruleOf(message.request);
    try {
      if (rule === null) throw new RequestRefused("it is not implemented");
      this.#check(rule, message);
      const reply = this.#carryOut(message, unused);
      if (rule.hasReply) return encode(message.request, FLAG_REPLY, reply);
      return wantsAck ? acknowledgement(message.request, 0n) : null;
    } catch (error) {
      if (!(error instanceof RequestRefused)) throw error;
      const name = rule?.name ?? `message ${message.request}`;
      this.#onRefused(name, error.message);
      if (wantsAck && !rule?.hasReply) return acknowledgement(message.request, 1n);
      throw new ProtocolError(`${name}: ${error.message}`);
    } finally {
      for (const fd of unused) fd.close();
    }
  }

  /** Stops all rings and closes their descriptors. */
  close(): void {
    this.#rings.forEach((ring, index) => {
      if (ring.isStarted) this.#device.stopRing(index);
      ring.isStarted = false;
      for (const fd of [ring.kick, ring.call, ring.err]) fd?.close();
      ring.kick = ring.call = ring.err = null;
    });
  }

  #check(rule: RequestRule, { flags, payload, fds }: Message): void {
    if ((flags & FLAG_REPLY) !== 0) throw new ProtocolError(`${rule.name} is marked as a reply`);
    const [fewest, most] = rule.bytes;
    if (payload.length < fewest || payload.length > most) {
      throw new ProtocolError(
        `${rule.name} has ${payload.length} bytes, want ${range(rule.bytes)}`,
      );
    }
    if (fds.length < rule.fds[0] || fds.length > rule.fds[1]) {
      throw new ProtocolError(
        `${rule.name} came with ${fds.length} descriptors, want ${range(rule.fds)}`,
      );
    }
    if (rule.gate !== undefined && !hasFeature(this.#protocolFeatures, rule.gate)) {
      throw new RequestRefused(`protocol feature ${rule.gate} was not negotiated`);
    }
  }

  // Descriptors that a handler keeps are taken out of `unused`; the rest is closed by the caller.
  #carryOut(message: Message, unused: Set<Descriptor>): Uint8Array {
    switch (message.request as RequestNumber) {
      case Request.GET_FEATURES:
        return payload(U64, { value: this.#offer.features });
      case Request.SET_FEATURES:
        this.#setFeatures(read(U64, message).value);
        break;
      case Request.SET_OWNER:
      case Request.RESET_OWNER:
        // One connection has one owner; the deprecated reset must not lose any state.
        break;
      case Request.SET_MEM_TABLE:
        this.#setMemoryTable(message, unused);
        break;
      case Request.SET_VRING_NUM:
        this.#setSize(read(VRING_STATE, message));
        break;
      case Request.SET_VRING_ADDR:
        this.#setAddresses(read(VRING_ADDRESS, message));
        break;
      case Request.SET_VRING_BASE:
        this.#setBase(read(VRING_STATE, message));
        break;
      case Request.GET_VRING_BASE:
        return this.#stop(read(VRING_STATE, message).index);
      case Request.SET_VRING_KICK:
        this.#setKick(message, unused);
        break;
      case Request.SET_VRING_CALL:
        this.#setCall(message, unused);
        break;
      case Request.SET_VRING_ERR:
        this.#setErr(message, unused);
        break;
      case Request.GET_PROTOCOL_FEATURES:
        return payload(U64, { value: this.#offer.protocolFeatures });
      case Request.SET_PROTOCOL_FEATURES:
        this.#setProtocolFeatures(read(U64, message).value);
        break;
      case Request.GET_QUEUE_NUM:
        return payload(U64, { value: BigInt(this.#offer.queuePairs) });
      case Request.SET_VRING_ENABLE:
        this.#setEnabled(read(VRING_STATE, message));
        break;
    }
    return NO_PAYLOAD;
  }

  #setFeatures(features: bigint): void {
    refuseBitsNotOffered(features, this.#offer.features);
    this.#device.setFeatures(features);
    this.#features = features;
    // "Ring states": without protocol features rings are enabled from the start.
    if (hasFeature(features, VHOST_USER_F_PROTOCOL_FEATURES)) return;
    for (const index of this.#rings.keys()) this.#device.setRingEnabled(index, true);
  }

  #setProtocolFeatures(features: bigint): void {
    refuseBitsNotOffered(features, this.#offer.protocolFeatures);
    this.#protocolFeatures = features;
  }

  #setMemoryTable(message: Message, unused: Set<Descriptor>): void {
    const { nregions } = read(MEMORY_TABLE_HEAD, message);
    const want = MEMORY_TABLE_HEAD.size + nregions * MEMORY_REGION.size;
    if (message.payload.length !== want) {
      throw new ProtocolError(`a table of ${nregions} regions has ${message.payload.length} bytes`);
    }
    if (message.fds.length !== nregions) {
      throw new ProtocolError(`${nregions} regions came with ${message.fds.length} descriptors`);
    }
    if (nregions === 0) throw new RequestRefused("the memory table has no regions");
    const view = viewOf(message.payload);
    const regions = message.fds.map((fd, i): MemoryRegion => {
      const region = MEMORY_REGION.read(view, MEMORY_TABLE_HEAD.size + i * MEMORY_REGION.size);
      return {
        guestAddress: region.guest_phys_addr,
        sizeBytes: region.memory_size,
        frontendAddress: region.userspace_addr,
        offsetBytes: region.mmap_offset,
        fd,
      };
    });
    unused.clear();
    this.#device.setMemoryTable(regions);
  }

  #setSize({ index, num }: VringState): void {
    const ring = this.#stoppedRing(index);
    // VIRTIO 1.2, 2.7 and 2.8: only a split ring's size must be a power of two.
    const isPossible = num > 0 && (this.#isPacked || (num & (num - 1)) === 0);
    if (!isPossible || num > this.#offer.maxQueueSize) {
      const want = `want ${
        this.#isPacked ? "1" : "a power of two"
      } up to ${this.#offer.maxQueueSize}`;
      throw new RequestRefused(`ring ${index} cannot have ${num} entries: ${want}`);
    }
    ring.size = num;
  }

  #setAddresses(addresses: VringAddress): void {
    const { index, desc_user_addr, avail_user_addr, used_user_addr } = addresses;
    const ring = this.#stoppedRing(index);
    if (addresses.flags !== 0) throw new RequestRefused("logging was not offered");
    const { desc, avail, used } = ringParts(1, this.#isPacked);
    const isAligned = desc_user_addr % BigInt(desc.align) === 0n &&
      avail_user_addr % BigInt(avail.align) === 0n && used_user_addr % BigInt(used.align) === 0n;
    if (!isAligned) throw new RequestRefused(`the addresses of ring ${index} are not aligned`);
    ring.addresses = addresses;
  }

  #setBase({ index, num }: VringState): void {
    // "SET_VRING_BASE": an index of 16 bits, or a packed ring's two positions.
    if (num > 0xffff && !this.#isPacked) {
      throw new RequestRefused(`the base of ring ${index} has more than 16 bits`);
    }
    this.#stoppedRing(index).base = num;
  }

  #stop(index: number): Uint8Array {
    const ring = this.#ring(index);
    if (ring.isStarted) ring.base = this.#device.stopRing(index);
    ring.isStarted = false;
    ring.kick?.close();
    ring.call?.close();
    ring.kick = ring.call = null;
    return payload(VRING_STATE, { index, num: ring.base });
  }

  #setKick(message: Message, unused: Set<Descriptor>): void {
    const { index, ring, fd } = this.#eventfd(message);
    if (ring.addresses === null) throw new RequestRefused(`ring ${index} has no addresses yet`);
    if (ring.size === 0) throw new RequestRefused(`ring ${index} has no size yet`);
    if (ring.isStarted) ring.base = this.#device.stopRing(index);
    ring.isStarted = false;
    this.#device.startRing(index, {
      size: ring.size,
      base: ring.base,
      descAddress: ring.addresses.desc_user_addr,
      availAddress: ring.addresses.avail_user_addr,
      usedAddress: ring.addresses.used_user_addr,
      kick: fd,
      call: ring.call,
    });
    replace(ring, "kick", fd, unused);
    ring.isStarted = true;
  }

  // Comes before everything else, at the start and at any time later.
  #setCall(message: Message, unused: Set<Descriptor>): void {
    const { index, ring, fd } = this.#eventfd(message);
    if (ring.isStarted) this.#device.setCall(index, fd);
    replace(ring, "call", fd, unused);
  }

  #setErr(message: Message, unused: Set<Descriptor>): void {
    const { ring, fd } = this.#eventfd(message);
    replace(ring, "err", fd, unused);
  }

  #setEnabled({ index, num }: VringState): void {
    this.#ring(index);
    // QEMU sends it before SET_FEATURES, too.
    if (this.#features !== null && !hasFeature(this.#features, VHOST_USER_F_PROTOCOL_FEATURES)) {
      throw new RequestRefused("bit 30 was not accepted, so every ring is enabled");
    }
    if (num > 1) throw new RequestRefused(`ring ${index} can be enabled (1) or disabled (0)`);
    this.#device.setRingEnabled(index, num === 1);
  }

  get #isPacked(): boolean {
    return hasFeature(this.#features ?? 0n, VIRTIO_F_RING_PACKED);
  }

  #eventfd(message: Message): { index: number; ring: Ring; fd: Descriptor | null } {
    const { value } = read(U64, message);
    const hasNone = (value & VRING_NO_FD) !== 0n;
    if (message.fds.length !== (hasNone ? 0 : 1)) {
      throw new ProtocolError(
        `${ruleOf(message.request)!.name} came with ${message.fds.length} descriptors, ` +
          `want ${hasNone ? 0 : 1}`,
      );
    }
    const extra = value & ~(VRING_INDEX_MASK | VRING_NO_FD);
    if (extra !== 0n) throw new RequestRefused(`bits 0x${extra.toString(16)} have no meaning`);
    const index = Number(value & VRING_INDEX_MASK);
    const ring = this.#ring(index);
    const fd = message.fds[0] ?? null;
    if (fd !== null) this.#device.requireEventFd(fd);
    return { index, ring, fd };
  }

  #ring(index: number): Ring {
    const ring = this.#rings[index];
    if (ring !== undefined) return ring;
    throw new RequestRefused(
      `there is no ring ${index}: the port has ${this.#offer.queuePairs} queue pairs`,
    );
  }

  #stoppedRing(index: number): Ring {
    const ring = this.#ring(index);
    if (ring.isStarted) throw new RequestRefused(`ring ${index} is running`);
    return ring;
  }
}

function newRing(): Ring {
  return {
    size: 0,
    base: 0,
    addresses: null,
    kick: null,
    call: null,
    err: null,
    isStarted: false,
  };
}

function replace(
  ring: Ring,
  which: "kick" | "call" | "err",
  fd: Descriptor | null,
  unused: Set<Descriptor>,
): void {
  ring[which]?.close();
  ring[which] = fd;
  if (fd !== null) unused.delete(fd);
}

function refuseBitsNotOffered(features: bigint, offered: bigint): void {
  const extra = features & ~offered;
  if (extra !== 0n) throw new RequestRefused(`bits 0x${extra.toString(16)} were not offered`);
}

function acknowledgement(request: number, value: bigint): Uint8Array {
  return encode(request, FLAG_REPLY, payload(U64, { value }));
}

function payload<F extends Fields>(layout: Layout<F>, value: Value<F>): Uint8Array {
  const data = new Uint8Array(layout.size);
  layout.write(viewOf(data), 0, value);
  return data;
}

function read<F extends Fields>(layout: Layout<F>, message: Message): Value<F> {
  return layout.read(viewOf(message.payload));
}

function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

function range([fewest, most]: readonly [number, number]): string {
  return fewest === most ? `${fewest}` : `${fewest} to ${most}`;
}
