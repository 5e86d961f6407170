/**
 * A front-end that makes the switch reach its limit of open descriptors harms its own port only (F36,
 * X16). The switch runs in a process of its own, whose limit is lowered while it runs.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { findProgram } from "../support/console_process.ts";
import { eventually } from "../support/eventually.ts";
import { Labswitch } from "../support/labswitch.ts";
import { countDescriptors } from "../support/leaks.ts";
import { RawClient } from "../support/raw_client.ts";
import { testWith } from "../support/test_with.ts";
import { u64 } from "../support/vhost_messages.ts";

const TOPOLOGY = `version: 1
ports:
  a: { type: vhost-user, socket: a.sock, queues: 128 }
  b: { type: vhost-user, socket: b.sock }
`;
const RINGS_OF_A = 256;
/** Descriptors that the switch may open beyond those it has when it is idle. */
const SPARE_DESCRIPTORS = 8;

const noPrlimit = () => findProgram("prlimit") === undefined ? "prlimit" : undefined;

function testAtLimit(name: string, fn: (lab: Labswitch, eventFd: Fd) => Promise<void>): void {
  testWith(noPrlimit, name, async () => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
    try {
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
      using event = EventFd.create();
      const before = countDescriptors(lab.pid);
      await limitDescriptors(lab.pid);
      await fn(lab, event.fd);
      await eventually("the switch gives everything back", () => {
        return countDescriptors(lab.pid) === before || null;
      });
      // Exits with 0 only when its control thread has survived.
      await lab.stop();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

testAtLimit(
  "Switch disconnects a front-end whose descriptor finds no room (F36, X16)",
  async (lab, fd) => {
    const taken = await fillRings(lab, fd, RINGS_OF_A);
    ok(taken > 0 && taken < RINGS_OF_A, `${taken} descriptors were taken`);
    using other = await RawClient.connect(lab.port("b").socket);
    ok(await other.probe() > 0n);
  },
);

testAtLimit(
  "Switch survives a connection that finds no room, and accepts it later (F36, X16)",
  async (lab, fd) => {
    const room = await roomForDescriptors(lab, fd);
    using first = await connectToFree(lab.port("a").socket);
    for (let index = 0; index < room; index++) {
      strictEqual(await first.ask(Request.SET_VRING_ERR, u64(index), [fd]), 0n);
    }
    using second = await RawClient.connect(lab.port("b").socket);
    await lab.awaitLine(/ b {2}no room {2}a front-end waits: .*EMFILE .*ulimit -n/);
    ok(await first.probe() > 0n);
    first[Symbol.dispose]();
    ok(await second.probe() > 0n);
    strictEqual(lab.output.match(/no room/g)?.length, 1);
  },
);

/** The most of several tries: in any of them the runtime's allocator may have a file of /proc open. */
async function roomForDescriptors(lab: Labswitch, fd: Fd): Promise<number> {
  let room = 0;
  for (let i = 0; i < 5; i++) room = Math.max(room, await fillRings(lab, fd, RINGS_OF_A));
  return room;
}

/** Gives port `a` one descriptor per ring until it is disconnected; returns how many were taken. */
async function fillRings(lab: Labswitch, fd: Fd, rings: number): Promise<number> {
  using client = await connectToFree(lab.port("a").socket);
  for (let index = 0; index < rings; index++) {
    try {
      if (await client.ask(Request.SET_VRING_ERR, u64(index), [fd]) !== 0n) return index;
    } catch {
      return index;
    }
  }
  return rings;
}

/** Connects when the switch has noticed that the last front-end is gone. */
async function connectToFree(path: string): Promise<RawClient> {
  for (;;) {
    const client = await (await RawClient.connect(path)).negotiate();
    try {
      await client.probe();
      return client;
    } catch {
      client[Symbol.dispose]();
    }
  }
}

/** Lowers the limit to a little more than the process has open. */
async function limitDescriptors(pid: number): Promise<void> {
  const numbers = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => Number(name));
  // The limit is one more than the highest number, and new descriptors fill the gaps first.
  const limit = Math.max(...numbers) + 1 + SPARE_DESCRIPTORS;
  const args = [`--pid=${pid}`, `--nofile=${limit}:${limit}`];
  const { success } = await new Deno.Command("prlimit", { args }).output();
  ok(success);
}
