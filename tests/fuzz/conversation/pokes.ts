/**
 * What a guest writes into its rings while the switch works on them: more chains, other chains, and
 * words that no driver would write.
 *
 * @module
 */
import { VIRTQ_DESC } from "../../../src/virtio/layouts.ts";
import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED } from "../../../src/virtio/packed_layouts.ts";
import type { Random } from "../random.ts";
import type { GuestPlan, RingPlan } from "../situation.ts";
import { REGION_OFFSETS } from "./layout.ts";
import type { Step, WatchedRing } from "./plan.ts";
import type { Front } from "./front.ts";

type Poke = Extract<Step, { kind: "poke" }>;

const MARKS = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
/** Where a descriptor's flags stand in a packed ring. */
const PACKED_FLAGS = 14;

/** Offset in the memory file of a place of the guest's memory. */
export function fileOffset(plan: GuestPlan, local: number): number {
  const i = plan.regions.findLastIndex(({ localAddress }) => localAddress <= local);
  return REGION_OFFSETS[i]! + local - plan.regions[i]!.localAddress;
}

/** Where the switch shows that it has given back the first chain of a ring. */
export function watch(plan: GuestPlan, ring: RingPlan): WatchedRing {
  const { places: { desc, used }, size, index } = ring;
  if (!plan.isPacked) return { at: fileOffset(plan, used + 2), mask: 0xffff };
  const slot = (index & 0x7fff) % size;
  return { at: fileOffset(plan, desc + VIRTQ_DESC.size * slot + PACKED_FLAGS), mask: MARKS };
}

/** Draws one write. */
export function drawPoke(random: Random, { plan }: Front): Poke {
  const ring = random.pick(plan.rings);
  if (random.chance(0.2)) return drawDescriptorPoke(random, plan, ring);
  return plan.isPacked ? drawPackedPoke(random, plan, ring) : drawSplitPoke(random, plan, ring);
}

function drawSplitPoke(random: Random, plan: GuestPlan, ring: RingPlan): Poke {
  const { places: { avail, used }, size, index } = ring;
  const word = random.chance(0.7) ? [avail + 2, index + random.below(2 * size)] : random.pick([
    [avail + 2, random.next()],
    [avail, random.below(4)],
    [avail + 4 + 2 * random.below(size), random.below(size + 2)],
    [avail + 4 + 2 * size, random.next()],
    [used + 2, random.next()],
    [used, random.next()],
  ]);
  return pokeWord(plan, word[0]!, word[1]!);
}

function drawPackedPoke(random: Random, plan: GuestPlan, ring: RingPlan): Poke {
  const { places: { desc, avail, used }, size } = ring;
  const flags = desc + VIRTQ_DESC.size * random.below(size) + PACKED_FLAGS;
  const mark = random.pick([0, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED, MARKS]);
  const word = random.chance(0.8)
    ? [flags, mark | random.below(4)]
    : random.pick([[avail, random.next()], [avail + 2, random.below(4)], [used, random.next()]]);
  return pokeWord(plan, word[0]!, word[1]!);
}

// Any bytes over a descriptor: address, length, flags and all.
function drawDescriptorPoke(random: Random, plan: GuestPlan, { places, size }: RingPlan): Poke {
  const at = places.desc + VIRTQ_DESC.size * random.below(size);
  const bytes = Uint8Array.from({ length: random.pick([2, 4, 8, 16]) }, () => random.below(256));
  return { kind: "poke", at: fileOffset(plan, at + random.pick([0, 0, 8, 12]) % 16), bytes };
}

function pokeWord(plan: GuestPlan, local: number, value: number): Poke {
  const bytes = Uint8Array.of(value & 0xff, value >> 8 & 0xff);
  return { kind: "poke", at: fileOffset(plan, local), bytes };
}
