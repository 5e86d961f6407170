/**
 * Drives a front-end's conversation over a socket, waiting in this thread for each reply.
 *
 * For threads of their own (in-process hosts, tests); the switch's main thread never waits like this.
 *
 * @module
 */
import { ECONNRESET, EPIPE, OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import { ForeignDescriptors } from "../../ffi/foreign.ts";
import { receive, send, waitReadable, WOULD_BLOCK } from "../../ffi/unix_socket.ts";
import type { Conversation } from "../vhost_user/frontend.ts";
import { type Message, MessageDecoder } from "../vhost_user/message.ts";

/**
 * What comes with a reply, although nothing should. Closing it may wait for whoever the back-end likes,
 * so it is put off until the thread comes back to its event loop, and done on another one (ADR 15).
 */
const foreign = new ForeignDescriptors();
/** How long a back-end may take to answer. */
const REPLY_TIMEOUT_MS = 5000;

/** The back-end has ended the connection. */
export class BackendGone extends Error {
  /** The name of the class. */
  override readonly name = "BackendGone";

  /** Says so. */
  constructor() {
    super("Cannot talk to the back-end: it closed the connection");
  }
}

/** The back-end does not play its part. */
export class BackendSilent extends Error {
  /** The name of the class. */
  override readonly name = "BackendSilent";
  /** What it does not do, in a few words. */
  readonly reason: string;

  /**
   * Says so.
   *
   * @param reason What it does not do, in a few words.
   */
  constructor(reason: string) {
    super(`Cannot talk to the back-end: ${reason}`);
    this.reason = reason;
  }
}

/**
 * Holds a conversation to its end.
 *
 * @param socket A connected socket; stays the caller's.
 * @param conversation From a `VhostUserFrontend`.
 * @returns What the conversation returns.
 * @throws {BackendGone} When the back-end hangs up.
 * @throws {BackendSilent} When it does not answer in time, or does not read.
 */
export function converse<T>(socket: Fd, conversation: Conversation<T>): T {
  try {
    return talk(socket, conversation);
  } catch (error) {
    throw isReset(error) ? new BackendGone() : error;
  }
}

function isReset(error: unknown): boolean {
  return error instanceof OsError && [ECONNRESET, EPIPE].includes(error.errno);
}

function talk<T>(socket: Fd, conversation: Conversation<T>): T {
  let reply: Message | null = null;
  for (;;) {
    const step = conversation.next(reply);
    if (step.done) return step.value;
    const { data, fds, expectsReply } = step.value;
    tell(socket, data, fds as readonly Fd[]);
    reply = expectsReply ? receiveReply(socket) : null;
  }
}

function tell(socket: Fd, data: Uint8Array, fds: readonly Fd[]): void {
  try {
    // A message is far smaller than the socket's buffer, and the one before it was answered.
    if (send(socket, data, fds) === data.length) return;
  } catch (error) {
    if (!isReset(error)) throw error;
    // Who speaks another protocol may have said so before it hung up: that is the better reason.
    for (const fd of receiveReply(socket).fds) fd.close();
    throw new BackendGone();
  }
  throw new BackendSilent("it does not read its socket");
}

function receiveReply(socket: Fd): Message {
  const decoder = new MessageDecoder();
  const deadline = performance.now() + REPLY_TIMEOUT_MS;
  try {
    for (;;) {
      const fds: Fd[] = [];
      const length = receive(socket, decoder.target(), fds, foreign.adopt);
      if (length === 0) throw new BackendGone();
      if (length !== WOULD_BLOCK) {
        const message = decoder.received(length, fds);
        if (message !== null) return message;
      } else if (!waitReadable(socket, Math.max(0, deadline - performance.now()))) {
        if (performance.now() >= deadline) {
          throw new BackendSilent("it does not answer");
        }
      }
    }
  } finally {
    decoder.close();
  }
}
