/**
 * A conversation over a socket whose other end does not keep to the rules.
 *
 * @module
 */
import { ok, throws } from "node:assert/strict";
import { send, unixSocketPair } from "../../../ffi/unix_socket.ts";
import { BackendGone, converse } from "../../../src/host/converse.ts";
import { ProtocolError } from "../../../src/vhost_user/errors.ts";
import { VhostUserFrontend } from "../../../src/vhost_user/frontend.ts";
import { encode } from "../../../src/vhost_user/message.ts";
import { FLAG_REPLY, Request } from "../../../src/vhost_user/numbers.ts";
import { eventually } from "../../support/eventually.ts";
import { connectLingering } from "../../support/lingering_socket.ts";
import { countDescriptors } from "../../support/leaks.ts";
import { u64 } from "../../support/vhost_messages.ts";

const LINGER_SECONDS = 10;

Deno.test("converse hears what was said before the back-end hung up", () => {
  const [ours, backend] = unixSocketPair();
  using _ours = ours;
  send(backend, new TextEncoder().encode("HTTP/1.1 400 Bad Request"));
  backend.close();
  throws(() => converse(ours, new VhostUserFrontend().negotiate({ features: 0n })), ProtocolError);
});

Deno.test("converse says that the back-end has gone, whether or not it answered before", () => {
  for (const words of [[], [encode(Request.GET_FEATURES, FLAG_REPLY, u64(0))]]) {
    const [ours, backend] = unixSocketPair();
    using _ours = ours;
    for (const data of words) send(backend, data);
    backend.close();
    throws(() => converse(ours, new VhostUserFrontend().negotiate({ features: 0n })), BackendGone);
  }
});

Deno.test("converse does not wait until what came with a reply is closed", async () => {
  const [ours, backend] = unixSocketPair();
  using _ours = ours;
  using _backend = backend;
  const before = countDescriptors();
  const { socket, peer } = await connectLingering(LINGER_SECONDS);
  send(backend, encode(Request.GET_FEATURES, FLAG_REPLY, u64(0)), [socket]);
  socket.close();
  const start = performance.now();
  throws(() => converse(ours, new VhostUserFrontend().negotiate({ features: 0n })), /is not one$/);
  ok(performance.now() - start < LINGER_SECONDS * 500);
  peer.close();
  await eventually("the end of the socket", () => countDescriptors() === before || null);
});
