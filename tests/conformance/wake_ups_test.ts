/**
 * A driver that asks to be called just when its chain is used is called, or sees that it need not wait
 * (G12). A hundred thousand times here, if the machine is quiet; `tests/e2e/racing_test.ts` plays on to a million.
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

const ROUNDS = 25_000;
const PATIENCE_MS = 1500;
/** Each outcome comes so often at least, or the moment is the wrong one. */
const FEWEST = 20;

for (const format of [[], [VIRTIO_F_RING_PACKED]]) {
  for (const event of [[], [VIRTIO_F_EVENT_IDX]]) {
    const what = `${format.length > 0 ? "packed" : "split"} ring, ${
      event.length > 0 ? "by event index" : "by flag"
    }`;
    Deno.test(`Switch loses no wake-up of a driver that asks at the last moment (${what}) (G12)`, async () => {
      const features = featureSet(VIRTIO_F_VERSION_1, ...format, ...event);
      const { found, slept, isLost } = await countWakeUps(features, ROUNDS, PATIENCE_MS);
      ok(!isLost, `lost after ${found} found, ${slept} slept`);
      ok(Math.min(found, slept) >= FEWEST, `${found} found, ${slept} slept`);
    });
  }
}
