/**
 * The ring's other end is a device of a few lines that writes as the data plane does, and can die
 * between any two of its writes.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { resumePacked } from "../../../src/control/packed_position.ts";
import { PackedDriverVirtqueue } from "../../../src/virtio/packed_driver_virtqueue.ts";
import { placePackedRing, WRAP_COUNTER } from "../../../src/virtio/packed_layouts.ts";

const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 0x80;
const USED = 0x8000;
/** Long enough beside the bursts of these tests, and no power of two. */
const SIZE = 150;
/** Bytes of a buffer, and those that the device writes to a chain. */
const ROOM = 1000;
const WRITTEN = 77;
/** More than 16 bits: the first word of a length must not stand alone. */
const LARGE_ROOM = 70_000;

/** A ring with a driver and a device. */
class Ring {
  readonly words: Uint16Array;
  readonly driver: PackedDriverVirtqueue;
  readonly size: number;
  readonly isReceiveQueue: boolean;
  /** The device's next slot, counted through two rounds. */
  position = 0;

  constructor(size: number, isReceiveQueue = false) {
    this.size = size;
    this.isReceiveQueue = isReceiveQueue;
    const places = placePackedRing(0, size);
    const memory = new SharedArrayBuffer(Math.ceil(places.end / 16) * 16);
    this.words = new Uint16Array(memory, places.desc, size * 8);
    this.driver = new PackedDriverVirtqueue({ memory, size, places, hasEventIndex: false });
  }

  /** Makes chains of so many descriptors available; their numbers are their tokens. */
  offer(chains: readonly number[], room = ROOM): void {
    chains.forEach((slots, token) => {
      const buffer = { address: 4096, length: room, isWritable: this.isReceiveQueue };
      ok(this.driver.add(new Array(slots).fill(buffer), token));
    });
    this.driver.publish();
  }

  /** The writes that give the next chains back, in their order. */
  writes(chains: readonly number[]): (() => void)[] {
    let position = this.position;
    const starts = chains.map((slots) => {
      const start = position;
      position = (position + slots) % (2 * this.size);
      return start;
    });
    this.position = position;
    return chains.flatMap((slots, i) => this.#writesOf(starts[i]!, slots, i === 0)).toReversed();
  }

  /** The driver's chain after chain, given back whole. */
  pass(chains: readonly number[]): void {
    for (const slots of chains) {
      this.offer([slots]);
      for (const write of this.writes([slots])) write();
      ok(this.driver.take() !== null);
    }
  }

  /** Slot and wrap counter of the device. */
  get offWrap(): number {
    return this.position % this.size + (this.position < this.size ? WRAP_COUNTER : 0);
  }

  // Last write first.
  #writesOf(start: number, slots: number, isFirst: boolean): (() => void)[] {
    const length = this.isReceiveQueue ? WRITTEN : 0;
    const at = this.#at(start);
    const id = this.words[this.#at(start + slots - 1) + 6]!;
    const marks = this.#isFirstRound(start) ? AVAIL | USED : 0;
    const flags = marks | (length > 0 ? WRITE : 0);
    const set = (...values: [offset: number, value: number][]) => () => {
      for (const [offset, value] of values) this.words[at + offset] = value;
    };
    const lengths: [number, number][] = [[4, length], [5, 0]];
    const head = isFirst
      ? [set([7, flags]), set([6, id]), set(...lengths)]
      : [set(...lengths, [6, id], [7, flags])];
    const rest = Array.from({ length: slots - 1 }, (_, i) => () => {
      const mark = this.#at(start + 1 + i) + 7;
      const used = this.#isFirstRound(start + 1 + i) ? USED : 0;
      this.words[mark] = this.words[mark]! & ~USED | used;
    });
    return [...head, ...rest];
  }

  #at(position: number): number {
    return position % this.size * 8;
  }

  #isFirstRound(position: number): boolean {
    return position % (2 * this.size) < this.size;
  }
}

for (const size of [1, 2, 3, 5, 150, 256]) {
  Deno.test(`resumePacked knows every position of a ring of ${size} (X06)`, () => {
    const ring = new Ring(size);
    for (let i = 0; i <= 4 * size; i++) {
      strictEqual(resumePacked(ring), ring.offWrap);
      ring.pass([1]);
    }
  });

  Deno.test(`resumePacked knows every position of a full ring of ${size} (X06)`, () => {
    const ring = new Ring(size);
    ring.offer(new Array(size).fill(1));
    for (let i = 0; i <= 4 * size; i++) {
      strictEqual(resumePacked(ring), ring.offWrap);
      for (const write of ring.writes([1])) write();
      strictEqual(resumePacked(ring), ring.offWrap);
      ok(ring.driver.take() !== null);
      ring.offer([1]);
    }
  });
}

Deno.test("resumePacked knows where a ring of chains stands (X06)", () => {
  const ring = new Ring(7);
  for (let i = 0; i < 60; i++) {
    strictEqual(resumePacked(ring), ring.offWrap);
    ring.pass([1 + i % 4]);
  }
});

const BURSTS = [[1], [4], [1, 1, 1, 1, 1], [3, 1, 2, 1], [1, 1, 4], [2, 2, 2], [5, 5]];
const STARTS = [0, 1, 60, SIZE - 10, SIZE - 5, SIZE - 3, SIZE - 2, SIZE - 1, SIZE, 2 * SIZE - 4];

for (const isReceiveQueue of [false, true]) {
  for (const burst of BURSTS) {
    const kind = isReceiveQueue ? "receive" : "transmit";
    const name = `resumePacked finishes a burst of chains of ${burst} in a ${kind} queue`;
    Deno.test(`${name}, whichever write was the last (X06)`, () => {
      for (const start of STARTS) {
        const writes = interrupted(start, burst, isReceiveQueue).writes.length;
        for (let done = 0; done <= writes; done++) finish(start, burst, isReceiveQueue, done);
      }
    });
  }
}

/** A ring whose device stands at `start`, has taken a burst and made none of its writes yet. */
function interrupted(start: number, burst: readonly number[], isReceiveQueue: boolean) {
  const ring = new Ring(SIZE, isReceiveQueue);
  ring.pass(new Array(start).fill(1));
  ring.offer(burst);
  const before = ring.offWrap;
  return { ring, before, writes: ring.writes(burst) };
}

function finish(
  start: number,
  burst: readonly number[],
  isReceiveQueue: boolean,
  done: number,
): void {
  const { ring, before, writes } = interrupted(start, burst, isReceiveQueue);
  const bits = usedBits(ring);
  for (const write of writes.slice(0, done)) write();
  // Before the first mark nothing was given back.
  const isBegun = usedBits(ring) !== bits;
  strictEqual(resumePacked(ring), isBegun ? ring.offWrap : before, `${start}: ${done} writes`);
  // A second death changes nothing.
  strictEqual(resumePacked(ring), isBegun ? ring.offWrap : before);
  if (!isBegun) {
    strictEqual(ring.driver.take(), null);
    return;
  }
  burst.forEach((slots, token) => {
    const used = ring.driver.take();
    strictEqual(used?.token, token, `${start}: ${done} writes`);
    const lengths = !isReceiveQueue ? [0] : slots > 1 ? [0, WRITTEN] : [ROOM, WRITTEN];
    ok(lengths.includes(used.length), `${used.length}`);
  });
  strictEqual(ring.driver.outstanding, 0);
  ring.pass([1, 3, 1]);
  strictEqual(resumePacked(ring), ring.offWrap);
}

function usedBits({ words, size }: Ring): string {
  return Array.from({ length: size }, (_, slot) => words[slot * 8 + 7]! >> 15).join("");
}

Deno.test("resumePacked gives a buffer back with its whole length (X06)", () => {
  const ring = new Ring(SIZE, true);
  ring.offer([1, 1], LARGE_ROOM);
  ring.writes([1, 1])[0]!();
  resumePacked(ring);
  deepStrictEqual(ring.driver.take(), { token: 0, length: LARGE_ROOM });
  deepStrictEqual(ring.driver.take(), { token: 1, length: WRITTEN });
});

Deno.test("resumePacked gives a table back empty, because it does not look into it (X06)", () => {
  const ring = new Ring(SIZE, true);
  ring.offer([1, 1]);
  ring.words[7] = ring.words[7]! & ~WRITE | INDIRECT;
  ring.writes([1, 1])[0]!();
  resumePacked(ring);
  deepStrictEqual(ring.driver.take(), { token: 0, length: 0 });
  deepStrictEqual(ring.driver.take(), { token: 1, length: WRITTEN });
});

Deno.test("resumePacked does not know a ring with marks that are not ours (X06)", () => {
  const ring = new Ring(SIZE);
  for (const slot of [3, 4, 9]) ring.words[slot * 8 + 7] = USED;
  const before = ring.words.slice();
  strictEqual(resumePacked(ring), null);
  deepStrictEqual(ring.words, before);
});

Deno.test("resumePacked returns a slot of the ring, whatever a guest wrote there (G89)", () => {
  for (let size = 1; size <= 6; size++) {
    for (let bits = 0; bits < 2 ** size; bits++) {
      for (const flags of [0, 1, WRITE, INDIRECT, AVAIL]) {
        const ring = new Ring(size, true);
        for (let slot = 0; slot < size; slot++) {
          ring.words[slot * 8 + 7] = flags | (bits >> slot & 1 ? USED : 0);
        }
        const position = resumePacked(ring);
        ok(position === null || (position & ~WRAP_COUNTER) < size);
      }
    }
  }
});
