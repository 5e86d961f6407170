/**
 * A `VhostUserBackend` with a device that writes down what it is told: what a front-end says goes in, what
 * the device was told and what is answered comes out.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import {
  type BackendDevice,
  type BackendOffer,
  type MemoryRegion,
  type Reply,
  type RingSetup,
  VhostUserBackend,
} from "../../src/vhost_user/backend.ts";
import type { DirtyLog } from "../../src/vhost_user/device.ts";
import { RequestRefused } from "../../src/vhost_user/errors.ts";
import { HEADER, U64, VRING_STATE } from "../../src/vhost_user/layouts.ts";
import type { Descriptor } from "../../src/vhost_user/message.ts";
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  Request,
  VERSION,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from "../../src/vhost_user/numbers.ts";
import { REQUESTS } from "../../src/vhost_user/requests.ts";
import {
  featureSet,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { ringAddress, ringState, u64 } from "./vhost_messages.ts";

/** What the back-end of a trial offers: two queue pairs. */
export const OFFER: BackendOffer = {
  features: featureSet(VIRTIO_NET_F_MRG_RXBUF, VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1),
  // All that a request wants.
  protocolFeatures: featureSet(
    VHOST_USER_PROTOCOL_F_REPLY_ACK,
    ...Object.values(REQUESTS).flatMap(({ gate }) => gate ?? []),
  ),
  queuePairs: 2,
  maxQueueSize: 1024,
};

/** Addresses that are aligned as a ring's parts must be. */
export const ADDRESSES = { desc: 0x1000n, avail: 0x2002n, used: 0x3004n };

/** A descriptor that only remembers whether it was closed. */
export class FakeDescriptor implements Descriptor {
  /** How often it was closed. */
  closed = 0;

  /** @param number Its number. */
  constructor(readonly number: number = 100) {}

  /** Closes it. */
  close(): void {
    this.closed++;
  }

  /** Whether it was not closed. */
  get isOpen(): boolean {
    return this.closed === 0;
  }
}

/** A device that writes down what it is told. */
export class RecordingDevice implements BackendDevice {
  /** What it was told, oldest first. */
  readonly calls: string[] = [];
  /** Setups of the rings that were started. */
  readonly setups: RingSetup[] = [];
  /** Regions of the last memory table. */
  regions: MemoryRegion[] = [];
  /** What it says no to: the beginning of what it would write down. */
  refused: string | null = null;
  /** Whether rings stand still. */
  isQuiet = false;
  /** What memory must wait for. */
  preparation: Promise<void> | null = null;
  /** The next available index that a stopped ring has. */
  base = 0;
  /** Told about each call before it is carried out. */
  onCall: (call: string) => void = () => {};

  setFeatures(features: bigint): void {
    this.#record(`setFeatures 0x${features.toString(16)}`);
  }

  whileQuiet<T>(change: () => T): T {
    this.isQuiet = true;
    try {
      return change();
    } finally {
      this.isQuiet = false;
    }
  }

  prepareMemory(): Promise<void> | null {
    return this.preparation;
  }

  addMemoryRegion(region: MemoryRegion): void {
    this.regions = [region];
    this.#record(`addMemoryRegion 0x${region.guestAddress.toString(16)}`);
  }

  removeMemoryRegion({ guestAddress }: Omit<MemoryRegion, "fd">): void {
    this.#record(`removeMemoryRegion 0x${guestAddress.toString(16)}`);
  }

  setLog({ sizeBytes, offsetBytes }: DirtyLog): void {
    this.#record(`setLog ${sizeBytes} at ${offsetBytes}`);
  }

  setMtu(mtu: number): void {
    this.#record(`setMtu ${mtu}`);
  }

  announce(address: Uint8Array): void {
    this.#record(`announce ${address}`);
  }

  setMemoryTable(regions: MemoryRegion[]): void {
    this.regions = regions;
    this.#record(`setMemoryTable ${regions.length}`);
  }

  startRing(index: number, setup: RingSetup): void {
    this.#record(`startRing ${index}`);
    this.setups.push(setup);
  }

  stopRing(index: number): number {
    this.#record(`stopRing ${index}`);
    return this.base;
  }

  setRingEnabled(index: number, isEnabled: boolean): void {
    this.#record(`setRingEnabled ${index} ${isEnabled}`);
  }

  requireEventFd(_fd: Descriptor): void {}

  setCall(index: number, call: Descriptor | null): void {
    this.#record(`setCall ${index} ${call === null ? "none" : call.number}`);
  }

  #record(call: string): void {
    this.onCall(call);
    if (this.refused !== null && call.startsWith(this.refused)) throw new RequestRefused("no");
    this.calls.push(call);
  }
}

/** A reply, decoded. */
export interface TrialReply {
  /** The request's number. */
  readonly request: number;
  /** The header's flags. */
  readonly flags: number;
  /** What follows the header. */
  readonly payload: Uint8Array;
}

/** How a message is sent. */
export interface SayOptions {
  /** Flags of the header without the version. */
  readonly flags?: number;
  /** Descriptors that come along. */
  readonly fds?: readonly FakeDescriptor[];
}

/** One conversation with a back-end. */
export class BackendTrial {
  /** The device. */
  readonly device = new RecordingDevice();
  /** What was refused, as it is reported. */
  readonly refusals: string[] = [];
  /** The back-end. */
  readonly backend: VhostUserBackend;

  /** @param offer What the back-end offers. */
  constructor(offer: BackendOffer = OFFER) {
    this.backend = new VhostUserBackend(this.device, offer, (request, reason) => {
      this.refusals.push(`${request}: ${reason}`);
    });
  }

  /** Sends a message; returns the reply, or null when there is none. */
  say(request: number, payload: Uint8Array, options: SayOptions = {}): TrialReply | null {
    return decode(this.handle(request, payload, options) as Reply);
  }

  /** Sends a message and waits for the answer, if it takes its time. */
  async sayAndWait(
    request: number,
    payload: Uint8Array,
    options: SayOptions = {},
  ): Promise<TrialReply | null> {
    return decode(await this.handle(request, payload, options));
  }

  /** Sends a message; returns what the back-end returns. */
  handle(request: number, payload: Uint8Array, options: SayOptions = {}): Reply | Promise<Reply> {
    const flags = VERSION | (options.flags ?? 0);
    return this.backend.handle({ request, flags, payload, fds: options.fds ?? [] });
  }

  /** Sends a message with NEED_REPLY; returns the acknowledgement's number. */
  ask(request: number, payload: Uint8Array, options: SayOptions = {}): bigint {
    const flags = (options.flags ?? 0) | FLAG_NEED_REPLY;
    return numberOf(this.say(request, payload, { ...options, flags }), request);
  }

  /** Negotiates all that is offered, or what is given. */
  negotiate(protocolFeatures: bigint = OFFER.protocolFeatures): this {
    strictEqual(this.say(Request.SET_PROTOCOL_FEATURES, u64(protocolFeatures)), null);
    return this;
  }

  /** Says everything that a ring needs before SET_VRING_KICK. */
  prepareRing(index: number): this {
    this.say(Request.SET_VRING_NUM, ringState(index, 256));
    this.say(Request.SET_VRING_BASE, ringState(index, 0));
    this.say(Request.SET_VRING_ADDR, ringAddress(index, ADDRESSES));
    return this;
  }

  /** Prepares and starts a ring; returns its eventfds. */
  startRing(index: number): { kick: FakeDescriptor; call: FakeDescriptor } {
    const [kick, call] = [new FakeDescriptor(100 + index), new FakeDescriptor(200 + index)];
    this.prepareRing(index);
    this.say(Request.SET_VRING_CALL, u64(index), { fds: [call] });
    this.say(Request.SET_VRING_KICK, u64(index), { fds: [kick] });
    return { kick, call };
  }

  /** Stops a ring; returns its base. */
  stopRing(index: number): number {
    const reply = this.say(Request.GET_VRING_BASE, ringState(index, 0))!;
    const state = VRING_STATE.read(viewOf(reply.payload));
    strictEqual(state.index, index);
    return state.num;
  }
}

/**
 * Reads a reply of one 64-bit number.
 *
 * @param reply The reply.
 * @param request The request that it must answer.
 */
export function numberOf(reply: TrialReply | null, request: number): bigint {
  strictEqual(reply?.request, request);
  // QEMU rejects any other flags, NEED_REPLY included.
  strictEqual(reply.flags, VERSION | FLAG_REPLY);
  strictEqual(reply.payload.length, U64.size);
  return U64.read(viewOf(reply.payload)).value;
}

function decode(data: Reply): TrialReply | null {
  if (data === null) return null;
  const { size, ...header } = HEADER.read(viewOf(data));
  strictEqual(size, data.length - HEADER.size);
  return { ...header, payload: data.subarray(HEADER.size) };
}

function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}
