/**
 * A split ring as the model reads and writes it.
 *
 * Source: VIRTIO 1.2, 2.7.
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
  WRITE,
} from "./model_memory.ts";

/** The split ring. */
export const SPLIT: RingFormat = {
  // 2.7.13.3: no more chains than descriptors.
  isCorrupt: (guest, ring) => availableCount(guest, ring) > ring.size,

  take(guest, ring, ahead, direction, limit) {
    if (ahead >= availableCount(guest, ring)) return "none";
    const slot = ((ring.nextAvail + ahead) & 0xffff) % ring.size;
    const id = guest.view.getUint16(ring.avail + 4 + 2 * slot, true);
    // 2.7.6: a head is an index of the table.
    if (id >= ring.size) return "broken";
    return { id, slots: 1, spans: walk(guest, ring, id, direction, limit) };
  },

  advance(ring, slots) {
    ring.nextAvail = (ring.nextAvail + slots) & 0xffff;
  },

  publish(guest, ring, used) {
    for (const { id, length } of used) {
      const at = ring.used + 4 + 8 * (ring.nextUsed & (ring.size - 1));
      guest.view.setUint32(at, id, true);
      guest.view.setUint32(at + 4, length, true);
      ring.nextUsed = (ring.nextUsed + 1) & 0xffff;
    }
    guest.view.setUint16(ring.used + 2, ring.nextUsed, true);
    return mustCall(guest, ring);
  },

  areas: ({ desc, avail, used, size }) => [
    [desc, desc + 16 * size],
    [avail, avail + 6 + 2 * size],
    [used, used + 6 + 8 * size],
  ],
};

// 2.7.7.2: without the event index the flag decides, with it whether the index crossed it.
function mustCall(guest: ModelGuest, ring: ModelRing): boolean {
  if (!guest.hasEventIndex) return (guest.view.getUint16(ring.avail, true) & 1) === 0;
  const before = ring.signalled;
  ring.signalled = ring.nextUsed;
  if (before === null) return true;
  const event = guest.view.getUint16(ring.avail + 4 + 2 * ring.size, true);
  for (let index = before; index !== ring.nextUsed; index = (index + 1) & 0xffff) {
    if (index === event) return true;
  }
  return false;
}

function availableCount(guest: ModelGuest, ring: ModelRing): number {
  return (guest.view.getUint16(ring.avail + 2, true) - ring.nextAvail) & 0xffff;
}

/** A descriptor as it was read. */
interface Descriptor {
  readonly addr: bigint;
  readonly len: number;
  readonly flags: number;
  readonly next: number;
}

function readDescriptor(view: DataView, at: number): Descriptor {
  return {
    addr: view.getBigUint64(at, true),
    len: view.getUint32(at + 8, true),
    flags: view.getUint16(at + 12, true),
    next: view.getUint16(at + 14, true),
  };
}

// Lists the memory of a chain, or returns null when the chain breaks a rule.
function walk(
  guest: ModelGuest,
  ring: ModelRing,
  head: number,
  direction: number,
  limit: number,
): Span[] | null {
  let table = { view: guest.view, at: ring.desc, entries: ring.size, isIndirect: false };
  let visited = 0;
  let index = head;
  let total = 0;
  const spans: Span[] = [];
  while (true) {
    // 2.7.5: a chain has no loop, so it visits no more descriptors than there are.
    if (index >= table.entries || visited === table.entries) return null;
    visited++;
    const { addr, len, flags, next } = readDescriptor(table.view, table.at + 16 * index);
    if (flags & INDIRECT) {
      const entries = len / 16;
      // 2.7.5.3.1: one level, last in its chain, negotiated, whole, and no longer than the queue.
      if (table.isIndirect || (flags & NEXT) || !guest.hasIndirect) return null;
      if (!Number.isInteger(entries) || entries === 0 || entries > ring.size) return null;
      const memory = translate(guest, addr, len);
      if (memory === null) return null;
      const view = new DataView(gather(guest, memory).buffer);
      table = { view, at: 0, entries, isIndirect: true };
      visited = 0;
      index = 0;
      continue;
    }
    if ((flags & WRITE) !== direction || len === 0) return null;
    if (direction === 0 && total + len > limit) return null;
    const length = Math.min(len, limit - total);
    const memory = translate(guest, addr, length);
    if (memory === null) return null;
    spans.push(...memory);
    total += length;
    const isEnough = direction === WRITE && total === limit;
    if (!(flags & NEXT) || isEnough) return spans;
    index = next;
  }
}
