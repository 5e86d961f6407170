/**
 * A second processor of a guest that changes a word of its memory to and fro, as fast as it can.
 *
 * @module
 */

/** What the Worker is told. */
export interface Race {
  /** The guest's memory. */
  readonly memory: WebAssembly.Memory;
  /** Offset of the word, a multiple of 4. */
  readonly at: number;
  /** What the word is in turn. */
  readonly values: readonly [number, number];
  /** One word; the race is over when it is not 0. */
  readonly end: SharedArrayBuffer;
}

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<Race>) => void) | null;
  postMessage(report: "over"): void;
}

/** Changes between two looks at the end. */
const CHANGES = 1000;

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { memory, at, values, end } }) => {
  const words = new Uint32Array(memory.buffer);
  const over = new Int32Array(end);
  while (Atomics.load(over, 0) === 0) {
    for (let i = 0; i < CHANGES; i++) Atomics.store(words, at >> 2, values[i & 1]!);
  }
  scope.postMessage("over");
};
