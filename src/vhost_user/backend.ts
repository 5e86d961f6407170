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
import {
  hasFeature,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_RING_PACKED,
} from "../virtio/features.ts";
import { ringParts } from "../virtio/layouts.ts";
import type { BackendDevice, BackendOffer } from "./device.ts";
import { ProtocolError, RequestRefused } from "./errors.ts";
import { U64, VRING_ADDRESS, VRING_STATE } from "./layouts.ts";
import { dirtyLog, sharedParts, singleRegion, tableRegions } from "./memory_messages.ts";
import { type Descriptor, encode, type Message, payload, read } from "./message.ts";
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  MAX_MEMORY_SLOTS,
  Request,
  type RequestNumber,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VRING_F_LOG,
  VRING_INDEX_MASK,
  VRING_NO_FD,
} from "./numbers.ts";
import { type RequestRule, ruleOf } from "./requests.ts";

export type { BackendDevice, BackendOffer, MemoryRegion, RingSetup } from "./device.ts";

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

/** The bytes of a reply; null when there is none. */
export type Reply = Uint8Array | null;

const NO_PAYLOAD = new Uint8Array(0);
/** Bytes of a MAC address, with which the payload of SEND_RARP begins. */
const ADDRESS_BYTES = 6;
/** The least that every IPv4 host must take (RFC 791, 3.2). */
const MIN_MTU = 68n;
/** The largest that the device's configuration can say (VIRTIO 1.2, 5.1.4). */
const MAX_MTU = 65535n;

/** The state machine of one connection. */
export class VhostUserBackend {
  readonly #device: BackendDevice;
  readonly #offer: BackendOffer;
  readonly #onRefused: RefusalListener;
  readonly #rings: Ring[];
  #isClosed = false;
  #protocolFeatures = 0n;
  /** The device status as the front-end set it ("VHOST_USER_SET_STATUS"). */
  #status = 0n;
  /** Accepted features; null before SET_FEATURES. */
  #features: bigint | null = null;

  /**
   * Begins with a new front-end: nothing is negotiated, all rings are stopped.
   *
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
   * @returns The reply's bytes, or null when there is none; a promise when memory must be allocated
   * first, and then the next message must wait for it.
   * @throws {ProtocolError} When the connection must be closed.
   */
  handle(message: Message): Reply | Promise<Reply> {
    const preparation = this.#prepare(message);
    if (preparation === null) return this.#answer(message);
    return preparation.then(
      () => this.#answer(message),
      (error) => this.#answer(message, error),
    );
  }

  /**
   * The eventfd that tells the front-end about a broken ring, or null when it gave none; stays the
   * back-end's.
   */
  errorEventFd(index: number): Descriptor | null {
    return this.#rings[index]?.err ?? null;
  }

  /** Stops all rings and closes their descriptors. */
  close(): void {
    this.#isClosed = true;
    this.#rings.forEach((ring, index) => {
      if (ring.isStarted) this.#device.stopRing(index);
      ring.isStarted = false;
      for (const fd of [ring.kick, ring.call, ring.err]) fd?.close();
      ring.kick = ring.call = ring.err = null;
    });
  }

  // What a front-end gives us to map may need to be allocated, which must not hold up anybody else.
  #prepare(message: Message): Promise<void> | null {
    const rule = ruleOf(message.request);
    if (rule === null) return null;
    try {
      this.#check(rule, message);
      const parts = sharedParts(message);
      return parts.length === 0 ? null : this.#device.prepareMemory(parts);
    } catch {
      // Whatever is wrong with it is said when it is carried out.
      return null;
    }
  }

  #answer(message: Message, refusal?: unknown): Reply {
    const wantsAck = (message.flags & FLAG_NEED_REPLY) !== 0 &&
      hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F_REPLY_ACK);
    const unused = new Set(message.fds);
    const rule = ruleOf(message.request);
    try {
      if (this.#isClosed) return null;
      if (rule === null) throw new RequestRefused("it is not implemented");
      this.#check(rule, message);
      if (refusal !== undefined) throw refusal;
      const carryOut = () => this.#carryOut(message, unused);
      const reply = rule.needsQuiet ? this.#device.whileQuiet(carryOut) : carryOut();
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
      case Request.SET_LOG_BASE:
        return this.#setLog(message);
      case Request.SET_LOG_FD:
        // To be told of each write to the log; whoever reads the log reads all of it anyway.
        break;
      case Request.ADD_MEM_REG:
        unused.clear();
        this.#device.addMemoryRegion(singleRegion(message));
        break;
      case Request.REM_MEM_REG:
        this.#device.removeMemoryRegion(singleRegion(message));
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
      case Request.SEND_RARP:
        this.#device.announce(message.payload.slice(0, ADDRESS_BYTES));
        break;
      case Request.NET_SET_MTU:
        this.#setMtu(read(U64, message).value);
        break;
      case Request.RESET_DEVICE:
        this.#reset();
        break;
      case Request.GET_MAX_MEM_SLOTS:
        return payload(U64, { value: BigInt(MAX_MEMORY_SLOTS) });
      case Request.SET_STATUS:
        this.#setStatus(read(U64, message).value);
        break;
      case Request.GET_STATUS:
        return payload(U64, { value: this.#status });
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
    const regions = tableRegions(message);
    unused.clear();
    this.#device.setMemoryTable(regions);
  }

  // The reply carries no verdict, so a log that cannot be used ends the connection.
  #setLog(message: Message): Uint8Array {
    this.#device.setLog(dirtyLog(message));
    return payload(U64, { value: 0n });
  }

  #setMtu(mtu: bigint): void {
    if (mtu < MIN_MTU || mtu > MAX_MTU) {
      throw new RequestRefused(`an MTU of ${mtu} is not between ${MIN_MTU} and ${MAX_MTU}`);
    }
    this.#device.setMtu(Number(mtu));
  }

  // VIRTIO 1.2, 2.1: the status has 8 bits, and 0 resets the device.
  #setStatus(status: bigint): void {
    if (status > 0xffn) throw new RequestRefused(`a status has 8 bits, not ${status}`);
    this.#status = status;
    if (status === 0n) this.#stopAll();
  }

  // "VHOST_USER_RESET_DEVICE": rings are stopped and disabled, memory and owner stay.
  #reset(): void {
    this.#stopAll();
    for (const [index, ring] of this.#rings.entries()) {
      Object.assign(ring, { size: 0, base: 0, addresses: null });
      this.#device.setRingEnabled(index, false);
    }
    this.#status = 0n;
    this.#features = null;
    this.#device.setFeatures(0n);
  }

  #stopAll(): void {
    for (const [index, ring] of this.#rings.entries()) if (ring.isStarted) this.#stop(index);
  }

  #setSize({ index, num }: VringState): void {
    const ring = this.#stoppedRing(index);
    this.#checkSize(index, num);
    ring.size = num;
  }

  // VIRTIO 1.2, 2.7 and 2.8: only a split ring's size must be a power of two.
  #checkSize(index: number, size: number): void {
    const isPossible = size > 0 && (this.#isPacked || (size & (size - 1)) === 0);
    if (isPossible && size <= this.#offer.maxQueueSize) return;
    const want = `want ${
      this.#isPacked ? "1" : "a power of two"
    } up to ${this.#offer.maxQueueSize}`;
    throw new RequestRefused(`ring ${index} cannot have ${size} entries: ${want}`);
  }

  #setAddresses(addresses: VringAddress): void {
    const { index, flags, desc_user_addr, avail_user_addr, used_user_addr } = addresses;
    const ring = this.#ring(index);
    if ((flags & ~VRING_F_LOG) !== 0) {
      throw new RequestRefused(`flags 0x${flags.toString(16)} are not known`);
    }
    // Whether the used ring is logged follows from the features: all or nothing is.
    if (flags !== 0 && !hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F_LOG_SHMFD)) {
      throw new RequestRefused("logging was not negotiated");
    }
    // Logging begins and ends while rings run, with the addresses that they have.
    if (ring.isStarted && isSamePlace(ring.addresses!, addresses)) return;
    this.#stoppedRing(index);
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
    // The format may be another since the size was set.
    this.#checkSize(index, ring.size);
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

function isSamePlace(a: VringAddress, b: VringAddress): boolean {
  return a.desc_user_addr === b.desc_user_addr && a.avail_user_addr === b.avail_user_addr &&
    a.used_user_addr === b.used_user_addr;
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

function range([fewest, most]: readonly [number, number]): string {
  return fewest === most ? `${fewest}` : `${fewest} to ${most}`;
}
