/**
 * What a hostile back-end writes into the rings and buffers that it shares, at random.
 *
 * @module
 */
import { Random } from "../fuzz/random.ts";
import { u16le, u32le } from "../../src/layout/struct.ts";
import { PackedDeviceRing } from "./device_ring.ts";
import type { DriverSim } from "./driver_sim.ts";
import { BROADCAST, makeFrame, stationAddress } from "./frames.ts";

/** The station behind the back-end. */
const STATION = 66;
const PLAIN = makeFrame(BROADCAST, stationAddress(STATION), 1600);
/** Used entries in one go, at most: several bursts. */
const MANY = 200;

/** Writes at random. */
export class DriverAttack {
  readonly #sim: DriverSim;
  readonly #random: Random;
  readonly #headerBytes: number;

  /**
   * @param sim The switch.
   * @param random Where chance comes from.
   * @param headerBytes Bytes of the virtio-net header.
   */
  constructor(sim: DriverSim, random: Random, headerBytes: number) {
    [this.#sim, this.#random, this.#headerBytes] = [sim, random, headerBytes];
  }

  /** Does one to three things, then shows what was used in both rings. */
  run(): void {
    for (let i = this.#random.between(1, 3); i > 0; i--) this.#act();
    for (const ring of [this.#sim.receive, this.#sim.transmit]) {
      if (this.#random.chance(0.95)) ring.publish();
    }
    if (this.#random.chance(0.05)) this.#scribble();
    if (this.#random.chance(0.04)) this.#moveIndexes();
  }

  #act(): void {
    const random = this.#random;
    const some = random.chance(0.05) ? random.between(2, MANY) : random.between(1, 4);
    if (random.chance(0.6)) { for (let i = 0; i < some; i++) this.#fill(); }
    else for (let i = 0; i < some; i++) this.#sent();
  }

  // A frame, as a rule a good one.
  #fill(): void {
    const { receive, bytes } = this.#sim;
    const random = this.#random;
    const buffer = receive.take();
    if (buffer === null) return;
    // What it wrote over the descriptor itself is none of the switch's business.
    const { slots, slotBytes } = this.#sim.known(0);
    const slot = slots + buffer.id % receive.size * slotBytes;
    const length = this.#length(slotBytes);
    const view = this.#sim.view;
    bytes.fill(0, slot, slot + this.#headerBytes);
    bytes.set(PLAIN, slot + this.#headerBytes);
    if (this.#headerBytes === 12) u16le.set(view, slot + 10, this.#bufferCount());
    for (let i = random.chance(0.1) ? random.between(1, 8) : 0; i > 0; i--) {
      bytes[slot + random.below(this.#headerBytes + 14)] = random.next();
    }
    receive.use(random.chance(0.02) ? this.#id() : buffer.id, length);
  }

  // What was sent is done.
  #sent(): void {
    const { transmit } = this.#sim;
    const buffer = transmit.take();
    if (buffer === null) {
      if (this.#random.chance(0.01)) transmit.use(this.#id(), 0);
      return;
    }
    transmit.use(this.#random.chance(0.02) ? this.#id() : buffer.id, this.#random.next());
  }

  #length(slotBytes: number): number {
    const random = this.#random;
    if (random.chance(0.8)) return this.#headerBytes + random.between(14, 1514);
    return random.pick([
      ...[0, 1, this.#headerBytes, this.#headerBytes + 13, 0xffff, 0x8000_0000, 0xffff_ffff],
      ...[slotBytes, slotBytes - 1, slotBytes + 1, 65561, 65562, 2 * slotBytes],
    ]);
  }

  #bufferCount(): number {
    const random = this.#random;
    if (random.chance(0.8)) return 1;
    return random.pick([0, 1, 2, 3, 4, 33, 255, 256, 257, 0xffff]);
  }

  #id(): number {
    return this.#random.pick([
      this.#random.below(256),
      ...[0, 255, 256, 257, 0xffff, 0x1_0000, 0xffff_ffff],
    ]);
  }

  // Over the rings, which lie in front of the slots, and into some buffers.
  #scribble(): void {
    const { shared } = this.#sim.ranges;
    const random = this.#random;
    const rings = this.#sim.known(0).slots - shared.start;
    for (let i = random.between(1, 64); i > 0; i--) {
      const bytes = random.chance(0.8) ? rings : shared.end - shared.start;
      const at = shared.start + random.below(bytes - 4);
      u32le.set(this.#sim.view, at, random.pick([0, 1, 0xffff_ffff, random.next()]));
    }
  }

  // A packed ring has none: there an entry is marked again.
  #moveIndexes(): void {
    const { receive, transmit, view } = this.#sim;
    const ring = this.#random.pick([receive, transmit]);
    if (ring instanceof PackedDeviceRing) {
      const at = ring.places.desc + 16 * this.#random.below(ring.size) + 14;
      return u16le.set(view, at, u16le.get(view, at) ^ 0x8000);
    }
    const step = this.#random.pick([-1, -2, 1, 2, 256, 257, -256, 0x8000]);
    const at = ring.places.used + 2;
    u16le.set(view, at, u16le.get(view, at) + step & 0xffff);
  }
}
