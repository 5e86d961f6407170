/**
 * What a guest's driver may do to its transmit ring that no driver does.
 *
 * @module
 */
import type { Random } from "../fuzz/random.ts";
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT } from "../../src/virtio/layouts.ts";
import { RawPackedRing } from "../support/raw_packed_ring.ts";
import { RawRing } from "../support/raw_ring.ts";
import { ADDRESS, type Station } from "./station.ts";

/** Chains of a deed. */
const CHAINS = 8;
const FRAME_BYTES = 100;

/** Something that is done to a ring of either format. */
interface Deed {
  readonly split: (ring: RawRing, random: Random) => void;
  readonly packed: (ring: RawPackedRing, random: Random) => void;
}

const DEEDS: readonly Deed[] = [
  // The index is further ahead than the ring is long; a chain is longer than the ring (G01, G27).
  {
    split: (ring) => void (ring.availIndex += ring.size + 1),
    packed: (ring) =>
      ring.offer(Array.from({ length: ring.size }, () => descriptor({ flags: VIRTQ_DESC_F_NEXT }))),
  },
  // A head, or an id, that the ring does not have (G06, G90).
  {
    split: (ring) => ring.offer(ring.size, 0xffff),
    packed: (ring) => ring.offer([descriptor({ id: ring.size })]),
  },
  // A chain that bites its tail; one that has no head (G25).
  {
    split: (ring) => {
      ring.describe([{ ...descriptor({ flags: VIRTQ_DESC_F_NEXT }), next: 0 }]);
      ring.offer(0);
    },
    packed: (ring) => ring.offer([descriptor({ len: 0 })]),
  },
  // Buffers outside of all memory, and too long ones (G36, G56, G60).
  {
    split: (ring, random) => {
      for (let i = 0; i < CHAINS; i++) ring.describe([nowhere(random)], i);
      ring.offer(...Array.from({ length: CHAINS }, (_, i) => i));
    },
    packed: (ring, random) => ring.offer(Array.from({ length: CHAINS }, () => nowhere(random))),
  },
  // A table of descriptors in the middle of nowhere (G50, G53).
  {
    split: (ring, random) => {
      ring.describe([{ ...nowhere(random), flags: VIRTQ_DESC_F_INDIRECT }]);
      ring.offer(0);
    },
    packed: (ring, random) => ring.offer([{ ...nowhere(random), flags: VIRTQ_DESC_F_INDIRECT }]),
  },
  // Anything at all (G24, G89, G92).
  {
    split: (ring, random) => {
      for (let i = 0; i < CHAINS; i++) ring.describe([junk(random)], i);
      ring.offer(...Array.from({ length: CHAINS }, () => random.below(0x1_0000)));
    },
    packed: (ring, random) => {
      const marks = () => random.pick([0, 0x80, 0x8000, 0x8080]);
      ring.offer(Array.from({ length: CHAINS }, () => ({ ...junk(random), marks: marks() })));
    },
  },
];

/** Spoils the transmit ring of an attached guest, which must not use it again. */
export function breakRing(station: Station, random: Random): void {
  const view = new DataView(station.ram.buffer);
  const [, places] = station.places;
  const { queueSize } = station.options;
  const { split, packed } = random.pick(DEEDS);
  if (station.isPacked) packed(new RawPackedRing(view, places, queueSize), random);
  else split(new RawRing(view, places, queueSize), random);
  for (const kick of station.kicks) kick.signal();
}

interface Parts {
  readonly addr: bigint;
  readonly len: number;
  readonly flags: number;
  readonly id: number;
}

function descriptor(parts: Partial<Parts>): Parts {
  return { addr: BigInt(ADDRESS), len: FRAME_BYTES, flags: 0, id: 0, ...parts };
}

function nowhere(random: Random): Parts {
  const addr = random.pick([2n ** 63n, 2n ** 64n - 8n, BigInt(ADDRESS) - 8n, 2n ** 53n + 1n]);
  return descriptor({ addr, len: random.pick([FRAME_BYTES, 2 ** 20, 2 ** 32 - 1]) });
}

function junk(random: Random): Parts {
  return {
    addr: BigInt(random.next()) << BigInt(random.below(32)),
    len: random.next(),
    flags: random.below(0x1_0000),
    id: random.below(0x1_0000),
  };
}
