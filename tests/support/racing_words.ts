/**
 * A hostile vCPU that writes words of guests' memories again and again, each time another value, while
 * the switch reads them; and a driver that has all of its rings' entries available at any time.
 *
 * @module
 */
import { keepThreadOn } from "../../ffi/affinity.ts";

/** A word that never stands still. */
export interface Flip {
  /** Which of the memories. */
  readonly memory: number;
  /** Its offset there, a multiple of 2, and of 4 when it is longer. */
  readonly at: number;
  /** Bytes. */
  readonly bytes: 2 | 4 | 8;
  /** What it may be; one that stands here twice is taken twice as often. */
  readonly values: readonly bigint[];
  /** Whether the values come in their order, for all such words the same one; else by chance. */
  readonly isInTurn?: boolean;
}

/** An available index that is always so far ahead of what the device has used. */
export interface Follow {
  /** Which of the memories. */
  readonly memory: number;
  /** Offset of the used index. */
  readonly used: number;
  /** Offset of the available index. */
  readonly available: number;
  /** Entries of the ring. */
  readonly size: number;
}

/** What the Worker is told. */
export interface RacingWordsRole {
  /** The guests' memories. */
  readonly memories: readonly WebAssembly.Memory[];
  /** What it writes. */
  readonly flips: readonly Flip[];
  /** Which rings it keeps full. */
  readonly follows: readonly Follow[];
  /** The processor to stay on; null for any. */
  readonly processor: number | null;
  /** Two words: whether to stop, and how many times it has written everything. */
  readonly control: SharedArrayBuffer;
}

/** The word that ends the race when it is not 0. */
export const STOP = 0;
/** The number of rounds, modulo 2^32. */
export const ROUNDS = 1;
/** Bytes of the control words. */
export const CONTROL_BYTES = 8;

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<RacingWordsRole>) => void) | null;
  postMessage(report: "running" | "stopped"): void;
}

/** A flip as the loop wants it. */
interface Word {
  readonly words: Uint16Array;
  readonly at: number;
  /** 16 bit words. */
  readonly length: number;
  /** All values, word by word. */
  readonly values: Uint16Array;
  readonly count: number;
  readonly isInTurn: boolean;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { memories, flips, follows, processor, control } }) => {
  if (processor !== null) keepThreadOn([processor]);
  const views = memories.map(({ buffer }) => new Uint16Array(buffer));
  const words = flips.map((flip) => prepare(flip, views[flip.memory]!));
  const rings = follows.map((follow) => ({ ...follow, words: views[follow.memory]! }));
  const state = new Int32Array(control);
  scope.postMessage("running");
  let random = 1;
  for (let round = 0; Atomics.load(state, STOP) === 0; round++) {
    for (let i = 0; i < words.length; i++) {
      // Numerical Recipes' linear congruential generator; its low bits are poor.
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      const word = words[i]!;
      write(word, (word.isInTurn ? round : random >>> 16) % word.count);
    }
    for (let i = 0; i < rings.length; i++) {
      const { words: memory, used, available, size } = rings[i]!;
      Atomics.store(memory, available >> 1, Atomics.load(memory, used >> 1) + size & 0xffff);
    }
    Atomics.store(state, ROUNDS, round);
  }
  scope.postMessage("stopped");
};

function prepare(flip: Flip, words: Uint16Array): Word {
  const length = flip.bytes / 2;
  const values = flip.values.flatMap((value) =>
    Array.from({ length }, (_, i) => Number(value >> BigInt(16 * i) & 0xffffn))
  );
  return {
    ...{ words, at: flip.at >> 1, length, values: Uint16Array.from(values) },
    ...{ count: flip.values.length, isInTurn: flip.isInTurn ?? false },
  };
}

// Word by word, so that the switch also meets what is half the one value and half the other.
function write({ words, at, length, values }: Word, choice: number): void {
  for (let i = 0; i < length; i++) words[at + i] = values[choice * length + i]!;
}
