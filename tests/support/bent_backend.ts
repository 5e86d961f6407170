/**
 * A back-end that deviates: it stands between a front-end and a port of a switch, passes messages and
 * descriptors on, and bends some of them. It never blocks its thread.
 *
 * @module
 */
import { ECONNRESET, EPIPE, OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import {
  acceptUnix,
  connectUnix,
  listenUnix,
  receive,
  WOULD_BLOCK,
} from "../../ffi/unix_socket.ts";
import { send } from "../../ffi/unix_socket.ts";
import { encode, type Message, MessageDecoder } from "../../src/vhost_user/message.ts";
import { FLAG_NEED_REPLY, FLAG_REPLY, VERSION_MASK } from "../../src/vhost_user/numbers.ts";
import { nextTurn } from "./eventually.ts";
import { u64 } from "./vhost_messages.ts";

/** So long after a message it looks for the next one all the time. */
const IMPATIENT_MS = 20;

/** What is sent on in the place of a message. */
export interface Draft {
  /** Its number. */
  readonly request: number;
  /** Flags of the header without the version. */
  readonly flags: number;
  /** What follows the header. */
  readonly payload: Uint8Array;
}

/** How messages are bent. What is left out is passed on. */
export interface Bend {
  /** What the back-end gets of the front-end's message; null: nothing. */
  readonly request?: (message: Message, link: Link) => Draft | null;
  /** What the front-end gets of the back-end's reply; null: nothing. */
  readonly reply?: (message: Message, link: Link) => Draft | null;
}

/** One front-end's connection, and that to the switch behind it. */
export class Link {
  /** The how manieth connection it is, from 0. */
  readonly number: number;
  /** Replaces the descriptors of the message that is passed on next. */
  fds: readonly Fd[] = [];
  /** Closed with the link. */
  readonly resources: DisposableStack = new DisposableStack();
  readonly #frontend: Fd;
  readonly #backend: Fd;
  readonly #requests = new MessageDecoder();
  readonly #replies = new MessageDecoder();

  /**
   * @param number The how manieth connection it is.
   * @param frontend Owned by the link.
   * @param backend Owned by the link.
   */
  constructor(number: number, frontend: Fd, backend: Fd) {
    this.number = number;
    this.#frontend = this.resources.use(frontend);
    this.#backend = this.resources.use(backend);
    this.resources.defer(() => this.#requests.close());
    this.resources.defer(() => this.#replies.close());
  }

  /** Acknowledges a message in the switch's place, if that is wanted; returns what it gets: nothing. */
  swallow({ request, flags }: Message, value = 0n): null {
    if ((flags & FLAG_NEED_REPLY) !== 0) this.answer(request, u64(value));
    return null;
  }

  /** Sends the switch a message of our own. */
  inject({ request, flags, payload }: Draft, fds: readonly Fd[]): void {
    send(this.#backend, encode(request, flags, payload), fds);
  }

  /** Answers in the switch's place. */
  answer(request: number, payload: Uint8Array, flags = FLAG_REPLY): void {
    send(this.#frontend, encode(request, flags, payload));
  }

  /** Passes on what has come; returns whether both ends are still there. */
  pump(bend: Bend, onMessage: () => void): boolean {
    const pass = (message: Message, to: Fd, change: Bend["request"]) => {
      onMessage();
      this.#pass(message, to, change);
    };
    try {
      return each(this.#frontend, this.#requests, (m) => pass(m, this.#backend, bend.request)) &&
        each(this.#backend, this.#replies, (m) => pass(m, this.#frontend, bend.reply));
    } catch (error) {
      if (error instanceof OsError && [ECONNRESET, EPIPE].includes(error.errno)) return false;
      throw error;
    }
  }

  #pass(message: Message, to: Fd, bend: Bend["request"]): void {
    this.fds = message.fds as readonly Fd[];
    const draft = bend === undefined ? draftOf(message) : bend(message, this);
    if (draft !== null) send(to, encode(draft.request, draft.flags, draft.payload), this.fds);
    for (const fd of message.fds) fd.close();
  }
}

// Takes every message that has come; returns whether the other end is still there.
function each(from: Fd, decoder: MessageDecoder, take: (message: Message) => void): boolean {
  for (;;) {
    const fds: Fd[] = [];
    const length = receive(from, decoder.target(), fds);
    if (length === WOULD_BLOCK) return true;
    if (length === 0) return false;
    const message = decoder.received(length, fds);
    if (message !== null) take(message);
  }
}

/** A message as it is. */
export function draftOf({ request, flags, payload }: Message): Draft {
  return { request, flags: flags & ~VERSION_MASK, payload };
}

/** The back-end. */
export class BentBackend implements AsyncDisposable {
  readonly #listener: Fd;
  readonly #path: string;
  readonly #behind: string;
  readonly #bend: Bend;
  readonly #links = new Set<Link>();
  readonly #ended: Promise<void>;
  #connections = 0;
  #lastMessageAt = -IMPATIENT_MS;
  #isEnding = false;

  /**
   * @param path Where it listens; nothing is there yet.
   * @param behind The socket of the port behind it.
   * @param bend What it does to messages.
   */
  constructor(path: string, behind: string, bend: Bend) {
    this.#path = path;
    this.#behind = behind;
    this.#bend = bend;
    this.#listener = listenUnix(path);
    this.#ended = this.#run();
  }

  /** Hangs up and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    await this.#ended;
    for (const link of this.#links) link.resources.dispose();
    this.#listener.close();
    Deno.removeSync(this.#path);
  }

  async #run(): Promise<void> {
    while (!this.#isEnding) {
      const frontend = acceptUnix(this.#listener);
      if (frontend !== null) {
        this.#links.add(new Link(this.#connections++, frontend, connectUnix(this.#behind)));
      }
      for (const link of this.#links) {
        if (link.pump(this.#bend, () => this.#lastMessageAt = performance.now())) continue;
        link.resources.dispose();
        this.#links.delete(link);
      }
      await this.#rest();
    }
  }

  // A conversation goes on at once; between two of them the processor is left to others.
  async #rest(): Promise<void> {
    if (performance.now() - this.#lastMessageAt < IMPATIENT_MS) await nextTurn();
    else await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
