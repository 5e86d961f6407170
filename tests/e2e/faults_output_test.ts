/**
 * Whatever becomes of the reader of its output, the switch goes on: a pipe that nobody reads, a disk
 * without space.
 *
 * @module
 */
import { ok, rejects, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { connectUnix } from "../../ffi/unix_socket.ts";
import { eventually } from "../support/eventually.ts";
import { exchange, exchangeFrames } from "../support/exchange.ts";
import { Fifo } from "../support/fifo.ts";
import { Labswitch } from "../support/labswitch.ts";
import { isAlive } from "../support/processes.ts";
import { RawClient } from "../support/raw_client.ts";
import { TestGuest } from "../support/test_guest.ts";

const TOPOLOGY = `version: 1
ports:
  a: { type: vhost-user, socket: a.sock }
  b: { type: vhost-user, socket: b.sock }
  c: { type: vhost-user, socket: c.sock }
`;
/** Each writes two lines of some sixty bytes: more than a pipe (64 KiB) and our queue hold together. */
const SESSIONS = 5000;
/** What the switch writes where lines are missing. */
const FULL = /\((\d+) lines are missing here: writing was not possible\)\n/;

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-output-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Front-ends that come and go on a port, each of which is answered. */
async function makeNoise(lab: Labswitch, sessions: number): Promise<void> {
  const { socket } = lab.port("c");
  for (let i = 0; i < sessions; i++) {
    using client = await RawClient.connect(socket);
    ok(await client.probe() > 0n);
  }
}

Deno.test("Switch whose output is a pipe that nobody reads forwards and answers as ever (X23)", () =>
  inFolder(async (folder) => {
    using fifo = await Fifo.create(join(folder, "output"));
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, outputTo: fifo.path });
    {
      await using a = await TestGuest.attach(lab.port("a").socket);
      await using b = await TestGuest.attach(lab.port("b").socket);
      await exchangeFrames(a, b);
      await makeNoise(lab, SESSIONS);
      await exchangeFrames(a, b);
    }
    // The reader is back.
    let text = "";
    const isThere = (pattern: RegExp) => {
      text += fifo.read();
      return pattern.exec(text);
    };
    const missing = Number((await eventually("the gap", () => isThere(FULL)))[1]);
    const seen = text.slice(0, FULL.exec(text)!.index).match(/ c {2}(dis)?connected/g)!.length;
    ok(missing > 0 && missing + seen >= 2 * SESSIONS, `${missing} missing, ${seen} seen`);
    text = "";
    connectUnix(lab.port("c").socket).close();
    await eventually("a new line", () => isThere(/ c {2}disconnected/));
    await lab.stop();
  }));

Deno.test("Switch whose output is a pipe that nobody reads can be stopped (X23, X31)", () =>
  inFolder(async (folder) => {
    using fifo = await Fifo.create(join(folder, "output"));
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, outputTo: fifo.path });
    await makeNoise(lab, SESSIONS);
    await lab.stop();
    for (const { socket } of lab.topology.ports) {
      await rejects(Deno.lstat(socket), Deno.errors.NotFound);
    }
  }));

Deno.test("Switch whose output goes to a full disk works and can be stopped (X19, X23)", () =>
  inFolder(async (folder) => {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, outputTo: "/dev/full" });
    await exchange(lab.port("a").socket, lab.port("b").socket);
    await makeNoise(lab, 10);
    strictEqual((await lab.stop()).length, 1);
  }));

Deno.test("Supervisor whose output is a pipe that nobody reads starts its switch again (X23)", () =>
  inFolder(async (folder) => {
    using fifo = await Fifo.create(join(folder, "output"));
    const options = { folder, topology: TOPOLOGY, outputTo: fifo.path, isSupervised: true };
    await using lab = await Labswitch.start(options);
    await makeNoise(lab, SESSIONS);
    const first = await lab.supervisedPid();
    Deno.kill(first, "SIGKILL");
    await eventually("the end of the first switch", () => isAlive(first) ? null : true);
    await lab.awaitSockets();
    await exchange(lab.port("a").socket, lab.port("b").socket);
    Deno.kill(lab.pid, "SIGTERM");
    await lab.awaitEnd(0);
  }));
