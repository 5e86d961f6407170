/**
 * Guests whose packed rings break the rules (G89, G90, G92). Each has sent one good frame, so that the
 * attack begins at position 1.
 *
 * @module
 */
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from "../../../../src/virtio/features.ts";
import { VIRTQ_DESC_F_NEXT as NEXT } from "../../../../src/virtio/layouts.ts";
import {
  VIRTQ_DESC_F_AVAIL as AVAIL,
  VIRTQ_DESC_F_USED as USED,
} from "../../../../src/virtio/packed_layouts.ts";
import { Random } from "../../../fuzz/random.ts";
import type { RawPackedDescriptor } from "../../../support/raw_packed_ring.ts";
import { bad, type Input, legal } from "../input.ts";
import { type RawGuest, RECEIVE, TRANSMIT } from "../raw_guest.ts";
import { pause } from "../scene.ts";

const FEATURES = featureSet(VIRTIO_F_RING_PACKED, VIRTIO_F_INDIRECT_DESC);
const SIZE = 256;
const FLIPS = 20_000;
const SEED = 92;

/** G89 to G92. */
export const PACKED_INPUTS: readonly Input[] = [
  chain("G89", (g) => [
    { ...g.good(), flags: NEXT },
    { ...g.good(), marks: 0 },
  ], "goes on with what is not available"),
  chain("G89", (g) => [
    { ...g.good(), flags: NEXT },
    { ...g.good(), marks: AVAIL | USED },
  ], "goes on with what is used"),
  chain("G89", (g) => new Array(SIZE - 1).fill({ ...g.good(), flags: NEXT }), "has no end"),
  ...[SIZE, 65535].map((id) => chain("G90", (g) => [{ ...g.good(), id }], `${id}`)),
  legal("G91", async (scene) => {
    const guest = await scene.guest({ features: FEATURES });
    for (let position = 1; position < SIZE - 1; position++) {
      if (!await guest.sendPacked([guest.good()], position)) throw new Error("takes no frame");
    }
    const [first, second] = [{ ...guest.good(0, 12), flags: NEXT }, guest.good(12)];
    if (!await guest.sendPacked([first, second], SIZE - 1)) throw new Error("takes no frame");
  }),
  bad("G92", async (scene) => {
    const guest = await scene.guest({ features: FEATURES });
    const random = new Random(SEED, 0);
    for (const index of [RECEIVE, TRANSMIT]) {
      guest.packed(index).offer(new Array(SIZE - 1).fill(guest.good()), 1);
    }
    for (let i = 0; i < FLIPS; i++) {
      const { desc } = guest.places[random.below(2)]!;
      const at = desc + random.below(SIZE) * 16 + 14;
      guest.view.setUint16(at, random.chance(0.5) ? random.next() : AVAIL, true);
      guest.kick();
      if (i % 1000 === 0) await pause(1);
    }
    await scene.flood();
    await scene.look(guest.client);
  }),
];

function chain(
  id: string,
  descriptors: (guest: RawGuest) => readonly RawPackedDescriptor[],
  variant: string,
): Input {
  return bad(id, async (scene) => {
    const guest = await scene.guest({ features: FEATURES });
    scene.note(await guest.sendPacked(descriptors(guest), 1) ? "comes back" : "stays");
    await scene.look(guest.client);
  }, variant);
}
