/**
 * One front-end's connection: bytes and descriptors of a socket, in and out of the back-end.
 *
 * Non-blocking throughout. A peer that stops in the middle of a message has a deadline; one that does
 * not read its replies has a bounded queue; one that floods gets a fair share per turn.
 *
 * Runs on the main thread.
 *
 * @module
 */
import { EPOLLOUT } from "../../ffi/epoll.ts";
import { closeNow, type Fd } from "../../ffi/fd.ts";
import type { ForeignDescriptors } from "../../ffi/foreign.ts";
import { receive, send, WOULD_BLOCK } from "../../ffi/unix_socket.ts";
import type { Reply, VhostUserBackend } from "../vhost_user/backend.ts";
import { MessageDecoder } from "../vhost_user/message.ts";
import { type Reactor, READABLE_EVENTS } from "./reactor.ts";

/** Reads per turn of the reactor: a message takes two. */
const READS_PER_TURN = 64;
/** How long a peer may take from the first byte of a message to its last. */
const MESSAGE_TIMEOUT_MS = 5000;
/** Replies that wait for a peer to read; about a thousand. */
const MAX_PENDING_BYTES = 20_480;

/** What a connection is made of. */
export interface ConnectionParts {
  /** The socket; the connection owns it from now on. */
  readonly socket: Fd;
  /** Owns what comes through it; may still be closing what an earlier peer left. */
  readonly foreign: ForeignDescriptors;
  /** The state machine that answers; the connection closes it. */
  readonly backend: VhostUserBackend;
  /** The loop that watches the socket. */
  readonly reactor: Reactor;
  /** Called once when the connection has ended: null when the peer hung up, else why we closed. */
  readonly onEnd: (reason: Error | null) => void;
}

/** Serves one front-end until either side ends it. */
export class Connection {
  readonly #parts: ConnectionParts;
  readonly #decoder = new MessageDecoder();
  readonly #token: number;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #deadline: ReturnType<typeof setTimeout> | null = null;
  #isOpen = true;
  /** Whether all that the peer sent was read, and no more will come. */
  #isDrained = false;
  #isWaiting = false;

  /** @param parts Socket, state machine and loop. */
  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.#token = parts.reactor.watch(parts.socket.number, () => this.#serve());
  }

  /** The socket, for questions about the peer. */
  get socket(): Fd {
    return this.#parts.socket;
  }

  /** Ends the connection: rings are stopped and every descriptor is closed. */
  close(reason: Error | null = null): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    this.#parts.reactor.unwatch(this.#parts.socket.number, this.#token);
    this.#decoder.close();
    this.#parts.backend.close();
    // Nothing is left in it whose end could wait.
    if (this.#isDrained) closeNow(this.#parts.socket.release());
    else this.#parts.socket.close();
    this.#parts.onEnd(reason);
  }

  // Whatever goes wrong here is this peer's affair and ends this connection only.
  #serve(): void {
    try {
      // While an answer is being worked out, nothing but a hang-up is reported.
      if (this.#isWaiting) this.close();
      else if (this.#parts.foreign.isClosing) this.#await(this.#settled(null));
      else if (this.#flush()) this.#read();
    } catch (error) {
      this.close(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #read(): void {
    const { socket, foreign, backend } = this.#parts;
    for (let i = 0; i < READS_PER_TURN && this.#isOpen; i++) {
      const fds: Fd[] = [];
      const length = receive(socket, this.#decoder.target(), fds, foreign.adopt);
      if (length === WOULD_BLOCK) break;
      if (length === 0) {
        this.#isDrained = true;
        return this.close();
      }
      const message = this.#decoder.received(length, fds);
      if (message === null) continue;
      const reply = backend.handle(message);
      if (reply instanceof Promise || foreign.isClosing) {
        this.#await(this.#settled(reply));
        break;
      }
      if (reply !== null && !this.#write(reply)) break;
    }
    this.#watchDeadline();
  }

  // A peer may have no more descriptors at a time that wait to be closed than a message has.
  async #settled(reply: Reply | Promise<Reply>): Promise<Reply> {
    const data = await reply;
    await this.#parts.foreign.closed();
    return data;
  }

  // Until the answer is there nothing more is read: messages have an order.
  #await(reply: Promise<Reply>): void {
    const { socket, reactor } = this.#parts;
    reactor.change(socket.number, this.#token, 0);
    this.#isWaiting = true;
    reply.then((data) => {
      if (!this.#isOpen) return;
      this.#isWaiting = false;
      reactor.change(socket.number, this.#token, READABLE_EVENTS);
      if (data !== null) this.#write(data);
      this.#watchDeadline();
    }).catch((error) => this.close(error));
  }

  // Returns whether everything went out; the rest waits, and with it every further request.
  #write(reply: Uint8Array): boolean {
    this.#pendingBytes += reply.length;
    if (this.#pendingBytes > MAX_PENDING_BYTES) {
      throw new Error("the peer does not read its replies");
    }
    this.#pending.push(reply);
    return this.#flush();
  }

  #flush(): boolean {
    const { socket, reactor } = this.#parts;
    while (this.#pending.length > 0) {
      const reply = this.#pending[0]!;
      const sent = send(socket, reply);
      if (sent === WOULD_BLOCK) {
        reactor.change(socket.number, this.#token, EPOLLOUT);
        return false;
      }
      this.#pendingBytes -= sent;
      if (sent < reply.length) this.#pending[0] = reply.subarray(sent);
      else this.#pending.shift();
      if (this.#pending.length === 0) reactor.change(socket.number, this.#token, READABLE_EVENTS);
    }
    return true;
  }

  // The clock starts with a message's first byte and is not started again by the next ones.
  #watchDeadline(): void {
    if (!this.#decoder.isMidMessage && this.#pending.length === 0) {
      if (this.#deadline !== null) clearTimeout(this.#deadline);
      this.#deadline = null;
    } else {
      this.#deadline ??= setTimeout(
        () =>
          this.close(
            new Error(
              this.#pending.length > 0
                ? "the peer does not read its replies"
                : "a message was begun but not finished in time",
            ),
          ),
        MESSAGE_TIMEOUT_MS,
      );
    }
  }
}
