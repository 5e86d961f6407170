/**
 * What a back-end does with the descriptors that it is given by a port of type `vhost-user-frontend`:
 * shared memory and eventfds (B17 and beyond).
 */
import { ok, strictEqual, throws } from "node:assert/strict";
import { check } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import {
  addSeals,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  seals,
} from "../../ffi/memory.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { featureSet, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import {
  endings,
  exchange,
  exchangeWith,
  guestFrame,
  testBackend,
} from "../support/backend_lab.ts";
import { eventually } from "../support/eventually.ts";
import type { HostilePeer } from "../support/hostile_backend.ts";
import { connectLingering } from "../support/lingering_socket.ts";
import { TestGuest } from "../support/test_guest.ts";

// bits/fcntl-linux.h, linux/falloc.h
const F_SETFL = 4;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
/** The largest count there can be (eventfd(2)): the next write waits, if it may. */
const FULL = new Uint8Array(new BigUint64Array([2n ** 64n - 2n]).buffer);
/** Longer than anything else takes. */
const LINGER_SECONDS = 20;
/** Bursts of frames while something goes on. */
const ROUNDS = 20;

/** Fills the count, and lets whoever writes to it wait. */
function makeWait(fd: Fd): void {
  forbidWaiting(fd.number);
  libc().read(fd.number, new Uint8Array(8), 8n);
  strictEqual(libc().write(fd.number, FULL, 8n), 8n);
  check(libc().fcntl(fd.number, F_SETFL, O_RDWR), "let an eventfd wait");
}

/** This thread must not wait for itself. */
function forbidWaiting(fd: number): void {
  check(libc().fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), "forbid an eventfd to wait");
}

/** Both kick eventfds, as soon as the back-end has them. */
function makeKicksWait(peer: HostilePeer): void {
  for (const index of [0, 1]) makeWait(peer.kick(index));
}

testBackend("FrontendPort does not wait for kicks that nobody takes", async ({ lab, backend }) => {
  using peer = await backend.accept();
  // The last word of the conversation: behind it the switch kicks for the first time.
  let messages = 0;
  await peer.converse({
    spoil: (request, data) => {
      if (request === Request.SET_STATUS && ++messages === 3) makeKicksWait(peer);
      return { data };
    },
  });
  strictEqual(messages, 3);
  await using guest = await TestGuest.attach(lab.path("a"));
  for (let round = 0; round < ROUNDS; round++) {
    makeKicksWait(peer);
    await exchangeWith(guest, peer);
  }
});

testBackend("FrontendPort does not wait for kicks while threads fill them", async (scene) => {
  const { lab, backend, racers } = scene;
  const [filler, opener] = [racers[0]!, racers[1]!];
  using peer = await backend.attach();
  await using guest = await TestGuest.attach(lab.path("a"));
  const fd = peer.kick(1).number;
  await filler.begin({ fd, act: "fill" });
  await opener.begin({ fd, act: "let wait" });
  for (let round = 0; round < ROUNDS; round++) await exchangeWith(guest, peer);
  await opener.end();
  forbidWaiting(fd);
  const count = new Uint8Array(8);
  await filler.end(() => void libc().read(fd, count, 8n));
}, { racers: 2 });

testBackend("FrontendPort serves everybody in a storm of calls (B17)", async (scene) => {
  const { lab, backend, racers } = scene;
  using peer = await backend.attach();
  await using guest = await TestGuest.attach(lab.path("a"));
  await racers[0]!.begin({ fd: peer.call(0).number, act: "signal" });
  await racers[1]!.begin({ fd: peer.call(1).number, act: "signal" });
  for (let round = 0; round < ROUNDS; round++) await exchangeWith(guest, peer);
  for (const racer of racers) await racer.end();
}, { racers: 2 });

testBackend(
  "FrontendPort's memory cannot be cut off, grown or sealed by a back-end",
  async (scene) => {
    using peer = await scene.backend.attach();
    const { file } = peer;
    strictEqual(seals(file), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    for (const length of [0n, 4096n, 1n << 40n]) {
      strictEqual(libc().ftruncate(file.number, length), -1, `${length} bytes`);
    }
    throws(() => addSeals(file, F_SEAL_WRITE));
    await exchange(scene.lab, peer);
  },
);

for (
  const [format, withheld] of [["split", featureSet(VIRTIO_F_RING_PACKED)], ["packed", 0n]] as const
) {
  testBackend(`FrontendPort survives holes in its memory, ${format} ring`, async (scene) => {
    const { lab, backend } = scene;
    await using guest = await TestGuest.attach(lab.path("a"));
    using peer = await backend.attach({ withheld });
    await exchangeWith(guest, peer);
    const bytes = BigInt(peer.range.end - peer.range.start);
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    for (let round = 0; round < ROUNDS; round++) {
      strictEqual(await libc().fallocate(peer.file.number, mode, 0n, bytes), 0);
      guest.send(guestFrame("a", round));
      peer.signal();
      await eventually("the guest has its buffers again", () => guest.hasSentAll() || null);
    }
  });
}

testBackend(
  "FrontendPort closes what it was given when a message ends too early",
  async (scene) => {
    using peer = await scene.backend.accept();
    await peer.next();
    peer.say(encode(Request.GET_FEATURES, 4, new Uint8Array(8)).subarray(0, 5), [peer.socket]);
    peer[Symbol.dispose]();
    await scene.lab.idle("up");
  },
);

testBackend(
  "FrontendPort does not wait for the close of what a back-end gave it",
  async (scene) => {
    const { lab, backend } = scene;
    const { socket, peer: reader } = await connectLingering(LINGER_SECONDS);
    const start = performance.now();
    {
      using peer = await backend.attach();
      peer.say(encode(Request.GET_FEATURES, 0, new Uint8Array(8)), [socket]);
      // From now on the switch has the last one.
      socket.close();
      await eventually("the switch leaves", () => endings(lab)[0] ?? null);
    }
    using next = await backend.attach();
    await exchange(lab, next);
    ok(performance.now() - start < LINGER_SECONDS * 1000, "nobody waits");
    reader.close();
  },
);
