/**
 * Bystanders of an attack that cost next to nothing: one sends the same frames with other numbers,
 * one receives into buffers that are available for ever. Only indexes move.
 *
 * @module
 */
import { VIRTQ_DESC_F_WRITE, VIRTQ_USED_ELEM } from "../../src/virtio/layouts.ts";
import type { GuestSim } from "./guest_sim.ts";
import type { RawRing } from "./raw_ring.ts";

/** Bytes of a receive buffer. */
const BUFFER_BYTES = 2048;

/** One split ring whose entries name descriptors once and for all. */
class SteadyRing {
  protected readonly guest: GuestSim;
  readonly #ring: RawRing;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  #available = 0;
  #used = 0;

  constructor(guest: GuestSim, index: number) {
    this.guest = guest;
    this.#ring = guest.raw(index);
    this.#words16 = new Uint16Array(guest.memory.memory.buffer);
    this.#words32 = new Uint32Array(guest.memory.memory.buffer);
  }

  /** Entries. */
  get size(): number {
    return this.#ring.size;
  }

  /** Names a buffer in the entry of the same number. */
  protected describe(entry: number, addr: bigint, len: number, flags: number): void {
    this.#ring.describe([{ addr, len, flags }], entry);
    this.#words16[(this.#ring.places.avail + 4 >> 1) + entry] = entry;
  }

  /** Makes the next entries available. */
  protected offer(count: number): void {
    this.#available = this.#available + count & 0xffff;
    Atomics.store(this.#words16, this.#ring.places.avail + 2 >> 1, this.#available);
  }

  /** Takes the next used entry: the descriptor and how many bytes were written; null for none. */
  protected take(): readonly [entry: number, bytes: number] | null {
    const { used } = this.#ring.places;
    if (Atomics.load(this.#words16, used + 2 >> 1) === this.#used) return null;
    const slot = this.#used & (this.size - 1);
    const at = (used + 4 + slot * VIRTQ_USED_ELEM.size) >> 2;
    this.#used = this.#used + 1 & 0xffff;
    return [this.#words32[at]!, this.#words32[at + 1]!];
  }
}

/** Where a steady frame holds its number: 32 bits, in the payload, aligned behind both headers. */
export const STEADY_NUMBER = 16;

/** Sends the same frames again and again, each with the next number. */
export class SteadySender extends SteadyRing {
  /** Where each entry's frame holds its number. */
  readonly #numbers: readonly Uint32Array[];
  #sent = 0;

  /**
   * @param guest A guest that sends nothing else.
   * @param frames The frames, taken in turn.
   */
  constructor(guest: GuestSim, frames: readonly Uint8Array[]) {
    super(guest, 1);
    this.#numbers = Array.from({ length: this.size }, (_, entry) => {
      const frame = frames[entry % frames.length]!;
      const address = guest.allocate(guest.headerBytes + frame.length);
      this.describe(entry, address, guest.headerBytes + frame.length, 0);
      const local = guest.memory.localOf(address) + guest.headerBytes;
      guest.memory.bytes.set(frame, local);
      return new Uint32Array(guest.memory.memory.buffer, local + STEADY_NUMBER, 1);
    });
  }

  /** Sends the next frames. */
  send(count: number): void {
    for (let i = 0; i < count; i++, this.#sent++) {
      this.#numbers[this.#sent & (this.size - 1)]![0] = this.#sent;
    }
    this.offer(count);
  }

  /** How many frames came back since the last call. */
  takeSent(): number {
    let count = 0;
    while (this.take() !== null) count++;
    return count;
  }
}

/** Receives into as many buffers as its ring has entries. */
export class SteadyReceiver extends SteadyRing {
  readonly #buffers: readonly Uint8Array[];

  /** @param guest A guest without other receive buffers, with room for these. */
  constructor(guest: GuestSim) {
    super(guest, 0);
    this.#buffers = Array.from({ length: this.size }, (_, entry) => {
      const address = guest.allocate(BUFFER_BYTES);
      this.describe(entry, address, BUFFER_BYTES, VIRTQ_DESC_F_WRITE);
      const local = guest.memory.localOf(address);
      return guest.memory.bytes.subarray(local, local + BUFFER_BYTES);
    });
    this.offer(this.size);
  }

  /** Calls back with each frame that came, which is the ring's again afterwards. */
  receive(onFrame: (frame: Uint8Array) => void): void {
    let count = 0;
    for (let used = this.take(); used !== null; used = this.take(), count++) {
      onFrame(this.#buffers[used[0]]!.subarray(this.guest.headerBytes, used[1]));
    }
    this.offer(count);
  }
}
