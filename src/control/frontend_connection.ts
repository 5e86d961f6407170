/**
 * Our end of a connection to a back-end: drives a front-end's conversation without ever waiting.
 *
 * A back-end has a deadline for each reply. One that says something unasked, or does not read, is left.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { ECONNRESET, EPIPE, OsError } from "../../ffi/errno.ts";
import type { ForeignDescriptors } from "../../ffi/foreign.ts";
import { receive, send, WOULD_BLOCK } from "../../ffi/unix_socket.ts";
import { ProtocolError } from "../vhost_user/errors.ts";
import type { Conversation, Step } from "../vhost_user/frontend.ts";
import { type Message, MessageDecoder } from "../vhost_user/message.ts";
import type { Reactor } from "./reactor.ts";

/** How long a back-end may take to answer. */
const REPLY_TIMEOUT_MS = 5000;

/** What a connection is made of. */
export interface FrontendConnectionParts {
  /** The socket; the connection owns it from now on. */
  readonly socket: Fd;
  /** Owns what comes through it. */
  readonly foreign: ForeignDescriptors;
  /** The loop that watches the socket. */
  readonly reactor: Reactor;
  /** Called once when the connection has ended: null when the back-end hung up, else why we closed. */
  readonly onEnd: (reason: Error | null) => void;
}

/** Talks to one back-end until either side ends it. */
export class FrontendConnection {
  readonly #parts: FrontendConnectionParts;
  readonly #decoder = new MessageDecoder();
  readonly #token: number;
  /** Goes on with the conversation that is under way; a reply ends a step that expects one. */
  #advance: ((reply: Message | null) => void) | null = null;
  #deadline: ReturnType<typeof setTimeout> | null = null;
  #isOpen = true;

  /** @param parts Socket and loop. */
  constructor(parts: FrontendConnectionParts) {
    this.#parts = parts;
    this.#token = parts.reactor.watch(parts.socket.number, () => this.#serve());
  }

  /** The socket, for questions about the peer. */
  get socket(): Fd {
    return this.#parts.socket;
  }

  /**
   * Begins a conversation; one at a time. When it fails, or the connection ends first, `onDone` is not
   * called, and the connection has ended.
   *
   * @param conversation From a `VhostUserFrontend`.
   * @param onDone Gets what the conversation returns.
   */
  hold<T>(conversation: Conversation<T>, onDone: (result: T) => void): void {
    const advance = (reply: Message | null): void => {
      for (;;) {
        const step = conversation.next(reply);
        if (step.done) {
          this.#advance = null;
          return onDone(step.value);
        }
        this.#send(step.value);
        reply = null;
        if (!step.value.expectsReply) continue;
        this.#expect();
        return;
      }
    };
    this.#advance = advance;
    this.#attempt(() => advance(null));
  }

  /** Ends the connection. */
  close(reason: Error | null = null): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#advance = null;
    this.#stopClock();
    this.#parts.reactor.unwatch(this.#parts.socket.number, this.#token);
    this.#decoder.close();
    this.#parts.socket.close();
    this.#parts.onEnd(reason);
  }

  // Whatever goes wrong here is this peer's affair and ends this connection only.
  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (isHangUp(error)) return this.close();
      this.close(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #serve(): void {
    this.#attempt(() => {
      const message = this.#read();
      if (message === null) return;
      if (this.#deadline === null || this.#advance === null) {
        for (const fd of message.fds) fd.close();
        throw new ProtocolError("the back-end says something that it was not asked");
      }
      this.#stopClock();
      this.#advance(message);
    });
  }

  // The next whole message, if it is there.
  #read(): Message | null {
    const { socket, foreign } = this.#parts;
    while (this.#isOpen) {
      const fds: Fd[] = [];
      const length = receive(socket, this.#decoder.target(), fds, foreign.adopt);
      if (length === WOULD_BLOCK) return null;
      if (length === 0) {
        this.close();
        return null;
      }
      const message = this.#decoder.received(length, fds);
      if (message !== null) return message;
    }
    return null;
  }

  // The socket's buffer takes all messages that a front-end sends before it awaits a reply.
  #send({ data, fds }: Step): void {
    if (send(this.#parts.socket, data, fds as readonly Fd[]) === data.length) return;
    throw new Error("the back-end does not read its socket");
  }

  #expect(): void {
    this.#deadline = setTimeout(
      () => this.close(new Error("the back-end does not answer")),
      REPLY_TIMEOUT_MS,
    );
  }

  #stopClock(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    this.#deadline = null;
  }
}

// A back-end that leaves while we speak: what it had not read comes back as an error.
function isHangUp(error: unknown): boolean {
  return error instanceof OsError && [ECONNRESET, EPIPE].includes(error.errno);
}
