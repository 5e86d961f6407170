/**
 * Numbered frames in and out of a driver's rings, for a guest that outlasts the switch: every buffer
 * and every frame is accounted for.
 *
 * Chains have all shapes: one descriptor, several, a table.
 *
 * @module
 */
import { ETHERNET, ETHERTYPE_EXPERIMENT } from "../../src/ethernet/frame.ts";
import { struct, u32le } from "../../src/layout/struct.ts";
import type { DriverRing } from "../../src/virtio/driver_ring.ts";
import type { Buffer } from "../../src/virtio/driver_virtqueue.ts";
import { HEADER_BYTES } from "../../src/virtio/features.ts";

/** What a frame carries behind its Ethernet header; the rest is filled with the number's low byte. */
const NUMBERED = struct("struct numbered", 8, { number: u32le, frameBytes: u32le });
const HEAD_BYTES = ETHERNET.size + NUMBERED.size;
const MIN_BYTES = 60;
/** Frames are so much longer at most. */
const MORE_BYTES = 1400;
/** Bytes of a buffer: header and frame. */
export const BUFFER_BYTES = 2048;
/** Bytes of a table of three descriptors, and more to keep them aligned. */
export const TABLE_BYTES = 64;

/** The memory of a queue. */
export interface QueueMemory {
  /** All of the guest's memory. */
  readonly data: Uint8Array;
  /** Guest-physical address of its first byte. */
  readonly address: number;
  /** Offset of the queue's buffers, BUFFER_BYTES each, as many as its ring has entries. */
  readonly buffers: number;
  /** Offset of tables for them, TABLE_BYTES each. */
  readonly tables: number;
}

/** Fills a transmit queue with frames. */
export class NumberedSender {
  /** Frames put into the ring; the next one has this number. */
  sent = 0;
  /** Frames given back. Everything is given back in order, so this is the first one that was not. */
  completed = 0;
  readonly #ring: DriverRing;
  readonly #memory: QueueMemory;
  readonly #view: DataView;
  readonly #source: Uint8Array;
  readonly #destination: Uint8Array;

  /**
   * @param ring The queue's ring.
   * @param memory Its memory.
   * @param source The address that it sends from.
   * @param destination The address that it sends to.
   */
  constructor(ring: DriverRing, memory: QueueMemory, source: Uint8Array, destination: Uint8Array) {
    this.#ring = ring;
    this.#memory = memory;
    this.#view = new DataView(memory.data.buffer);
    this.#source = source;
    this.#destination = destination;
  }

  /**
   * Takes what was given back.
   *
   * @throws {Error} When a frame is given back out of its order.
   */
  reclaim(): void {
    for (let used = this.#ring.take(); used !== null; used = this.#ring.take()) {
      const due = this.completed % this.#ring.size;
      if (used.token !== due) throw new Error(`transmit chain ${used.token} came before ${due}`);
      this.completed++;
    }
  }

  /** Puts frames into the ring until it is full; returns whether the switch wants to be kicked. */
  fill(): boolean {
    while (this.sent - this.completed < this.#ring.size && this.#add(this.sent)) this.sent++;
    return this.#ring.publish();
  }

  #add(number: number): boolean {
    const { data, address, buffers, tables } = this.#memory;
    const slot = number % this.#ring.size;
    const at = buffers + slot * BUFFER_BYTES;
    const frameBytes = MIN_BYTES + number * 37 % MORE_BYTES;
    const frame = at + HEADER_BYTES;
    data.fill(0, at, frame);
    const addresses = { destination: this.#destination, source: this.#source };
    ETHERNET.write(this.#view, frame, { ...addresses, type: ETHERTYPE_EXPERIMENT });
    NUMBERED.write(this.#view, frame + ETHERNET.size, { number, frameBytes });
    data.fill(number & 0xff, frame + HEAD_BYTES, frame + frameBytes);
    const chain = cut(address + at, cutsOf(number, HEADER_BYTES + frameBytes), false);
    if (!isTable(number)) return this.#ring.add(chain, slot);
    return this.#ring.addIndirect(chain, slot, tables + slot * TABLE_BYTES);
  }
}

/** Empties a receive queue and checks what comes. */
export class NumberedReceiver {
  /** Frames that came. */
  received = 0;
  /** Buffers given back. */
  returned = 0;
  /** Frames that came with padding, and buffers that came empty, both after a death in mid-burst. */
  damaged = 0;
  readonly #ring: DriverRing;
  readonly #memory: QueueMemory;
  readonly #view: DataView;
  /** The least number that may come next, as soon as it is known. */
  #due: () => number | undefined = () => 0;

  /**
   * @param ring The queue's ring.
   * @param memory Its memory.
   */
  constructor(ring: DriverRing, memory: QueueMemory) {
    this.#ring = ring;
    this.#memory = memory;
    this.#view = new DataView(memory.data.buffer);
    for (let slot = 0; slot < ring.size && this.#post(slot); slot++);
    ring.publish();
  }

  /**
   * From now on frames may come again that came before, but none before a certain number.
   *
   * @param due Tells it; undefined as long as no frame can come.
   */
  restart(due: () => number | undefined): void {
    this.#due = due;
  }

  /**
   * Takes what was received.
   *
   * @returns Whether the switch wants to be kicked.
   * @throws {Error} When it is not what it must be.
   */
  drain(): boolean {
    for (let used = this.#ring.take(); used !== null; used = this.#ring.take()) {
      const at = this.#memory.buffers + used.token * BUFFER_BYTES;
      this.#check(at + HEADER_BYTES, used.length - HEADER_BYTES);
      this.returned++;
      this.#post(used.token);
    }
    return this.#ring.publish();
  }

  #check(at: number, frameBytes: number): void {
    if (frameBytes < 0) {
      this.damaged++;
      return;
    }
    const { data } = this.#memory;
    const told = NUMBERED.read(this.#view, at + ETHERNET.size);
    const last = at + told.frameBytes - 1;
    const isWhole = data[at + HEAD_BYTES] === (told.number & 0xff) &&
      data[last] === data[at + HEAD_BYTES];
    if (frameBytes < told.frameBytes || !isWhole) {
      throw new Error(`frame ${told.number} came with ${frameBytes} of ${told.frameBytes} bytes`);
    }
    const due = this.#due();
    if (due === undefined || told.number < due) {
      throw new Error(`frame ${told.number} came when ${due} was due`);
    }
    this.#due = () => told.number + 1;
    this.received++;
    if (frameBytes > told.frameBytes) this.damaged++;
  }

  #post(slot: number): boolean {
    const at = this.#memory.address + this.#memory.buffers + slot * BUFFER_BYTES;
    // Some buffers consist of two.
    const cuts = slot % 8 === 7 ? [HEADER_BYTES, BUFFER_BYTES - HEADER_BYTES] : [BUFFER_BYTES];
    return this.#ring.add(cut(at, cuts, true), slot);
  }
}

// Most frames are one piece.
function cutsOf(number: number, bytes: number): number[] {
  switch (number % 16) {
    case 11:
    case 14:
      return [HEADER_BYTES, bytes - HEADER_BYTES];
    case 13:
    case 15:
      return [HEADER_BYTES, ETHERNET.size, bytes - HEADER_BYTES - ETHERNET.size];
    default:
      return [bytes];
  }
}

function isTable(number: number): boolean {
  return number % 16 >= 14;
}

function cut(address: number, pieces: readonly number[], isWritable: boolean): Buffer[] {
  let end = address;
  return pieces.map((length) => {
    const buffer = { address: end, length, isWritable };
    end += length;
    return buffer;
  });
}
