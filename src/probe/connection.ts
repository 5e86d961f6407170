/**
 * One connection to a back-end: messages go out, replies come in, and nothing waits for ever.
 *
 * @module
 */
import { Epoll, EPOLLIN, EPOLLRDHUP } from "../../ffi/epoll.ts";
import { ECONNRESET, EPIPE, OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import { ForeignDescriptors } from "../../ffi/foreign.ts";
import { hasHungUp, receive, send, WOULD_BLOCK } from "../../ffi/unix_socket.ts";
import { ProtocolError } from "../vhost_user/errors.ts";
import { type Message, MessageDecoder } from "../vhost_user/message.ts";
import { HungUp, NoAnswer } from "./verdict.ts";

/** A connection. */
export class Connection implements Disposable {
  /** How long an answer may take. */
  readonly timeoutMs: number;
  readonly #socket: Fd;
  readonly #foreign: ForeignDescriptors;
  readonly #epoll = Epoll.create();
  readonly #decoder = new MessageDecoder();
  #isBroken = false;

  /**
   * @param socket A connected socket; this object owns it from now on.
   * @param timeoutMs How long an answer may take.
   * @param foreign Owns what comes through the socket, and the socket: closing either may wait for
   * whoever the back-end likes (ADR 15).
   */
  constructor(socket: Fd, timeoutMs: number, foreign = new ForeignDescriptors()) {
    this.#socket = foreign.adopt(socket.release());
    this.#foreign = foreign;
    this.timeoutMs = timeoutMs;
    this.#epoll.add(this.#socket.number, EPOLLIN | EPOLLRDHUP, 0);
  }

  /** Whether nothing can be said any more: the back-end hung up, was silent or talked nonsense. */
  get isBroken(): boolean {
    return this.#isBroken || hasHungUp(this.#socket);
  }

  /**
   * Sends a message.
   *
   * @param name What it is called in a complaint.
   * @param data Its bytes.
   * @param fds Descriptors that go along; they stay the caller's.
   * @throws {HungUp | NoAnswer} When the back-end is gone, or does not read.
   */
  send(name: string, data: Uint8Array, fds: readonly Fd[]): void {
    const sent = this.#guarded(name, () => send(this.#socket, data, fds));
    // A message is far smaller than the socket's buffer, so a full one is a back-end that never reads.
    if (sent !== data.length) throw this.#broken(new NoAnswer(name, this.timeoutMs));
  }

  /**
   * Waits for the next message.
   *
   * @param name What it answers.
   * @returns The message without descriptors: no reply that is asked for here may carry one.
   * @throws {HungUp | NoAnswer} When the back-end is gone or silent.
   * @throws {ProtocolError} When what comes is no reply.
   */
  async receive(name: string): Promise<Message> {
    const deadline = performance.now() + this.timeoutMs;
    for (;;) {
      const message = this.#guarded(name, () => this.#tryReceive(name));
      if (message !== null) return message;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw this.#broken(new NoAnswer(name, this.timeoutMs));
      await this.#epoll.waitAsync(Math.ceil(leftMs));
    }
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    this.#decoder.close();
    this.#epoll[Symbol.dispose]();
    this.#socket.close();
  }

  #tryReceive(name: string): Message | null {
    for (;;) {
      const fds: Fd[] = [];
      const length = receive(this.#socket, this.#decoder.target(), fds, this.#foreign.adopt);
      if (length === WOULD_BLOCK) return null;
      if (length === 0) throw new HungUp(name);
      const message = this.#decoder.received(length, fds);
      if (message !== null) return withoutDescriptors(name, message);
    }
  }

  #guarded<T>(name: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      const isReset = error instanceof OsError && [ECONNRESET, EPIPE].includes(error.errno);
      throw this.#broken(isReset ? new HungUp(name) : error);
    }
  }

  #broken<T>(error: T): T {
    this.#isBroken = true;
    return error;
  }
}

function withoutDescriptors(name: string, message: Message): Message {
  if (message.fds.length === 0) return message;
  for (const fd of message.fds) fd.close();
  throw new ProtocolError(`the reply to ${name} carries descriptors`);
}
