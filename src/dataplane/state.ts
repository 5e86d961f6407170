/**
 * The state memory seen from TypeScript: control plane, poll Workers and tests.
 *
 * Offsets come from `state_layout.ts`. Accesses that order something between threads are atomic and
 * say so; the others are plain, because their line has one writer (see the table there).
 *
 * @module
 */
import {
  CONTROL_WORKER,
  COUNTER_BLOCK_BYTES,
  COUNTERS,
  MAX_PORTS,
  MAX_WORKERS,
  PORT_BYTES,
  PORTS,
  RING_BYTES,
  RINGS,
  RINGS_PER_PORT,
  WORKER_BYTES,
  WORKERS,
} from "./state_layout.ts";

/** Bytes of a WebAssembly page. */
const WASM_PAGE_BYTES = 65536;

/** How long {@linkcode State.pause} sleeps: about a turn of a busy poll loop. */
const PAUSE_MS = 0.05;

/** Pages of 64 KiB that the state memory has. */
export const STATE_PAGES: number = Math.ceil(
  (WORKERS + (MAX_WORKERS + 1) * WORKER_BYTES) / WASM_PAGE_BYTES,
);

/** Makes a state memory: all zero, shared with Workers, costs RSS only where it is touched. */
export function createStateMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: STATE_PAGES, maximum: STATE_PAGES, shared: true });
}

/** The record of a port, as an offset into state memory. */
export function portAt(port: number): number {
  return PORTS + port * PORT_BYTES;
}

/** The number of a ring from its port and its vring index. */
export function ringNumber(port: number, index: number): number {
  return port * RINGS_PER_PORT + index;
}

/** The record of a ring, as an offset into state memory. */
export function ringAt(ring: number): number {
  return RINGS + ring * RING_BYTES;
}

/** The record of a Worker, as an offset into state memory. */
export function workerAt(worker: number): number {
  return WORKERS + worker * WORKER_BYTES;
}

/** A counter of a port as one Worker counts it, as an offset into state memory. */
export function counterAt(worker: number, port: number, counter: number): number {
  return COUNTERS + (worker * MAX_PORTS + port) * COUNTER_BLOCK_BYTES + counter;
}

/** Typed access to the state memory; offsets are bytes and aligned to the width. */
export class State {
  /** The memory itself, to be given to Workers and instances. */
  readonly memory: WebAssembly.Memory;
  readonly #u8: Uint8Array<SharedArrayBuffer>;
  readonly #u16: Uint16Array<SharedArrayBuffer>;
  readonly #u32: Uint32Array<SharedArrayBuffer>;
  readonly #i32: Int32Array<SharedArrayBuffer>;
  readonly #u64: BigUint64Array<SharedArrayBuffer>;
  readonly #f64: Float64Array<SharedArrayBuffer>;

  /**
   * Shows a state memory.
   *
   * @param memory A memory made by {@linkcode createStateMemory}, here or in another thread.
   */
  constructor(memory: WebAssembly.Memory = createStateMemory()) {
    const buffer = memory.buffer as unknown as SharedArrayBuffer;
    this.memory = memory;
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#u64 = new BigUint64Array(buffer);
    this.#f64 = new Float64Array(buffer);
  }

  /** Reads 16 bits. */
  get16(at: number): number {
    return this.#u16[at >>> 1]!;
  }

  /** Writes 8 bits. */
  set8(at: number, value: number): void {
    this.#u8[at] = value;
  }

  /** Writes 16 bits. */
  set16(at: number, value: number): void {
    this.#u16[at >>> 1] = value;
  }

  /** Reads 32 bits. */
  get32(at: number): number {
    return this.#u32[at >>> 2]!;
  }

  /** Reads 32 signed bits. */
  getSigned32(at: number): number {
    return this.#i32[at >>> 2]!;
  }

  /** Writes 32 bits, signed or not. */
  set32(at: number, value: number): void {
    this.#u32[at >>> 2] = value;
  }

  /** Reads 64 bits. */
  get64(at: number): bigint {
    return this.#u64[at >>> 3]!;
  }

  /** Writes 64 bits. */
  set64(at: number, value: bigint): void {
    this.#u64[at >>> 3] = value;
  }

  /** Reads a statistic of a Worker. */
  getFloat(at: number): number {
    return this.#f64[at >>> 3]!;
  }

  /** Writes a statistic of a Worker: a float, because a number costs no allocation. */
  setFloat(at: number, value: number): void {
    this.#f64[at >>> 3] = value;
  }

  /** Reads 32 bits, sequentially consistent with every other atomic access. */
  load32(at: number): number {
    return Atomics.load(this.#u32, at >>> 2);
  }

  /** Writes 32 bits, sequentially consistent with every other atomic access. */
  store32(at: number, value: number): void {
    Atomics.store(this.#u32, at >>> 2, value);
  }

  /** Adds to 32 bits, sequentially consistent; returns the value before. */
  add32(at: number, value: number): number {
    return Atomics.add(this.#u32, at >>> 2, value);
  }

  /** Reads 64 bits that another thread writes. */
  load64(at: number): bigint {
    return Atomics.load(this.#u64, at >>> 3);
  }

  /** Writes bytes; for records that nobody else uses. */
  write(at: number, data: Uint8Array): void {
    this.#u8.set(data, at);
  }

  /** Clears a range; for records that no Worker uses. */
  clear(at: number, length: number): void {
    this.#u8.fill(0, at, at + length);
  }

  /** Sums a counter of a port over the Workers and control. */
  counter(port: number, counter: number, workers: number = MAX_WORKERS): bigint {
    let sum = this.load64(counterAt(CONTROL_WORKER, port, counter));
    for (let worker = 0; worker < workers; worker++) {
      sum += this.load64(counterAt(worker, port, counter));
    }
    return sum;
  }

  /** Counts something that control itself saw; runs on the main thread. */
  countOne(port: number, counter: number): void {
    this.#u64[counterAt(CONTROL_WORKER, port, counter) >>> 3]! += 1n;
  }

  /** Gives the processor away for a moment, unless 32 bits differ from `value` already. */
  pause(at: number, value: number): void {
    Atomics.wait(this.#i32, at >>> 2, value, PAUSE_MS);
  }
}
