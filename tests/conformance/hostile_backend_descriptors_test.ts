/**
 * What a back-end does with the descriptors that it is given by a port of type `vhost-user-frontend`:
 * shared memory and eventfds (B17 and beyond).
 */
import { strictEqual, throws } from "node:assert/strict";
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
import { exchange, exchangeWith, guestFrame, testBackend } from "../support/backend_lab.ts";
import { eventually } from "../support/eventually.ts";
import type { HostilePeer } from "../support/hostile_backend.ts";
import { type KickStormRole, STORM_CONTROL_BYTES, STORM_STOP } from "../support/kick_storm.ts";
import { Racer } from "../support/racer.ts";
import type { RacingEventFdRole } from "../support/racing_eventfd.ts";
import { TestGuest } from "../support/test_guest.ts";

// bits/fcntl-linux.h, linux/falloc.h
const F_SETFL = 4;
const O_RDWR = 2;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
/** The largest count there can be (eventfd(2)): the next write waits, if it may. */
const FULL = new Uint8Array(new BigUint64Array([2n ** 64n - 2n]).buffer);
/** Bursts of frames while something goes on. */
const ROUNDS = 20;

/** Fills the count, and lets whoever writes to it wait. */
function makeWait(fd: Fd): void {
  libc().write(fd.number, FULL, 8n);
  check(libc().fcntl(fd.number, F_SETFL, O_RDWR), "let an eventfd wait");
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

testBackend("FrontendPort does not wait for kicks while a thread fills them", async (scene) => {
  const { lab, backend } = scene;
  using peer = await backend.attach();
  await using guest = await TestGuest.attach(lab.path("a"));
  using filler = new Racer<RacingEventFdRole>("racing_eventfd.ts");
  using opener = new Racer<RacingEventFdRole>("racing_eventfd.ts");
  const fd = peer.kick(1).number;
  await filler.begin({ fd, act: "fill" });
  await opener.begin({ fd, act: "let wait" });
  for (let round = 0; round < ROUNDS; round++) await exchangeWith(guest, peer);
  await opener.end();
  const count = new Uint8Array(8);
  await filler.end(() => void libc().read(fd, count, 8n));
});

testBackend("FrontendPort serves everybody in a storm of calls (B17)", async ({ lab, backend }) => {
  using peer = await backend.attach();
  await using guest = await TestGuest.attach(lab.path("a"));
  const worker = new Worker(new URL("../support/kick_storm.ts", import.meta.url), {
    type: "module",
  });
  const control = new SharedArrayBuffer(STORM_CONTROL_BYTES);
  const answer = () => new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage({ fd: peer.call(0).number, control } satisfies KickStormRole);
  await answer();
  try {
    for (let round = 0; round < ROUNDS; round++) await exchangeWith(guest, peer);
  } finally {
    const isOver = answer();
    Atomics.store(new Int32Array(control), STORM_STOP, 1);
    await isOver;
    worker.terminate();
  }
});

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
