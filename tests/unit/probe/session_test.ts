import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import type { Fd } from "../../../ffi/fd.ts";
import { ForeignDescriptors } from "../../../ffi/foreign.ts";
import { receive, unixSocketPair, waitReadable, WOULD_BLOCK } from "../../../ffi/unix_socket.ts";
import { Connection } from "../../../src/probe/connection.ts";
import { Session } from "../../../src/probe/session.ts";
import { HungUp, NoAnswer, NotOffered } from "../../../src/probe/verdict.ts";
import { ProtocolError } from "../../../src/vhost_user/errors.ts";
import { FLAG_REPLY, Request } from "../../../src/vhost_user/numbers.ts";
import { encode, type Message, MessageDecoder } from "../../../src/vhost_user/message.ts";
import { send } from "../../../ffi/unix_socket.ts";
import { connectLingering } from "../../support/lingering_socket.ts";
import { ringState, u64 } from "../../support/vhost_messages.ts";

const VERSION_1 = 1n << 32n;
const PROTOCOL = 1n << 30n;
const SHORT_MS = 50;
const LONG_MS = 5000;
const LINGER_SECONDS = 10;

/** Reads what was sent; a socket pair has it at once. */
function nextMessage(socket: Fd): Message {
  const decoder = new MessageDecoder();
  for (;;) {
    const length = receive(socket, decoder.target(), []);
    if (length === WOULD_BLOCK) waitReadable(socket, LONG_MS);
    else {
      const message = decoder.received(length, []);
      if (message !== null) return message;
    }
  }
}

/** Answers what is asked when a conversation begins, before it is asked. */
function offer(socket: Fd, features: bigint, protocolFeatures?: bigint): void {
  send(socket, encode(Request.GET_FEATURES, FLAG_REPLY, u64(features)));
  if (protocolFeatures === undefined) return;
  send(socket, encode(Request.GET_PROTOCOL_FEATURES, FLAG_REPLY, u64(protocolFeatures)));
}

async function begun(
  features: bigint,
  protocolFeatures?: bigint,
  timeoutMs = LONG_MS,
): Promise<{ session: Session; backend: Fd } & Disposable> {
  const [ours, backend] = unixSocketPair();
  offer(backend, features, protocolFeatures);
  const session = await Session.begin(new Connection(ours, timeoutMs));
  return {
    ...{ session, backend },
    [Symbol.dispose]: () => {
      session[Symbol.dispose]();
      backend.close();
    },
  };
}

Deno.test("Session asks for protocol features only where they are offered", async () => {
  using plain = await begun(VERSION_1);
  strictEqual(nextMessage(plain.backend).request, Request.GET_FEATURES);
  deepStrictEqual([plain.session.offered, plain.session.offeredProtocol], [VERSION_1, 0n]);
  using rich = await begun(VERSION_1 | PROTOCOL, 9n);
  strictEqual(rich.session.offeredProtocol, 9n);
});

Deno.test("Session never sends a message whose feature was not negotiated", async () => {
  using plain = await begun(VERSION_1);
  const { session } = plain;
  const refused = /its feature was not negotiated/;
  await rejects(session.askNumber(Request.GET_QUEUE_NUM), refused);
  await rejects(session.askNumber(Request.GET_PROTOCOL_FEATURES), refused);
  await rejects(session.tell(Request.SET_VRING_ENABLE, ringState(0, 1)), refused);
  await rejects(session.setStatus(0), refused);
  nextMessage(plain.backend);
  strictEqual(receive(plain.backend, new Uint8Array(1), []), WOULD_BLOCK);
});

Deno.test("Session ends a check that needs what is not offered", async () => {
  using rich = await begun(VERSION_1 | PROTOCOL, 9n);
  const { session } = rich;
  const wish = { features: VERSION_1 | 1n << 34n, protocolFeatures: 0n };
  await rejects(session.negotiate(wish), new NotOffered("without ring_packed"));
  await rejects(
    async () => await session.requireProtocol(1n << 15n),
    new NotOffered("without configure_mem_slots"),
  );
});

Deno.test("Session takes nothing but the reply that is due", async () => {
  for (
    const [reply, reason] of [
      [encode(Request.GET_STATUS, FLAG_REPLY, u64(0)), /has the number 40, not 1$/],
      [encode(Request.GET_FEATURES, 0, u64(0)), /has flags 0x1, not 0x5$/],
      [encode(Request.GET_FEATURES, FLAG_REPLY, new Uint8Array(4)), /has 4 bytes, not 8$/],
    ] as const
  ) {
    const [ours, backend] = unixSocketPair();
    using _backend = backend;
    send(backend, reply);
    await rejects(Session.begin(new Connection(ours, LONG_MS)), (error: Error) => {
      return error instanceof ProtocolError && reason.test(error.message);
    });
  }
});

Deno.test("Connection takes no descriptors with a reply", async () => {
  const [ours, backend] = unixSocketPair();
  using _backend = backend;
  send(backend, encode(Request.GET_FEATURES, FLAG_REPLY, u64(0)), [backend]);
  await rejects(Session.begin(new Connection(ours, LONG_MS)), /carries descriptors$/);
});

Deno.test("Connection does not wait until what came with a reply is closed", async () => {
  const { socket, peer } = await connectLingering(LINGER_SECONDS);
  const [ours, backend] = unixSocketPair();
  using _backend = backend;
  for (const request of [Request.GET_FEATURES, Request.GET_STATUS]) {
    send(backend, encode(request, FLAG_REPLY, u64(0)), [socket]);
  }
  // One comes with the reply, one waits in the socket: the last close of the TCP socket is ours.
  socket.close();
  const foreign = new ForeignDescriptors();
  const start = performance.now();
  await rejects(Session.begin(new Connection(ours, LONG_MS, foreign)), /carries descriptors$/);
  ok(performance.now() - start < LINGER_SECONDS * 500);
  ok(foreign.isClosing);
  peer.close();
  await foreign.closed();
});

Deno.test("Connection tells silence from the end", async () => {
  const [silent, backend] = unixSocketPair();
  await rejects(Session.begin(new Connection(silent, SHORT_MS)), NoAnswer);
  backend.close();
  const [ours, gone] = unixSocketPair();
  gone.close();
  await rejects(Session.begin(new Connection(ours, LONG_MS)), HungUp);
});
