/**
 * A back-end in this thread that carries the generator's frames from each port to the other, and does
 * to them whatever a test wants. It works on the rings in the generator's memory, as any back-end.
 *
 * @module
 */
import type { Generator } from "../../src/bench/generator.ts";
import type { RingPlaces } from "../../src/virtio/layouts.ts";

/** What becomes of the frames that are taken from a port in one go. */
export type Change = (frames: Uint8Array[], port: number) => Uint8Array[];

/** A buffer that the driver offers. */
interface Offer {
  readonly id: number;
  readonly address: number;
}

/** A ring, device side. */
interface DeviceRing {
  take(): (Offer & { readonly length: number }) | null;
  giveBack(id: number, length: number): void;
}

const HEADER_BYTES = 12;
const DESC_BYTES = 16;
const PACKED_AVAIL = 1 << 7;
const PACKED_USED = 1 << 15;

/** The path. */
export class MadeUpPath {
  /** Whether buffers are given back in the opposite order of each go. */
  isBackwards = false;
  readonly #memory: Uint8Array;
  readonly #rings: readonly DeviceRing[];
  readonly #change: Change;

  /**
   * @param generator Its rings are laid out and nothing was sent.
   * @param places Where they are.
   * @param ring What they are like.
   * @param change What becomes of frames.
   */
  constructor(
    generator: Generator,
    places: readonly RingPlaces[],
    { size, isPacked }: { readonly size: number; readonly isPacked: boolean },
    change: Change = (frames) => frames,
  ) {
    const { buffer } = generator.memory;
    this.#memory = new Uint8Array(buffer);
    const view = new DataView(buffer);
    this.#rings = places.map((place) =>
      isPacked ? new PackedDeviceRing(view, place, size) : new SplitDeviceRing(view, place, size)
    );
    this.#change = change;
  }

  /** Carries everything that waits; a frame that finds no receive buffer is lost. */
  turn(): void {
    for (const port of [0, 1]) {
      for (const frame of this.#change(this.#takeAll(port), port)) this.#deliver(1 - port, frame);
    }
  }

  #takeAll(port: number): Uint8Array[] {
    const transmit = this.#rings[2 * port + 1]!;
    const frames: Uint8Array[] = [];
    const used: number[] = [];
    for (let offer = transmit.take(); offer !== null; offer = transmit.take()) {
      const { id, address, length } = offer;
      frames.push(this.#memory.slice(address + HEADER_BYTES, address + length));
      used.push(id);
    }
    for (const id of this.isBackwards ? used.toReversed() : used) transmit.giveBack(id, 0);
    return frames;
  }

  #deliver(port: number, frame: Uint8Array): void {
    const receive = this.#rings[2 * port]!;
    const offer = receive.take();
    if (offer === null) return;
    this.#memory.fill(0, offer.address, offer.address + HEADER_BYTES);
    this.#memory.set(frame, offer.address + HEADER_BYTES);
    receive.giveBack(offer.id, HEADER_BYTES + frame.length);
  }
}

class SplitDeviceRing implements DeviceRing {
  #taken = 0;
  #used = 0;

  constructor(
    readonly view: DataView,
    readonly places: RingPlaces,
    readonly size: number,
  ) {}

  take() {
    const { avail, desc } = this.places;
    if (this.view.getUint16(avail + 2, true) === (this.#taken & 0xffff)) return null;
    const id = this.view.getUint16(avail + 4 + 2 * (this.#taken++ % this.size), true);
    const at = desc + id * DESC_BYTES;
    const address = Number(this.view.getBigUint64(at, true));
    return { id, address, length: this.view.getUint32(at + 8, true) };
  }

  giveBack(id: number, length: number): void {
    const { used } = this.places;
    const at = used + 4 + 8 * (this.#used++ % this.size);
    this.view.setUint32(at, id, true);
    this.view.setUint32(at + 4, length, true);
    this.view.setUint16(used + 2, this.#used & 0xffff, true);
  }
}

class PackedDeviceRing implements DeviceRing {
  #taken = 0;
  #used = 0;

  constructor(
    readonly view: DataView,
    readonly places: RingPlaces,
    readonly size: number,
  ) {}

  take() {
    const at = this.#at(this.#taken);
    const isFirstRound = this.#isFirstRound(this.#taken);
    const want = isFirstRound ? PACKED_AVAIL : PACKED_USED;
    const flags = this.view.getUint16(at + 14, true);
    if ((flags & (PACKED_AVAIL | PACKED_USED)) !== want) return null;
    this.#taken++;
    return {
      id: this.view.getUint16(at + 12, true),
      address: Number(this.view.getBigUint64(at, true)),
      length: this.view.getUint32(at + 8, true),
    };
  }

  giveBack(id: number, length: number): void {
    const at = this.#at(this.#used);
    const flags = this.#isFirstRound(this.#used) ? PACKED_AVAIL | PACKED_USED : 0;
    this.#used++;
    this.view.setUint16(at + 12, id, true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 14, flags, true);
  }

  #at(position: number): number {
    return this.places.desc + (position % this.size) * DESC_BYTES;
  }

  #isFirstRound(position: number): boolean {
    return Math.floor(position / this.size) % 2 === 0;
  }
}
