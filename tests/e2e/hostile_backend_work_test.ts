/**
 * Back-ends that do not do their work (B18, B19), and what becomes of a port to a back-end when a poll
 * Worker dies that works on its rings.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { DRIVER_RING_SIZE } from "../../src/control/driver_rings.ts";
import { ringAt, ringNumber } from "../../src/dataplane/state.ts";
import { RING_USED } from "../../src/dataplane/state_layout.ts";
import { featureSet, HEADER_BYTES, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import {
  backendFrame,
  endings,
  exchange,
  exchangeWith,
  guestFrame,
  testBackend,
} from "../support/backend_lab.ts";
import { eventually } from "../support/eventually.ts";
import { TestGuest } from "../support/test_guest.ts";

const FORMATS = { split: featureSet(VIRTIO_F_RING_PACKED), packed: 0n } as const;
/** More than a ring holds. */
const FRAMES = 600;
/** The number of port `up`: the second of its topology. */
const UP = 1;
/** An address that no memory has. */
const NOWHERE = 1n << 40n;

/** Sends frames one after the other, each when there is room for it. */
async function sendAll(guest: TestGuest, frames: number): Promise<void> {
  for (let i = 0; i < frames; i++) {
    await eventually("room for a frame", () => guest.send(guestFrame("a", i)) || null);
  }
  await eventually("all frames are taken", () => guest.hasSentAll() || null);
}

for (const [format, withheld] of Object.entries(FORMATS)) {
  testBackend(
    `FrontendPort drops and counts what a back-end does not take, ${format} ring (B18)`,
    async ({ lab, backend }) => {
      using peer = await backend.attach({ withheld });
      await using guest = await TestGuest.attach(lab.path("a"));
      await sendAll(guest, FRAMES);
      const { transmittedFrames, drops } = lab.report("up").counters;
      deepStrictEqual(
        [transmittedFrames, drops["no buffer"]],
        [DRIVER_RING_SIZE, FRAMES - DRIVER_RING_SIZE],
      );
      // The other direction goes on meanwhile.
      peer.sendFrame(backendFrame(7));
      deepStrictEqual(await guest.receive(), backendFrame(7).subarray(HEADER_BYTES));
      // The first ones were kept, in their order.
      for (let i = 0; i < DRIVER_RING_SIZE; i++) {
        deepStrictEqual(peer.takeFrame()?.subarray(HEADER_BYTES), guestFrame("a", i));
      }
      strictEqual(peer.takeFrame(), null);
      await exchangeWith(guest, peer);
      deepStrictEqual(endings(lab), []);
    },
  );

  testBackend(
    `FrontendPort sends to a back-end that never sends itself, ${format} ring (B19)`,
    async ({ lab, backend }) => {
      using peer = await backend.attach({ withheld });
      await using guest = await TestGuest.attach(lab.path("a"));
      for (let i = 0; i < FRAMES; i++) {
        guest.send(guestFrame("a", i));
        const came = await eventually("a frame", () => peer.takeFrame());
        deepStrictEqual(came.subarray(HEADER_BYTES), guestFrame("a", i));
      }
      const { receivedFrames, transmittedFrames } = lab.report("up").counters;
      deepStrictEqual([receivedFrames, transmittedFrames], [0, FRAMES]);
      deepStrictEqual(endings(lab), []);
    },
  );

  for (const index of [0, 1]) {
    testBackend(
      `FrontendPort begins anew when a Worker dies in its ring ${index}, ${format} ring (X09)`,
      async ({ lab, backend }) => {
        {
          using peer = await backend.attach({ withheld });
          await using guest = await TestGuest.attach(lab.path("a"));
          await exchangeWith(guest, peer);
          // Split rings are looked at there; packed ones when the back-end is to be kicked.
          const at = ringAt(ringNumber(UP, index ^ 1)) + RING_USED;
          lab.state.set64(at, NOWHERE);
          if (index === 1) guest.send(guestFrame("a", 1));
          else peer.sendFrame(backendFrame(1));
          await peer.end();
        }
        const [event] = await eventually(
          "the replacement",
          () => lab.workerEvents.length > 0 ? lab.takeWorkerEvents() : null,
        );
        strictEqual(event?.kind, "worker-replaced");
        const [reason] = endings(lab);
        ok(reason?.endsWith("a poll Worker died while it worked on the ring"), `${reason}`);
        using next = await backend.attach({ withheld });
        await exchange(lab, next);
      },
    );
  }
}
