/**
 * Whatever becomes of the reader of its output, the switch goes on: a pipe that nobody reads, a disk
 * without space.
 *
 * @module
 */
import { ok, rejects, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { guestPorts } from "../../config/topology.ts";
import { eventually } from "../support/eventually.ts";
import { exchange, exchangeFrames } from "../support/exchange.ts";
import { Fifo, FIFO_BYTES } from "../support/fifo.ts";
import { Labswitch } from "../support/labswitch.ts";
import { isAlive } from "../support/processes.ts";
import { RawClient } from "../support/raw_client.ts";
import { TestGuest } from "../support/test_guest.ts";

const NOISY = ["c", "d", "e", "f", "g"];
const TOPOLOGY = `version: 1
ports:
${
  ["a", "b", ...NOISY].map((name) => `  ${name}: { type: vhost-user, socket: ${name}.sock }\n`)
    .join("")
}`;
/** Each writes two lines, until the port has written enough: several times what the pipe holds. */
const SESSIONS = 50;

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-output-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Front-ends that come and go, each of which is answered. */
async function makeNoise(lab: Labswitch, sessions: number): Promise<void> {
  for (let i = 0; i < sessions; i++) {
    for (const name of NOISY) {
      using client = await RawClient.connect(lab.port(name).socket);
      ok(await client.probe() > 0n);
    }
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
    await eventually("everything", () => {
      text += fifo.read();
      return / a {2}down/.test(text) || null;
    });
    ok(text.length > 2 * FIFO_BYTES, `it wrote ${text.length} characters`);
    strictEqual(/missing/.test(text), false);
    await lab.stop();
  }));

Deno.test("Switch whose output is a pipe that nobody reads can be stopped (X23, X31)", () =>
  inFolder(async (folder) => {
    using fifo = await Fifo.create(join(folder, "output"));
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, outputTo: fifo.path });
    await makeNoise(lab, SESSIONS);
    await lab.stop();
    for (const { socket } of guestPorts(lab.topology)) {
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
