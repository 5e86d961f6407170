/**
 * A front-end without manners: sends any bytes and descriptors to a vhost-user port. It never blocks
 * its thread, so the switch may run in the same one.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import { EAGAIN, ECONNRESET, EPIPE, OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import { connectUnix, receive, send, WOULD_BLOCK } from "../../ffi/unix_socket.ts";
import { U64 } from "../../src/vhost_user/layouts.ts";
import { encode, type Message, MessageDecoder } from "../../src/vhost_user/message.ts";
import {
  FLAG_NEED_REPLY,
  Request,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from "../../src/vhost_user/numbers.ts";
import { featureSet } from "../../src/virtio/features.ts";
import { NOTHING, u64 } from "./vhost_messages.ts";
import { eventually, nextTurn } from "./eventually.ts";

/** The switch empties a socket in fewer turns than these, unless it has stopped reading. */
const REFUSALS_OF_A_FULL_SOCKET = 100;

const FEW_PROTOCOL_FEATURES = featureSet(
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
);

/** How a message is sent. */
export interface SendOptions {
  /** Flags of the header without the version. */
  readonly flags?: number;
  /** Descriptors to send along; they stay the caller's. */
  readonly fds?: readonly Fd[];
}

/** A connection to a port. */
export class RawClient implements Disposable {
  /** The socket; this object owns it. */
  readonly socket: Fd;
  readonly #decoder = new MessageDecoder();

  /** @param socket A connection; this object owns it from now on. */
  constructor(socket: Fd) {
    this.socket = socket;
  }

  /** Connects to a port, with patience when its queue is full. */
  static async connect(path: string): Promise<RawClient> {
    return new RawClient(await eventually(`a connection to ${path}`, () => tryConnect(path)));
  }

  /** Talks over a connection that the switch has made; the socket is this object's from now on. */
  static adopt(socket: Fd): RawClient {
    return new RawClient(socket);
  }

  /** Sends bytes as they are. */
  async send(data: Uint8Array, fds: readonly Fd[] = []): Promise<void> {
    for (let rest = data, passed = fds; rest.length > 0;) {
      const sent = send(this.socket, rest, passed);
      if (sent === WOULD_BLOCK) await nextTurn();
      else [rest, passed] = [rest.subarray(sent), []];
    }
  }

  /** Sends the same bytes again and again without reading, until the switch takes no more. */
  async fill(data: Uint8Array): Promise<void> {
    for (let refused = 0; refused < REFUSALS_OF_A_FULL_SOCKET;) {
      if (send(this.socket, data) !== WOULD_BLOCK) refused = 0;
      else {
        refused++;
        await nextTurn();
      }
    }
  }

  /** Sends the same bytes as often as the socket takes them now; returns whether it is still open. */
  pour(data: Uint8Array): boolean {
    try {
      while (send(this.socket, data) !== WOULD_BLOCK);
      return true;
    } catch (error) {
      // The first comes when the switch left something unread.
      if (error instanceof OsError && [ECONNRESET, EPIPE].includes(error.errno)) return false;
      throw error;
    }
  }

  /** Sends a message. */
  async say(request: number, payload: Uint8Array, options: SendOptions = {}): Promise<void> {
    await this.send(encode(request, options.flags ?? 0, payload), options.fds);
  }

  /** Sends a message with NEED_REPLY; returns the number of the acknowledgement. */
  async ask(request: number, payload: Uint8Array, fds: readonly Fd[] = []): Promise<bigint> {
    await this.say(request, payload, { flags: FLAG_NEED_REPLY, fds });
    return await this.number(request);
  }

  /** Negotiates protocol features: REPLY_ACK and MQ unless told otherwise. */
  async negotiate(features: bigint = FEW_PROTOCOL_FEATURES): Promise<this> {
    await this.say(Request.SET_PROTOCOL_FEATURES, u64(features));
    return this;
  }

  /** Negotiates every protocol feature that is offered. */
  async negotiateAll(): Promise<this> {
    await this.say(Request.GET_PROTOCOL_FEATURES, NOTHING);
    return await this.negotiate(await this.number(Request.GET_PROTOCOL_FEATURES));
  }

  /** Asks for the features, which every back-end that is alive answers at any time. */
  async probe(): Promise<bigint> {
    await this.say(Request.GET_FEATURES, NOTHING);
    return await this.number(Request.GET_FEATURES);
  }

  /** Waits for the reply to a request that is answered with a number. */
  async number(request: number): Promise<bigint> {
    const reply = await this.reply();
    strictEqual(reply.request, request);
    strictEqual(reply.payload.length, U64.size);
    return U64.read(new DataView(reply.payload.buffer, reply.payload.byteOffset)).value;
  }

  /** Waits for a reply. */
  async reply(): Promise<Message> {
    return await eventually("a reply", () => {
      const length = receive(this.socket, this.#decoder.target(), []);
      if (length === 0) throw new Error("Cannot wait for a reply: the switch hung up");
      return length === WOULD_BLOCK ? null : this.#decoder.received(length, []);
    });
  }

  /** Waits until the switch hangs up; replies that come before are thrown away. */
  async end(timeoutMs?: number): Promise<void> {
    const trash = new Uint8Array(4096);
    await eventually("the switch hangs up", () => {
      try {
        return receive(this.socket, trash, []) === 0 || null;
      } catch (error) {
        if (error instanceof OsError && error.errno === ECONNRESET) return true;
        throw error;
      }
    }, timeoutMs);
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    this.socket.close();
  }
}

function tryConnect(path: string): Fd | null {
  try {
    return connectUnix(path);
  } catch (error) {
    if (error instanceof OsError && error.errno === EAGAIN) return null;
    throw error;
  }
}
