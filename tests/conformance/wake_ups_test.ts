/**
 * A driver that asks to be called just when its chain is used is called, or sees that it need not wait
 * (G12). Some ten thousand times here; `tests/e2e/racing_test.ts` plays on to a million.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import { countWakeUps } from "../support/wake_ups.ts";

const ROUNDS = 10_000;

for (const format of [[], [VIRTIO_F_RING_PACKED]]) {
  for (const event of [[], [VIRTIO_F_EVENT_IDX]]) {
    const what = `${format.length > 0 ? "packed" : "split"} ring, ${
      event.length > 0 ? "by event index" : "by flag"
    }`;
    Deno.test(`Switch loses no wake-up of a driver that asks at the last moment (${what}) (G12)`, async () => {
      const features = featureSet(VIRTIO_F_VERSION_1, ...format, ...event);
      const { found, slept, isLost } = await countWakeUps(features, ROUNDS);
      ok(!isLost, `lost after ${found} found, ${slept} slept`);
      // Both outcomes came often, so the moment was the right one.
      ok(found > ROUNDS / 10 && slept > ROUNDS / 10, `${found} found, ${slept} slept`);
    });
  }
}
