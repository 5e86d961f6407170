/**
 * A device of a few lines that works on the transmit ring of the probe and may break the rules of rings.
 * It is what {@linkcode BentBackend} puts into the place of the switch's data plane.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { createGuestMemory, mapShared, memoryAddress } from "../../ffi/memory.ts";
import { VIRTQ_DESC, VIRTQ_USED_ELEM } from "../../src/virtio/layouts.ts";
import { placeRing } from "../../src/virtio/layouts.ts";
import {
  EVENT_SUPPRESS,
  PACKED_DESC,
  placePackedRing,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
} from "../../src/virtio/packed_layouts.ts";
import { GUEST_ADDRESS, RING_BYTES, SECOND_REGION_AT } from "../../src/probe/memory.ts";
import { QUEUE_SIZE } from "../../src/probe/ring.ts";

/** How it breaks the rules. */
export interface DeviceRules {
  /** Whether rings are packed. */
  readonly isPacked?: boolean;
  /** What it says about kicks. */
  readonly flags?: number;
  /** The id that it gives back in the place of a chain's. */
  readonly id?: (head: number) => number;
  /** Bytes that it claims to have written into a sent frame. */
  readonly length?: number;
  /** How far its used index is ahead of what it has done. */
  readonly ahead?: number;
  /** A packet that it puts into a receive buffer now and then. */
  readonly packet?: Uint8Array;
}

/** How often it looks. */
const LOOK_MS = 1;
/** After how many looks it has something to send. */
const LOOKS_PER_PACKET = 10;
const WASM_PAGE_BYTES = 65536;
const RECEIVE = 0;
const TRANSMIT = 1;

/** The device. */
export class ScriptedDevice implements Disposable {
  readonly #view: DataView;
  readonly #rules: DeviceRules;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #next = [0, 0];
  #looks = 0;

  /**
   * @param file The first region of the probe's memory; stays the caller's.
   * @param rules How it breaks the rules.
   */
  constructor(file: Fd, rules: DeviceRules) {
    const pages = SECOND_REGION_AT / WASM_PAGE_BYTES;
    const memory = createGuestMemory(pages, pages);
    // SAFETY: the range is exactly the memory that was made in the line above.
    mapShared(memoryAddress(memory), BigInt(SECOND_REGION_AT), file, 0n);
    this.#view = new DataView(memory.buffer);
    this.#rules = rules;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Leaves the rings alone. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#rules.isPacked) return this.#usePacked();
    this.#useSplit(TRANSMIT, QUEUE_SIZE);
    const isTime = ++this.#looks % LOOKS_PER_PACKET === 0;
    if (this.#rules.packet !== undefined && isTime) this.#useSplit(RECEIVE, 1);
  }

  #useSplit(ring: number, most: number): void {
    const { id = (head: number) => head, length = 0, ahead = 0, flags = 0, packet } = this.#rules;
    const { desc, avail, used } = placeRing(ring * RING_BYTES, QUEUE_SIZE);
    const available = Math.min(this.#next[ring]! + most, this.#view.getUint16(avail + 2, true));
    for (; this.#next[ring] !== available; this.#next[ring]!++) {
      const slot = this.#next[ring]! % QUEUE_SIZE;
      const head = this.#view.getUint16(avail + 4 + 2 * slot, true);
      if (ring === RECEIVE) this.#fill(desc + head * VIRTQ_DESC.size, packet!);
      const len = ring === RECEIVE ? packet!.length : length;
      const at = used + 4 + slot * VIRTQ_USED_ELEM.size;
      VIRTQ_USED_ELEM.write(this.#view, at, { id: id(head), len });
    }
    this.#view.setUint16(used, flags, true);
    if (available > 0) this.#view.setUint16(used + 2, available + ahead, true);
  }

  #usePacked(): void {
    const { desc, used } = placePackedRing(TRANSMIT * RING_BYTES, QUEUE_SIZE);
    this.#view.setUint16(used + EVENT_SUPPRESS.offset.flags, this.#rules.flags ?? 0, true);
    // The first round is enough for these tests.
    for (; this.#next[TRANSMIT]! < QUEUE_SIZE; this.#next[TRANSMIT]!++) {
      const at = desc + this.#next[TRANSMIT]! * PACKED_DESC.size + PACKED_DESC.offset.flags;
      const flags = this.#view.getUint16(at, true);
      if ((flags & VIRTQ_DESC_F_AVAIL) === 0) return;
      this.#view.setUint16(at, flags | VIRTQ_DESC_F_USED, true);
    }
  }

  #fill(descriptor: number, packet: Uint8Array): void {
    const { addr } = VIRTQ_DESC.read(this.#view, descriptor);
    const bytes = new Uint8Array(this.#view.buffer);
    bytes.set(packet, Number(addr) - GUEST_ADDRESS);
  }
}
