/**
 * What a switch must do with split rings, written from VIRTIO 1.2 and the project's answers to bad
 * input (R1: the chain comes back with length 0 and is counted; R2: the ring is quarantined).
 *
 * It is slow and plain on purpose and shares nothing with the data plane but the names of counters.
 * It works on copies of the guests' memories; after {@linkcode Model.turn} they hold what the real
 * ones must hold, byte for byte. Where the specification leaves a choice, it does what the switch
 * states:
 *
 * | choice | decision |
 * | --- | --- |
 * | chains of a ring in one turn | at most 64; a bad head among them stops the ring behind those before it |
 * | empty descriptor | breaks the rules |
 * | receive chain that is longer than needed, or a loop | looked at only as far as it is needed |
 * | bad receive chain within a merged frame | it and those before it come back empty, the frame starts anew |
 * | frame that finds no buffer | dropped, and with it the rest of the burst for that guest |
 *
 * @module
 */
import {
  C_BAD_RX_CHAIN,
  C_CALLS,
  C_DROP_BAD_CHAIN,
  C_DROP_BAD_OFFLOAD,
  C_DROP_DISABLED,
  C_DROP_NO_BUFFER,
  C_DROP_NOT_READY,
  C_DROP_RUNT,
  C_DROP_SAME_PORT,
  C_DROP_TOO_BIG,
  C_FLOODED,
  C_LEARNED,
  C_MOVED,
  C_RECEIVED_BYTES,
  C_RECEIVED_FRAMES,
  C_RING_FAULTS,
  C_TRANSMITTED_BYTES,
  C_TRANSMITTED_FRAMES,
} from "../../src/dataplane/state_layout.ts";
import type { PlacedRegion } from "../support/guest_memory.ts";

/** A ring as the model keeps it. */
export interface ModelRing {
  /** Offsets in the guest's memory. */
  readonly desc: number;
  /** Available ring. */
  readonly avail: number;
  /** Used ring. */
  readonly used: number;
  /** Entries. */
  readonly size: number;
  /** Whether it is started. */
  readonly isStarted: boolean;
  /** Whether it is enabled. */
  readonly isEnabled: boolean;
  /** Next available entry to take. */
  nextAvail: number;
  /** Next used entry to write. */
  nextUsed: number;
  /** Used index at the last decision to call, or null when there was none since the start. */
  signalled: number | null;
  /** Whether it is quarantined. */
  isBroken: boolean;
}

/** A guest as the model sees it. */
export interface ModelGuest {
  /** A copy of its memory. */
  readonly bytes: Uint8Array;
  /** The same. */
  readonly view: DataView;
  /** Its memory table. */
  readonly regions: readonly PlacedRegion[];
  /** Bytes of the virtio-net header. */
  readonly headerBytes: number;
  /** VIRTIO_NET_F_MRG_RXBUF. */
  readonly isMergeable: boolean;
  /** VIRTIO_F_EVENT_IDX. */
  readonly hasEventIndex: boolean;
  /** VIRTIO_F_INDIRECT_DESC. */
  readonly hasIndirect: boolean;
  /** Its receive queue. */
  readonly receive: ModelRing;
  /** Its transmit queue. */
  readonly transmit: ModelRing;
}

/** A piece of a guest's memory. */
interface Span {
  readonly at: number;
  readonly length: number;
}

/** A frame on its way. */
interface Frame {
  /** Bit of the burst; frames of one destination keep this order. */
  readonly bytes: Uint8Array;
}

/** A receive chain that goes back, and what is written there. */
interface UsedChain {
  readonly head: number;
  length: number;
}

/** Descriptor flags (VIRTIO 1.2, 2.7.5). */
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const BURST = 64;
const MIN_FRAME_BYTES = 14;
const MAX_FRAME_BYTES = 65549;
const NEEDS_CSUM = 1;

/** The model of a switch with one bridge. */
export class Model {
  /** The guests by port number. */
  readonly guests: readonly ModelGuest[];
  /** Counters by port and place in the state layout. */
  readonly counters: readonly Uint32Array[];
  /** Calls as pairs of port and ring index, in no particular order. */
  readonly calls: [port: number, index: number][] = [];
  /**
   * Whether the outcome depends on what no specification says: the order of writes to one byte, or
   * header flags that a later feature may give a meaning. Then only containment can be checked.
   */
  isUncertain = false;
  readonly #addresses = new Map<string, number>();
  readonly #written: Span[][];

  /** @param guests The guests; their memories and rings are changed. */
  constructor(guests: readonly ModelGuest[]) {
    this.guests = guests;
    this.counters = guests.map(() => new Uint32Array(32));
    this.#written = guests.map(() => []);
  }

  /** Does what one turn of the switch does. */
  turn(): void {
    this.guests.forEach((guest, port) => this.#poll(guest, port));
  }

  #count(port: number, counter: number, amount: number): void {
    this.counters[port]![counter / 8]! += amount;
  }

  #break(ring: ModelRing, port: number): void {
    ring.isBroken = true;
    this.#count(port, C_RING_FAULTS, 1);
  }

  #poll(guest: ModelGuest, port: number): void {
    const ring = guest.transmit;
    if (!ring.isStarted || ring.isBroken) return;
    const available = availableCount(guest, ring);
    if (available === 0) return;
    // 2.7.13.3: no more chains than descriptors.
    if (available > ring.size) return this.#break(ring, port);
    const offered = Array.from(
      { length: Math.min(available, BURST) },
      (_, i) => headAt(guest, ring, i),
    );
    // 2.7.6: a head is an index of the table.
    const bad = offered.findIndex((head) => head >= ring.size);
    if (bad >= 0) this.#break(ring, port);
    const heads = bad < 0 ? offered : offered.slice(0, bad);
    if (heads.length === 0) return;
    const frames = heads.map((head) => this.#take(guest, port, head));
    this.#forward(port, frames);
    ring.nextAvail = (ring.nextAvail + heads.length) & 0xffff;
    this.#publish(guest, port, 1, heads.map((head) => ({ head, length: 0 })));
  }

  // Reads one frame, or counts why there is none.
  #take(guest: ModelGuest, port: number, head: number): Frame | null {
    if (!guest.transmit.isEnabled) {
      this.#count(port, C_DROP_DISABLED, 1);
      return null;
    }
    const limit = guest.headerBytes + MAX_FRAME_BYTES;
    const spans = walk(guest, guest.transmit, head, 0, limit);
    const drop = (why: number): null => {
      this.#count(port, why, 1);
      return null;
    };
    if (spans === null) return drop(C_DROP_BAD_CHAIN);
    const bytes = gather(guest, spans);
    if (bytes.length < guest.headerBytes + MIN_FRAME_BYTES) return drop(C_DROP_RUNT);
    const [flags, gsoType] = [bytes[0]!, bytes[1]!];
    if (flags & ~NEEDS_CSUM) this.isUncertain = true;
    // 5.1.6.2.1: no offload without its feature, and none is offered.
    if ((flags & NEEDS_CSUM) || gsoType !== 0) return drop(C_DROP_BAD_OFFLOAD);
    this.#count(port, C_RECEIVED_FRAMES, 1);
    this.#count(port, C_RECEIVED_BYTES, bytes.length - guest.headerBytes);
    return { bytes: bytes.subarray(guest.headerBytes) };
  }

  #forward(port: number, frames: readonly (Frame | null)[]): void {
    const deliveries: Frame[][] = this.guests.map(() => []);
    for (const frame of frames) {
      if (frame === null) continue;
      const destination = hex(frame.bytes.subarray(0, 6));
      this.#learn(port, frame.bytes.subarray(6, 12));
      const isGroup = (frame.bytes[0]! & 1) !== 0;
      const known = isGroup ? undefined : this.#addresses.get(destination);
      if (known === port) this.#count(port, C_DROP_SAME_PORT, 1);
      else if (known !== undefined) deliveries[known]!.push(frame);
      else this.#flood(port, frame, deliveries);
    }
    deliveries.forEach((some, to) => {
      if (some.length > 0) this.#deliver(to, some);
    });
  }

  #learn(port: number, source: Uint8Array): void {
    // A group address is no station's own, and neither is zero.
    if ((source[0]! & 1) !== 0 || source.every((byte) => byte === 0)) return;
    const address = hex(source);
    const before = this.#addresses.get(address);
    if (before === port) return;
    this.#addresses.set(address, port);
    this.#count(port, C_LEARNED, 1);
    if (before !== undefined) this.#count(port, C_MOVED, 1);
  }

  #flood(port: number, frame: Frame, deliveries: Frame[][]): void {
    this.#count(port, C_FLOODED, 1);
    this.guests.forEach(({ receive }, to) => {
      // A port whose receive queue does not run is not on the bridge.
      if (to !== port && receive.isStarted && receive.isEnabled) deliveries[to]!.push(frame);
    });
  }

  #deliver(port: number, frames: readonly Frame[]): void {
    const guest = this.guests[port]!;
    const ring = guest.receive;
    if (!ring.isStarted || !ring.isEnabled || ring.isBroken) {
      this.#count(port, C_DROP_NOT_READY, frames.length);
      return;
    }
    if (availableCount(guest, ring) > ring.size) {
      this.#break(ring, port);
      this.#count(port, C_DROP_NOT_READY, frames.length);
      return;
    }
    const used: UsedChain[] = [];
    const writes: [Span[], Uint8Array][] = [];
    for (const [i, { bytes }] of frames.entries()) {
      const outcome = this.#place(guest, port, bytes, used);
      if (outcome === "too big") {
        this.#count(port, C_DROP_TOO_BIG, 1);
      } else if (outcome === "no buffer") {
        this.#count(port, C_DROP_NO_BUFFER, frames.length - i);
        break;
      } else {
        writes.push(outcome);
        this.#count(port, C_TRANSMITTED_FRAMES, 1);
        this.#count(port, C_TRANSMITTED_BYTES, bytes.length);
      }
    }
    for (const [spans, bytes] of writes) this.#write(port, spans, bytes);
    ring.nextAvail = (ring.nextAvail + used.length) & 0xffff;
    if (used.length > 0) this.#publish(guest, port, 0, used);
  }

  // Finds buffers for one frame; `used` grows by the chains that are used up, for good or bad.
  #place(
    guest: ModelGuest,
    port: number,
    frame: Uint8Array,
    used: UsedChain[],
  ): [Span[], Uint8Array] | "too big" | "no buffer" {
    const ring = guest.receive;
    const available = availableCount(guest, ring);
    const wanted = guest.headerBytes + frame.length;
    let spans: Span[] = [];
    let taken: UsedChain[] = [];
    let missing = wanted;
    while (missing > 0) {
      const ahead = used.length + taken.length;
      if (ahead >= available) return "no buffer";
      const head = headAt(guest, ring, ahead);
      if (head >= ring.size) {
        this.#break(ring, port);
        return "no buffer";
      }
      const chain = walk(guest, ring, head, WRITE, missing);
      const length = chain === null ? 0 : bytesOf(chain);
      // 5.1.6.3.1: a receive buffer holds at least the header.
      if (chain === null || (taken.length === 0 && length < guest.headerBytes)) {
        this.#count(port, C_BAD_RX_CHAIN, 1);
        for (const one of taken) one.length = 0;
        used.push(...taken, { head, length: 0 });
        [spans, taken, missing] = [[], [], wanted];
        continue;
      }
      if (length < missing && !guest.isMergeable) return "too big";
      spans.push(...chain);
      taken.push({ head, length });
      missing -= length;
    }
    used.push(...taken);
    return [spans, withHeader(guest.headerBytes, taken.length, frame)];
  }

  #write(port: number, spans: readonly Span[], bytes: Uint8Array): void {
    const guest = this.guests[port]!;
    let done = 0;
    for (const span of spans) {
      if (this.#isShared(port, span)) this.isUncertain = true;
      this.#written[port]!.push(span);
      guest.bytes.set(bytes.subarray(done, done + span.length), span.at);
      done += span.length;
    }
  }

  // Whether anything else uses these bytes: another buffer of the turn, or a ring.
  #isShared(port: number, { at, length }: Span): boolean {
    const { receive, transmit } = this.guests[port]!;
    const meets = (start: number, end: number): boolean => at < end && start < at + length;
    for (const { desc, avail, used, size } of [receive, transmit]) {
      if (meets(desc, desc + 16 * size) || meets(avail, avail + 6 + 2 * size)) return true;
      if (meets(used, used + 6 + 8 * size)) return true;
    }
    return this.#written[port]!.some((other) => meets(other.at, other.at + other.length));
  }

  #publish(guest: ModelGuest, port: number, index: number, used: readonly UsedChain[]): void {
    const ring = index === 0 ? guest.receive : guest.transmit;
    for (const { head, length } of used) {
      const at = ring.used + 4 + 8 * (ring.nextUsed & (ring.size - 1));
      guest.view.setUint32(at, head, true);
      guest.view.setUint32(at + 4, length, true);
      ring.nextUsed = (ring.nextUsed + 1) & 0xffff;
    }
    guest.view.setUint16(ring.used + 2, ring.nextUsed, true);
    if (!mustCall(guest, ring)) return;
    this.calls.push([port, index]);
    this.#count(port, C_CALLS, 1);
  }
}

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

function headAt(guest: ModelGuest, ring: ModelRing, ahead: number): number {
  const slot = ((ring.nextAvail + ahead) & 0xffff) % ring.size;
  return guest.view.getUint16(ring.avail + 4 + 2 * slot, true);
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

/**
 * Lists the memory of a chain.
 *
 * @param direction 0 for a chain that the device reads, WRITE for one that it writes.
 * @param limit Bytes: a chain to read may not be longer, a chain to write is not looked at further.
 * @returns The memory in order, or null when the chain breaks a rule.
 */
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

/** Where a range of guest addresses lies, or null when a byte of it lies nowhere. */
function translate(guest: ModelGuest, address: bigint, length: number): Span[] | null {
  const spans: Span[] = [];
  const end = address + BigInt(length);
  for (let from = address; from < end;) {
    const region = guest.regions.find(({ guestAddress, sizeBytes }) =>
      from >= guestAddress && from < guestAddress + BigInt(sizeBytes)
    );
    if (region === undefined) return null;
    const offset = from - region.guestAddress;
    const inside = BigInt(region.sizeBytes) - offset;
    const part = end - from < inside ? end - from : inside;
    spans.push({ at: region.localAddress + Number(offset), length: Number(part) });
    from += part;
  }
  return spans;
}

function gather(guest: ModelGuest, spans: readonly Span[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bytesOf(spans));
  let done = 0;
  for (const { at, length } of spans) {
    bytes.set(guest.bytes.subarray(at, at + length), done);
    done += length;
  }
  return bytes;
}

function bytesOf(spans: readonly Span[]): number {
  return spans.reduce((sum, { length }) => sum + length, 0);
}

// 5.1.6.4: zeros, and in the long header the number of buffers at its end.
function withHeader(headerBytes: number, buffers: number, frame: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerBytes + frame.length);
  if (headerBytes === 12) new DataView(bytes.buffer).setUint16(10, buffers, true);
  bytes.set(frame, headerBytes);
  return bytes;
}

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
