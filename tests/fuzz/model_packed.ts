/**
 * A packed ring as the model reads and writes it. Where the specification leaves a choice, it does
 * what the switch states:
 *
 * | choice | decision |
 * | --- | --- |
 * | chain that breaks a rule | walked to its end, because its last descriptor names it |
 * | what a receive chain has beyond the frame | its buffers are not looked at, its flags are |
 * | table | a whole chain; as long as any ring; WRITE means nothing when it is transmitted |
 * | first decision to call | yes, unless the driver refuses calls altogether |
 *
 * Source: VIRTIO 1.2, 2.8.
 *
 * @module
 */
import {
  gather,
  INDIRECT,
  type ModelGuest,
  type ModelRing,
  NEXT,
  type RingFormat,
  type Span,
  translate,
  type UsedChain,
  WRITE,
} from "./model_memory.ts";

const AVAIL = 0x80;
const USED = 0x8000;
const MAX_TABLE_ENTRIES = 32768;
/** The driver's wishes (2.8.14). */
const DISABLE = 1;
const DESC = 2;

/** A slot and its wrap counter, as vhost-user and event structures write them, as a position. */
export function positionOf(offWrap: number, size: number): number {
  return (offWrap & 0x7fff) + ((offWrap & 0x8000) !== 0 ? 0 : size);
}

/** The packed ring. */
export const PACKED: RingFormat = {
  isCorrupt: () => false,

  take(guest, ring, ahead, direction, limit) {
    const walk = new Walk(guest, direction, limit);
    for (let slots = 1; slots <= ring.size; slots++) {
      const position = forward(ring, ring.nextAvail, ahead + slots - 1);
      const { addr, len, id, flags } = read(guest.view, ring.desc + 16 * (position % ring.size));
      // 2.8.1: AVAIL as the wrap counter, USED as its opposite.
      const isAvailable = (flags & (AVAIL | USED)) === (position < ring.size ? AVAIL : USED);
      if (!isAvailable) return slots === 1 ? "none" : "broken";
      if ((flags & INDIRECT) !== 0) walk.table(addr, len, slots === 1 && (flags & NEXT) === 0);
      else walk.buffer(addr, len, flags);
      if ((flags & NEXT) !== 0) continue;
      return id < ring.size ? { id, slots, spans: walk.spans } : "broken";
    }
    // 2.8.6: no chain is longer than the ring.
    return "broken";
  },

  advance(ring, slots) {
    ring.nextAvail = forward(ring, ring.nextAvail, slots);
  },

  publish(guest, ring, used) {
    const before = ring.signalled;
    for (const chain of used) writeUsed(guest, ring, chain);
    ring.signalled = ring.nextUsed;
    return mustCall(guest, ring, before);
  },

  areas: ({ desc, avail, used, size }) => [
    [desc, desc + 16 * size],
    [avail, avail + 4],
    [used, used + 4],
  ],
};

/** The memory of a chain, descriptor by descriptor. */
class Walk {
  /** What the chain names so far, or null once it broke a rule. */
  spans: Span[] | null = [];
  readonly #guest: ModelGuest;
  readonly #direction: number;
  readonly #limit: number;
  #total = 0;

  constructor(guest: ModelGuest, direction: number, limit: number) {
    this.#guest = guest;
    this.#direction = direction;
    this.#limit = limit;
  }

  buffer(addr: bigint, len: number, flags: number): void {
    if ((flags & WRITE) !== this.#direction) this.spans = null;
    else if (!this.#isEnough) this.#append(addr, len);
  }

  // 2.8.7: a table stands alone in its chain and lists nothing but buffers.
  table(addr: bigint, len: number, isAlone: boolean): void {
    const entries = len / 16;
    const isSized = Number.isInteger(entries) && entries > 0 && entries <= MAX_TABLE_ENTRIES;
    const memory = isAlone && this.#guest.hasIndirect && isSized
      ? translate(this.#guest, addr, len)
      : null;
    if (memory === null) {
      this.spans = null;
      return;
    }
    const view = new DataView(gather(this.#guest, memory).buffer);
    for (let i = 0; i < entries && !this.#isEnough && this.spans !== null; i++) {
      const entry = read(view, 16 * i);
      const isRefused = (entry.flags & INDIRECT) !== 0 ||
        (this.#direction === WRITE && (entry.flags & WRITE) === 0);
      if (isRefused) this.spans = null;
      else this.#append(entry.addr, entry.len);
    }
  }

  get #isEnough(): boolean {
    return this.#direction === WRITE && this.#total >= this.#limit;
  }

  #append(addr: bigint, len: number): void {
    const room = this.#limit - this.#total;
    const isRefused = len === 0 || (this.#direction !== WRITE && len > room);
    const length = Math.min(len, room);
    const memory = isRefused ? null : translate(this.#guest, addr, length);
    if (memory === null || this.spans === null) {
      this.spans = null;
      return;
    }
    this.spans.push(...memory);
    this.#total += length;
  }
}

function read(view: DataView, at: number) {
  return {
    addr: view.getBigUint64(at, true),
    len: view.getUint32(at + 8, true),
    id: view.getUint16(at + 12, true),
    flags: view.getUint16(at + 14, true),
  };
}

function forward({ size }: ModelRing, position: number, slots: number): number {
  return (position + slots) % (2 * size);
}

// 2.8.8: the address stays; both marks are the wrap counter; WRITE says that the length counts.
function writeUsed(guest: ModelGuest, ring: ModelRing, { id, slots, length }: UsedChain): void {
  const at = ring.desc + 16 * (ring.nextUsed % ring.size);
  const marks = ring.nextUsed < ring.size ? AVAIL | USED : 0;
  guest.view.setUint32(at + 8, length, true);
  guest.view.setUint16(at + 12, id, true);
  guest.view.setUint16(at + 14, marks | (length > 0 ? WRITE : 0), true);
  for (let i = 1; i < slots; i++) passDescriptor(guest, ring, forward(ring, ring.nextUsed, i));
  ring.nextUsed = forward(ring, ring.nextUsed, slots);
}

// What the switch does beyond the specification: USED of every descriptor passed is the wrap counter.
function passDescriptor(guest: ModelGuest, ring: ModelRing, position: number): void {
  const at = ring.desc + 16 * (position % ring.size) + 14;
  const flags = guest.view.getUint16(at, true) & ~USED;
  guest.view.setUint16(at, flags | (position < ring.size ? USED : 0), true);
}

// 2.8.14: off, on, or when a descriptor is reached.
function mustCall(guest: ModelGuest, ring: ModelRing, before: number | null): boolean | null {
  const flags = guest.view.getUint16(ring.avail + 2, true);
  if (flags === DISABLE) return false;
  if (!guest.hasEventIndex || flags !== DESC || before === null) return true;
  const offWrap = guest.view.getUint16(ring.avail, true);
  // No such slot: nothing says what that means.
  if ((offWrap & 0x7fff) >= ring.size) return null;
  const event = positionOf(offWrap, ring.size);
  for (let at = before; at !== ring.nextUsed; at = forward(ring, at, 1)) {
    if (at === event) return true;
  }
  return false;
}
