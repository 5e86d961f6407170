/**
 * Front-ends that try to hold up the switch by the descriptors that they gave it. The switch runs in a
 * process of its own: one that waits shall not take the test with it.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import { libc } from "../../ffi/libc.ts";
import { createMemfd } from "../../ffi/memory.ts";
import { receive, WOULD_BLOCK } from "../../ffi/unix_socket.ts";
import { FLAG_NEED_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { HeldFile, missingUserFaults } from "../support/held_file.ts";
import { Labswitch } from "../support/labswitch.ts";
import { Racer } from "../support/racer.ts";
import type { RacingEventFdRole } from "../support/racing_eventfd.ts";
import { RawClient } from "../support/raw_client.ts";
import { testWith } from "../support/test_with.ts";
import { memoryTable, ringAddress, ringState, u64 } from "../support/vhost_messages.ts";

// bits/fcntl-linux.h
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const TOPOLOGY = `version: 1
ports:
  a: { type: vhost-user, socket: a.sock }
  b: { type: vhost-user, socket: b.sock }
`;
const MEMORY_BYTES = 65536;
const TABLE = memoryTable([{ size: BigInt(MEMORY_BYTES) }]);
const RING = { desc: 0n, avail: 0x400n, used: 0x800n };
const RING_SIZE = 16;
/** A switch that sets O_NONBLOCK and then writes waited within the first twenty. */
const CALLS = 5000;
/** A switch that sealed files on its main thread never answered the first one. */
const PROBES = 20;

async function withLab(attack: (lab: Labswitch) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-held-" });
  try {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    await attack(lab);
    using other = await RawClient.connect(lab.port("b").socket);
    ok(await other.probe() > 0n);
    await lab.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("Switch does not wait for a call eventfd that is filled and made blocking all the time (F33, F34)", async () => {
  await withLab(async (lab) => {
    using call = EventFd.create();
    using filler = new Racer<RacingEventFdRole>("racing_eventfd.ts");
    using waiter = new Racer<RacingEventFdRole>("racing_eventfd.ts");
    using client = await (await RawClient.connect(lab.port("a").socket)).negotiate();
    using memory = createMemfd("labswitch-held", MEMORY_BYTES);
    for (
      const [request, payload, fds] of [
        [Request.SET_MEM_TABLE, TABLE, [memory]],
        [Request.SET_VRING_NUM, ringState(0, RING_SIZE), []],
        [Request.SET_VRING_ADDR, ringAddress(0, RING), []],
        [Request.SET_VRING_KICK, u64(0x100), []],
      ] as const
    ) {
      strictEqual(await client.ask(request, payload, fds), 0n);
    }
    await filler.begin({ fd: call.fd.number, act: "fill" });
    await waiter.begin({ fd: call.fd.number, act: "let wait" });
    try {
      // A ring that gets another call eventfd is called once.
      for (let i = 0; i < CALLS; i++) {
        strictEqual(await client.ask(Request.SET_VRING_CALL, u64(0), [call.fd]), 0n);
      }
    } finally {
      await waiter.end();
      libc().fcntl(call.fd.number, F_SETFL, O_NONBLOCK);
      await filler.end(() => call.drain());
    }
  });
});

testWith(
  missingUserFaults,
  "Switch serves others while the owner of a memory file holds its lock (F62)",
  async () => {
    await withLab(async (lab) => {
      await using held = await HeldFile.open(MEMORY_BYTES);
      using client = await (await RawClient.connect(lab.port("a").socket)).negotiate();
      const options = { flags: FLAG_NEED_REPLY, fds: [held.file] };
      await client.say(Request.SET_MEM_TABLE, TABLE, options);
      for (let i = 0; i < PROBES; i++) {
        using other = await RawClient.connect(lab.port("b").socket);
        ok(await other.probe() > 0n);
      }
      strictEqual(receive(client.socket, new Uint8Array(1), []), WOULD_BLOCK);
      await held.release();
      strictEqual(await client.number(Request.SET_MEM_TABLE), 0n);
    });
  },
);
