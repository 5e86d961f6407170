/**
 * A hostile vCPU: a Worker that marks the descriptors of a packed ring as available again, one behind
 * the other and round after round, while the switch walks through them.
 *
 * @module
 */

/** What the Worker is told. */
export interface RacingVcpuRole {
  /** The guest's memory. */
  readonly memory: WebAssembly.Memory;
  /** Offset of the first descriptor. */
  readonly desc: number;
  /** Descriptors. */
  readonly size: number;
  /** Two words: the race to run, which is 0 for none, and the race that was run last. */
  readonly races: SharedArrayBuffer;
}

/** The word that starts a race when its number grows; the delay is in the bits above 16. */
export const RACE_STARTED = 0;
/** The number of the last race that is over. */
export const RACE_ENDED = 1;
/** Bits of the number. */
export const RACE_BITS = 16;

/** Rounds of one race. */
const ROUNDS = 6;
/** VIRTQ_DESC_F_AVAIL and VIRTQ_DESC_F_USED (VIRTIO 1.2, 2.8.1). */
const [AVAIL, USED] = [0x80, 0x8000];

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<RacingVcpuRole>) => void) | null;
  postMessage(report: "running"): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: { memory, desc, size, races } }) => {
  const words = new Uint16Array(memory.buffer);
  const control = new Int32Array(races);
  scope.postMessage("running");
  for (let last = 0;;) {
    const race = Atomics.load(control, RACE_STARTED);
    if (race === last) continue;
    last = race;
    follow(words, desc, size, race >> RACE_BITS);
    Atomics.store(control, RACE_ENDED, race);
  }
};

// The switch is in the first round; the marks are those of the rounds behind it.
function follow(words: Uint16Array, desc: number, size: number, delay: number): void {
  for (let round = 1; round <= ROUNDS; round++) {
    const marks = round % 2 === 1 ? USED : AVAIL;
    for (let slot = 0; slot < size; slot++) {
      // About as fast as the switch, so as to stay behind it and no more than a round.
      for (let i = 0; i < delay; i++) Atomics.load(words, 0);
      Atomics.store(words, (desc + slot * 16 + 14) >> 1, marks);
    }
  }
}
