/**
 * A careful front-end's conversation on one connection.
 *
 * Every message goes through {@linkcode Session.tell} or {@linkcode Session.ask}, which refuse to send
 * one whose feature was not negotiated: some back-ends end the connection or themselves on such a
 * message, and a probe does no harm.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import {
  featureNames,
  featureSet,
  hasFeature,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from "../virtio/features.ts";
import { ProtocolError } from "../vhost_user/errors.ts";
import { U64, VRING_STATE } from "../vhost_user/layouts.ts";
import { encode, type Message, payload, read } from "../vhost_user/message.ts";
import {
  DeviceStatus,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  Request,
  type RequestNumber,
  VERSION,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_STATUS,
} from "../vhost_user/numbers.ts";
import { REQUESTS } from "../vhost_user/requests.ts";
import type { Connection } from "./connection.ts";
import { protocolFeatureNames } from "./protocol_features.ts";
import { Deviation, NotOffered } from "./verdict.ts";

const NOTHING = new Uint8Array(0);
const PROTOCOL_FEATURES = featureSet(VHOST_USER_F_PROTOCOL_FEATURES);
/** Requests that need bit 30 to be offered ("VHOST_USER_GET_PROTOCOL_FEATURES"). */
const NEEDS_OFFER: ReadonlySet<number> = new Set([
  Request.GET_PROTOCOL_FEATURES,
  Request.SET_PROTOCOL_FEATURES,
]);
const WITH_FEATURES = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.FEATURES_OK;

/** What a front-end wants to use. */
export interface Wish {
  /** Virtio features; bit 30 is added, where it is offered, when any protocol feature is wanted. */
  readonly features: bigint;
  /** Protocol features; those that are not offered are left out. */
  readonly protocolFeatures: bigint;
}

/** A conversation. */
export class Session implements Disposable {
  /** What the back-end offers. */
  readonly offered: bigint;
  readonly #connection: Connection;
  #offeredProtocol = 0n;
  #features: bigint | null = null;
  #protocolFeatures = 0n;

  private constructor(connection: Connection, offered: bigint) {
    this.#connection = connection;
    this.offered = offered;
  }

  /**
   * Begins a conversation: asks for what is offered.
   *
   * @param connection A fresh connection; the session owns it, also when this fails.
   * @throws {Deviation | NoAnswer | ProtocolError} When the back-end does not play along.
   */
  static async begin(connection: Connection): Promise<Session> {
    try {
      const session = new Session(connection, await readFeatures(connection));
      if (hasFeature(session.offered, VHOST_USER_F_PROTOCOL_FEATURES)) {
        session.#offeredProtocol = await session.askNumber(Request.GET_PROTOCOL_FEATURES);
      }
      return session;
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
  }

  /** Protocol features that the back-end offers. */
  get offeredProtocol(): bigint {
    return this.#offeredProtocol;
  }

  /** Virtio features in use, bit 30 included; none before {@linkcode negotiate}. */
  get features(): bigint {
    return this.#features ?? 0n;
  }

  /** How long the back-end may take. */
  get timeoutMs(): number {
    return this.#connection.timeoutMs;
  }

  /** Whether nothing can be said any more. */
  get isBroken(): boolean {
    return this.#connection.isBroken;
  }

  /** Whether a protocol feature was negotiated. */
  speaks(protocolFeature: number): boolean {
    return hasFeature(this.#protocolFeatures, protocolFeature);
  }

  /** Ends a check with {@linkcode NotOffered} unless all of these virtio features are offered. */
  require(features: bigint): void {
    const missing = features & ~this.offered;
    if (missing !== 0n) throw new NotOffered(`without ${featureNames(missing).join(", ")}`);
  }

  /** Ends a check with {@linkcode NotOffered} unless all of these protocol features are offered. */
  requireProtocol(features: bigint): void {
    const missing = features & ~this.#offeredProtocol;
    if (missing !== 0n) {
      throw new NotOffered(`without ${protocolFeatureNames(missing).join(", ")}`);
    }
  }

  /** Makes protocol features known, of those that are offered; does nothing when there are none. */
  negotiateProtocol(wanted: bigint): void {
    const features = wanted & this.#offeredProtocol;
    if (features === 0n) return;
    this.#say(Request.SET_PROTOCOL_FEATURES, 0, u64(features), []);
    this.#protocolFeatures = features;
  }

  /**
   * Makes features known, up to FEATURES_OK where there is a status.
   *
   * @throws {NotOffered} When a virtio feature is not offered, or the back-end does not take this set.
   * @throws {Deviation | NoAnswer | ProtocolError} When the back-end does not play along.
   */
  async negotiate({ features, protocolFeatures }: Wish): Promise<void> {
    this.require(features);
    this.negotiateProtocol(protocolFeatures);
    await this.tell(Request.SET_OWNER, NOTHING);
    const hasStatus = this.speaks(VHOST_USER_PROTOCOL_F_STATUS);
    if (hasStatus) await this.setStatus(DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER);
    // Whoever wants no protocol feature plays a front-end that does not know them.
    const all = features | (protocolFeatures === 0n ? 0n : this.offered & PROTOCOL_FEATURES);
    await this.tell(Request.SET_FEATURES, u64(all));
    this.#features = all;
    if (!hasStatus) return;
    await this.setStatus(WITH_FEATURES);
    const status = await this.askNumber(Request.GET_STATUS);
    // VIRTIO 1.2, 2.2.2: a device may be unable to work with a set of features, and says so like this.
    if ((Number(status) & DeviceStatus.FEATURES_OK) === 0) {
      throw new NotOffered(
        `it does not take ${featureNames(features).join(", ") || "no features"}`,
      );
    }
  }

  /** Sets the device status. */
  async setStatus(status: number): Promise<void> {
    await this.tell(Request.SET_STATUS, u64(BigInt(status)));
  }

  /** Tells that the driver is ready, to a back-end that wants to know. */
  async driverOk(): Promise<void> {
    if (!this.speaks(VHOST_USER_PROTOCOL_F_STATUS)) return;
    await this.setStatus(WITH_FEATURES | DeviceStatus.DRIVER_OK);
  }

  /** Resets the device, where it has a status: the driver goes away. */
  async reset(): Promise<void> {
    if (this.speaks(VHOST_USER_PROTOCOL_F_STATUS)) await this.setStatus(0);
    await this.settle();
  }

  /**
   * Sends a message that has no reply of its own, and waits for the acknowledgement if there is one.
   *
   * @param request Its number.
   * @param data Its payload.
   * @param fds Descriptors that go along; they stay the caller's.
   * @throws {Deviation} When the back-end refuses it or hangs up.
   * @throws {NoAnswer | ProtocolError} When it does not answer, or something else.
   */
  async tell(request: RequestNumber, data: Uint8Array, fds: readonly Fd[] = []): Promise<void> {
    const isAcknowledged = this.speaks(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    this.#say(request, isAcknowledged ? FLAG_NEED_REPLY : 0, data, fds);
    if (!isAcknowledged) return;
    const reply = checked(request, U64.size, await this.#connection.receive(nameOf(request)));
    const { value } = read(U64, reply);
    if (value !== 0n) throw new Deviation(`it refused ${nameOf(request)} with ${value}`);
  }

  /**
   * Sends a message that has a reply of its own.
   *
   * @returns The reply, with a payload as long as it must be.
   * @throws {Deviation | NoAnswer | ProtocolError} As {@linkcode tell}.
   */
  async ask(request: RequestNumber, data: Uint8Array, replyBytes: number): Promise<Message> {
    this.#say(request, 0, data, []);
    return checked(request, replyBytes, await this.#connection.receive(nameOf(request)));
  }

  /** Asks for a number. */
  async askNumber(request: RequestNumber): Promise<bigint> {
    return read(U64, await this.ask(request, NOTHING, U64.size)).value;
  }

  /** Waits until the back-end has done everything that it was told, acknowledged or not. */
  async settle(): Promise<void> {
    // Messages are carried out in order, and this one is answered by every back-end at any time.
    await this.askNumber(Request.GET_FEATURES);
  }

  /**
   * Stops a ring.
   *
   * @returns Where it stands ("VHOST_USER_GET_VRING_BASE").
   */
  async stopRing(index: number): Promise<number> {
    const question = payload(VRING_STATE, { index, num: 0 });
    const reply = await this.ask(Request.GET_VRING_BASE, question, VRING_STATE.size);
    const state = read(VRING_STATE, reply);
    if (state.index !== index) throw new Deviation(`the base is for ring ${state.index}`);
    return state.num;
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }

  #say(request: RequestNumber, flags: number, data: Uint8Array, fds: readonly Fd[]): void {
    if (!this.#mayBeSent(request)) {
      throw new Error(`Cannot send ${nameOf(request)}: its feature was not negotiated`);
    }
    this.#connection.send(nameOf(request), encode(request, flags, data), fds);
  }

  #mayBeSent(request: RequestNumber): boolean {
    const { gate } = REQUESTS[request];
    if (gate !== undefined) return this.speaks(gate);
    if (NEEDS_OFFER.has(request)) return (this.offered & PROTOCOL_FEATURES) !== 0n;
    if (request === Request.SET_VRING_ENABLE) return (this.features & PROTOCOL_FEATURES) !== 0n;
    return true;
  }
}

// The first question on a connection; its answer shows whether somebody speaks vhost-user there.
async function readFeatures(connection: Connection): Promise<bigint> {
  const name = nameOf(Request.GET_FEATURES);
  connection.send(name, encode(Request.GET_FEATURES, 0, NOTHING), []);
  return read(U64, checked(Request.GET_FEATURES, U64.size, await connection.receive(name))).value;
}

function checked(request: RequestNumber, bytes: number, reply: Message): Message {
  const name = nameOf(request);
  if (reply.request !== request) {
    throw new ProtocolError(`the reply to ${name} has the number ${reply.request}, not ${request}`);
  }
  if (reply.flags !== (VERSION | FLAG_REPLY)) {
    throw new ProtocolError(
      `the reply to ${name} has flags 0x${reply.flags.toString(16)}, not 0x5`,
    );
  }
  if (reply.payload.length !== bytes) {
    throw new ProtocolError(`the reply to ${name} has ${reply.payload.length} bytes, not ${bytes}`);
  }
  return reply;
}

function nameOf(request: RequestNumber): string {
  return REQUESTS[request].name;
}

function u64(value: bigint): Uint8Array {
  return payload(U64, { value });
}
