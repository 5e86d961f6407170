/**
 * What the bench says about sockets where no back-end is, or one that it cannot have.
 *
 * @module
 */
import { rejects } from "node:assert/strict";
import type { Fd } from "../../../ffi/fd.ts";
import { acceptUnix, listenUnix, send, waitReadable } from "../../../ffi/unix_socket.ts";
import type { BenchOrder } from "../../../src/bench/order.ts";
import { runBench } from "../../../src/bench/thread.ts";
import { TemporaryFolder } from "../cli/memory_io.ts";

const QUESTION_MS = 5000;

/** Starts the bench with a path; it must end with this reason. */
async function fails(path: string, reason: string | RegExp): Promise<void> {
  const order: BenchOrder = {
    ...{ sockets: [path, path], ring: { size: 256, isPacked: false }, runs: [] },
    stop: new SharedArrayBuffer(4),
  };
  await rejects(runBench(order, () => {}), { name: "BenchFailure", message: reason });
}

/** Listens, and does something to each connection, which then ends. */
async function withServer(
  serve: (socket: Fd) => void,
  play: (path: string) => Promise<void>,
): Promise<void> {
  using folder = new TemporaryFolder();
  const path = `${folder.path}/server`;
  using listener = listenUnix(path);
  const timer = setInterval(() => {
    using socket = acceptUnix(listener);
    if (socket !== null) serve(socket);
  }, 1);
  try {
    await play(path);
  } finally {
    clearInterval(timer);
  }
}

Deno.test("runBench names a path where nobody listens, and what is there instead", async () => {
  using folder = new TemporaryFolder();
  const none = `${folder.path}/none`;
  const fix = "start the switch that listens there, or correct the path";
  await fails(none, `Cannot connect to ${none}: it does not exist; ${fix}`);
  await fails(folder.path, `Cannot connect to ${folder.path}: this is no socket; ${fix}`);
});

Deno.test("runBench names a port that has another front-end", async () => {
  await withServer(() => {}, async (path) => {
    await fails(
      path,
      `Cannot talk to the back-end at ${path}: it accepts connections and closes them; ` +
        "it may have another front-end",
    );
  });
});

Deno.test("runBench names a path that belongs to another service", async () => {
  const answer = new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n");
  const serve = (socket: Fd) => {
    // Whoever hangs up without a word is taken for a busy port.
    waitReadable(socket, QUESTION_MS);
    send(socket, answer);
  };
  await withServer(serve, async (path) => {
    await fails(path, /^Cannot talk to the back-end at .*\/server: it is none, message \d+ has /);
  });
});
