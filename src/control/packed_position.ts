/**
 * Where a packed ring stands, told by the ring itself.
 *
 * A front-end whose back-end has died does not know how far that had come: a split ring has its used
 * index in guest memory, a packed ring has nothing of the kind (QEMU then sends the base of the time
 * when the ring was last started). But every descriptor that the data plane passes gets its wrap
 * counter in the USED bit, and a driver that makes the descriptor available again leaves that bit as
 * it is (VIRTIO 1.2, 2.8.1). So the bits of a ring tell the position, whatever the driver does
 * meanwhile:
 *
 *     slot    0 1 2 3 4 5 6 7
 *     USED    1 1 1 1 1 0 0 0     the next one is slot 5, wrap counter 1
 *     USED    0 0 0 0 0 0 0 0     the next one is slot 0, wrap counter 1: also a ring that is new
 *
 * Used chains are published in bursts, written backwards: the driver sees none of them before the
 * first one is marked, which comes last. A back-end that died in the middle of that leaves a gap:
 *
 *     USED    1 1 0 0 1 1 0 0     slots 2 to 5 were to be published, 4 and 5 are written
 *
 * The gap still holds what the driver wrote, and the frames were delivered before anything was
 * published, so the publication is carried to its end here.
 *
 * Runs on the main thread, while no Worker uses the ring.
 *
 * @module
 */
import {
  PACKED_DESC,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  WRAP_COUNTER,
} from "../virtio/packed_layouts.ts";
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from "../virtio/layouts.ts";

/** A packed ring's descriptors. */
export interface PackedRing {
  /** The descriptors, seen as 16-bit words. */
  readonly words: Uint16Array;
  /** How many there are. */
  readonly size: number;
  /** Whether its chains are written to. */
  readonly isReceiveQueue: boolean;
}

/** Positions are counted through two rounds of the ring; the wrap counter is 1 in the first. */
interface Run {
  /** The first position. */
  readonly start: number;
  /** How many there are. */
  readonly length: number;
}

/** 16-bit words of a descriptor, and where its parts are among them. */
const WORDS = PACKED_DESC.size / 2;
const LENGTH = PACKED_DESC.offset.len / 2;
const ID = PACKED_DESC.offset.id / 2;
const FLAGS = PACKED_DESC.offset.flags / 2;

/**
 * Finds out where a ring stands, and finishes a publication that a dead back-end left half-way.
 *
 * A ring that is hardly longer than a burst (64 chains) can be half-way in a manner that looks like
 * standing somewhere else; that is not told apart.
 *
 * @param ring The ring.
 * @returns Slot and wrap counter (bit 15), as vhost-user writes them; null when the ring was last used
 * by a back-end that marks it in another way, so that only the front-end can know.
 */
export function resumePacked(ring: PackedRing): number | null {
  const runs = passedRuns(ring);
  if (runs.length === 1) return offWrapOf(ring, endOf(runs[0]!));
  // Passed long ago, gap, marked: and the same once more, the other way round, in the other round.
  if (runs.length !== 3) return null;
  // A burst is short beside the ring, so the longest run is what was passed before it.
  const longest = Math.max(...runs.map(({ length }) => length));
  const before = runs.findIndex(({ length }) => length === longest);
  const marked = runs[(before + 1) % runs.length]!;
  publish(ring, endOf(runs[before]!), marked);
  return offWrapOf(ring, endOf(marked));
}

// The runs of positions that were passed in the round that they belong to. What was passed in one
// round is not passed in the other, so each slot is looked at once.
function passedRuns({ words, size }: PackedRing): Run[] {
  const used = Array.from(
    { length: size },
    (_, slot) => (Atomics.load(words, slot * WORDS + FLAGS) & VIRTQ_DESC_F_USED) !== 0,
  );
  const isPassed = (position: number): boolean =>
    used[position % size] === (position % (2 * size) < size);
  const runs: Run[] = [];
  for (let start = 0; start < 2 * size; start++) {
    if (!isPassed(start) || isPassed(start + 2 * size - 1)) continue;
    let length = 1;
    while (isPassed(start + length)) length++;
    runs.push({ start, length });
  }
  return runs;
}

function endOf({ start, length }: Run): number {
  return start + length;
}

function offWrapOf({ size }: PackedRing, position: number): number {
  return position % size | (isFirstRound(size, position) ? WRAP_COUNTER : 0);
}

function isFirstRound(size: number, position: number): boolean {
  return position % (2 * size) < size;
}

// Gives back the chains that begin before the marked descriptors. Backwards, as the data plane does
// it: who dies here leaves a smaller gap.
function publish(ring: PackedRing, start: number, marked: Run): void {
  const gap = (marked.start - start + 2 * ring.size) % (2 * ring.size);
  const chains: Run[] = [];
  for (let done = 0; done < gap;) {
    const chain = chainAt(ring, start + done, gap + marked.length - done);
    chains.push(chain);
    done += chain.length;
  }
  for (const chain of chains.toReversed()) {
    for (let i = chain.length - 1; i > 0; i--) mark(ring, chain.start + i);
    writeUsed(ring, chain);
  }
}

function chainAt(ring: PackedRing, start: number, most: number): Run {
  let length = 1;
  while (length < most && (flagsOf(ring, start + length - 1) & VIRTQ_DESC_F_NEXT) !== 0) length++;
  return { start, length };
}

// How much was written to the chain is not known any more: all that it had room for at most. So the
// frame may get padding, from what was in the buffer before. Of a chain of several buffers not even
// that is known for sure; length 0 makes the driver throw the frame away.
function writeUsed(ring: PackedRing, { start, length }: Run): void {
  const { words, size, isReceiveQueue } = ring;
  const at = start % size * WORDS;
  const isOneBuffer = length === 1 && (words[at + FLAGS]! & VIRTQ_DESC_F_INDIRECT) === 0;
  const hasLength = isReceiveQueue && isOneBuffer;
  if (!hasLength) words[at + LENGTH] = words[at + LENGTH + 1] = 0;
  // 2.8.6: the last descriptor names the chain.
  words[at + ID] = words[(start + length - 1) % size * WORDS + ID]!;
  const marks = isFirstRound(size, start) ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
  Atomics.store(words, at + FLAGS, marks | (hasLength ? VIRTQ_DESC_F_WRITE : 0));
}

function mark(ring: PackedRing, position: number): void {
  const at = position % ring.size * WORDS + FLAGS;
  const used = isFirstRound(ring.size, position) ? VIRTQ_DESC_F_USED : 0;
  Atomics.store(ring.words, at, flagsOf(ring, position) & ~VIRTQ_DESC_F_USED | used);
}

function flagsOf({ words, size }: PackedRing, position: number): number {
  return words[position % size * WORDS + FLAGS]!;
}
