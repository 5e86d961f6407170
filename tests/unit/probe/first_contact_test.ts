/**
 * What a user is told about a path where no back-end is; every kind of path is a real one.
 *
 * @module
 */
import { strictEqual, throws } from "node:assert/strict";
import { OsError } from "../../../ffi/errno.ts";
import { connectUnix, listenUnix } from "../../../ffi/unix_socket.ts";
import { BackendGone, BackendSilent } from "../../../src/host/converse.ts";
import { cannotConnect, cannotTalk } from "../../../src/probe/first_contact.ts";
import { HungUp, NoAnswer } from "../../../src/probe/verdict.ts";
import { ProtocolError } from "../../../src/vhost_user/errors.ts";
import { TemporaryFolder } from "../cli/memory_io.ts";

/** Why a path cannot be connected to, without what stands before the colon. */
function reasonFor(path: string): string {
  let reason = "";
  throws(() => connectUnix(path), (error: Error) => {
    reason = cannotConnect(path, error as OsError).message;
    return error instanceof OsError;
  });
  const start = `Cannot connect to ${path}: `;
  strictEqual(reason.slice(0, start.length), start);
  return reason.slice(start.length);
}

Deno.test("cannotConnect tells a missing path, another file and a socket without listener apart", () => {
  using folder = new TemporaryFolder();
  const stale = `${folder.path}/stale`;
  listenUnix(stale).close();
  const file = folder.write("file", "");
  strictEqual(reasonFor(`${folder.path}/none`), "it does not exist");
  strictEqual(reasonFor(`${file}/none`), "it does not exist");
  strictEqual(reasonFor(file), "this is no socket");
  strictEqual(reasonFor(folder.path), "this is no socket");
  strictEqual(reasonFor(stale), "nobody listens there");
});

Deno.test("cannotConnect knows a listener that does not accept", () => {
  using folder = new TemporaryFolder();
  const path = `${folder.path}/full`;
  using _listener = listenUnix(path, { backlog: 0 });
  using _only = connectUnix(path);
  strictEqual(reasonFor(path), "nobody accepts connections");
});

Deno.test("cannotConnect says what the system says where it knows no better", () => {
  const long = "x".repeat(200);
  throws(() => connectUnix(long), (error: OsError) => {
    strictEqual(cannotConnect(long, error).message, error.message);
    return true;
  });
});

Deno.test("cannotTalk has the same words for the probe and for whoever waits in its thread", () => {
  const told = (error: Error) => cannotTalk(error, "x")?.message ?? null;
  const busy =
    "Cannot talk to x: it accepts connections and closes them; it may have another front-end";
  strictEqual(told(new HungUp("GET_FEATURES")), busy);
  strictEqual(told(new BackendGone()), busy);
  strictEqual(told(new NoAnswer("G", 300)), "Cannot talk to x: no answer to G in 300 ms");
  strictEqual(told(new BackendSilent("it sleeps")), "Cannot talk to x: it sleeps");
  strictEqual(told(new ProtocolError("bad")), "Cannot talk to x: it is none, bad");
  strictEqual(told(new TypeError("a slip")), null);
});
