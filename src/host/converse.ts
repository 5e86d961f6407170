/**
 * Drives a front-end's conversation over a socket, waiting in this thread for each reply.
 *
 * For threads of their own (in-process hosts, tests); the switch's main thread never waits like this.
 *
 * @module
 */
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

/**
 * Holds a conversation to its end.
 *
 * @param socket A connected socket; stays the caller's.
 * @param conversation From a `VhostUserFrontend`.
 * @returns What the conversation returns.
 * @throws {Error} When the back-end hangs up or does not answer in time.
 */
export function converse<T>(socket: Fd, conversation: Conversation<T>): T {
  let reply: Message | null = null;
  for (;;) {
    const step = conversation.next(reply);
    if (step.done) return step.value;
    const { data, fds, expectsReply } = step.value;
    // A message is far smaller than the socket's buffer, and the one before it was answered.
    if (send(socket, data, fds as readonly Fd[]) !== data.length) {
      throw new Error("Cannot talk to the back-end: it does not read its socket");
    }
    reply = expectsReply ? receiveReply(socket) : null;
  }
}

function receiveReply(socket: Fd): Message {
  const decoder = new MessageDecoder();
  const deadline = performance.now() + REPLY_TIMEOUT_MS;
  try {
    for (;;) {
      const fds: Fd[] = [];
      const length = receive(socket, decoder.target(), fds, foreign.adopt);
      if (length === 0) throw new Error("Cannot talk to the back-end: it closed the connection");
      if (length !== WOULD_BLOCK) {
        const message = decoder.received(length, fds);
        if (message !== null) return message;
      } else if (!waitReadable(socket, Math.max(0, deadline - performance.now()))) {
        if (performance.now() >= deadline) {
          throw new Error("Cannot talk to the back-end: it does not answer");
        }
      }
    }
  } finally {
    decoder.close();
  }
}
