/**
 * What a switch must do with the rings and offloads of its guests, written from VIRTIO 1.2 and the
 * project's answers to bad input (R1: the chain comes back with length 0 and is counted; R2: the ring
 * is quarantined). Rings are in model_split.ts and model_packed.ts, offloads in model_offload.ts.
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
 * | pieces of a super-packet before one that finds no buffer | stay delivered |
 *
 * @module
 */
import {
  C_BAD_RX_CHAIN,
  C_CALLS,
  C_CHECKSUMMED,
  C_DROP_BAD_CHAIN,
  C_DROP_BAD_OFFLOAD,
  C_DROP_BAD_SEGMENTATION,
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
  C_SEGMENTED,
  C_TRANSMITTED_BYTES,
  C_TRANSMITTED_FRAMES,
} from "../../src/dataplane/state_layout.ts";
import { GSO_UDP_L4 } from "../support/packets.ts";
import {
  bytesOf,
  gather,
  type ModelGuest,
  type ModelRing,
  type RingFormat,
  type Span,
  type UsedChain,
  WRITE,
} from "./model_memory.ts";
import { claimOf, type Form, type Forms, formsFor, type Offload } from "./model_offload.ts";
import { PACKED } from "./model_packed.ts";
import { SPLIT } from "./model_split.ts";

/** A frame on its way. */
interface Frame {
  readonly bytes: Uint8Array;
  /** What its sender left to others. */
  readonly offload: Offload | null;
}

/** How placing a frame ended when it was not placed. */
type Refusal = "too big" | "no buffer";

const BURST = 64;
const MIN_FRAME_BYTES = 14;
const MAX_FRAME_BYTES = 65549;
/** Where the IP header has begun for sure: behind the addresses, two tags and a type. */
const NETWORK_KNOWN_BYTES = 23;

/** The model of a switch with one bridge. */
export class Model {
  /** The guests by port number. */
  readonly guests: readonly ModelGuest[];
  /** Counters by port and place in the state layout. */
  readonly counters: readonly Uint32Array[];
  /** Calls as pairs of port and ring index, in no particular order. */
  readonly calls: [port: number, index: number][] = [];
  /**
   * Whether the outcome depends on what no specification says: the order of writes to one byte, a
   * packet too short for its family to be known, an event at a descriptor that the ring does not have.
   * Then only containment can be checked.
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
    const format = formatOf(guest);
    if (!ring.isStarted || ring.isBroken) return;
    if (format.isCorrupt(guest, ring)) return this.#break(ring, port);
    const frames: (Frame | null)[] = [];
    const used: UsedChain[] = [];
    let slots = 0;
    while (frames.length < BURST) {
      const limit = guest.headerBytes + MAX_FRAME_BYTES;
      const chain = format.take(guest, ring, slots, 0, limit);
      if (chain === "broken") this.#break(ring, port);
      if (chain === "broken" || chain === "none") break;
      frames.push(this.#take(guest, port, chain.spans));
      used.push({ id: chain.id, slots: chain.slots, length: 0 });
      slots += chain.slots;
    }
    if (frames.length === 0) return;
    this.#forward(port, frames);
    format.advance(ring, slots);
    this.#publish(guest, port, 1, used);
  }

  // Reads one frame, or counts why there is none.
  #take(guest: ModelGuest, port: number, spans: readonly Span[] | null): Frame | null {
    const drop = (why: number): null => {
      this.#count(port, why, 1);
      return null;
    };
    if (!guest.transmit.isEnabled) return drop(C_DROP_DISABLED);
    if (spans === null) return drop(C_DROP_BAD_CHAIN);
    const all = gather(guest, spans);
    if (all.length < guest.headerBytes + MIN_FRAME_BYTES) return drop(C_DROP_RUNT);
    const bytes = all.subarray(guest.headerBytes);
    const offload = claimOf(guest.features, all.subarray(0, guest.headerBytes), bytes.length);
    if (offload === "bad") return drop(C_DROP_BAD_OFFLOAD);
    if (offload?.gsoType === GSO_UDP_L4 && bytes.length < NETWORK_KNOWN_BYTES) {
      this.isUncertain = true;
    }
    this.#count(port, C_RECEIVED_FRAMES, 1);
    this.#count(port, C_RECEIVED_BYTES, bytes.length);
    return { bytes, offload };
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
    const format = formatOf(guest);
    if (format.isCorrupt(guest, ring)) {
      this.#break(ring, port);
      this.#count(port, C_DROP_NOT_READY, frames.length);
      return;
    }
    const used: UsedChain[] = [];
    const writes: [Span[], Uint8Array][] = [];
    for (const [i, frame] of frames.entries()) {
      const all = formsOf(guest, frame);
      if (all === null) {
        this.#count(port, C_DROP_BAD_SEGMENTATION, 1);
        continue;
      }
      const refusal = this.#placeAll(guest, port, all, used, writes);
      if (refusal === "too big") this.#count(port, C_DROP_TOO_BIG, 1);
      if (refusal === "no buffer") {
        this.#count(port, C_DROP_NO_BUFFER, frames.length - i);
        break;
      }
      if (refusal !== null) continue;
      this.#count(port, C_TRANSMITTED_FRAMES, 1);
      this.#count(port, C_TRANSMITTED_BYTES, frame.bytes.length);
    }
    for (const [spans, bytes] of writes) this.#write(port, spans, bytes);
    format.advance(ring, slotsOf(used));
    if (used.length > 0) this.#publish(guest, port, 0, used);
  }

  #placeAll(
    guest: ModelGuest,
    port: number,
    { forms, what }: Forms,
    used: UsedChain[],
    writes: [Span[], Uint8Array][],
  ): Refusal | null {
    for (const form of forms) {
      const outcome = this.#place(guest, port, form, used);
      if (typeof outcome === "string") return outcome;
      writes.push(outcome);
    }
    if (what === "cut") this.#count(port, C_SEGMENTED, 1);
    if (what === "finished") this.#count(port, C_CHECKSUMMED, 1);
    return null;
  }

  // Finds buffers for one frame; `used` grows by the chains that are used up, for good or bad.
  #place(
    guest: ModelGuest,
    port: number,
    form: Form,
    used: UsedChain[],
  ): [Span[], Uint8Array] | Refusal {
    const ring = guest.receive;
    const wanted = guest.headerBytes + form.frame.length;
    let spans: Span[] = [];
    let taken: UsedChain[] = [];
    let missing = wanted;
    while (missing > 0) {
      const ahead = slotsOf(used) + slotsOf(taken);
      const chain = formatOf(guest).take(guest, ring, ahead, WRITE, missing);
      if (chain === "broken") this.#break(ring, port);
      if (chain === "broken" || chain === "none") return "no buffer";
      const { id, slots } = chain;
      const length = chain.spans === null ? 0 : bytesOf(chain.spans);
      // 5.1.6.3.1: a receive buffer holds at least the header.
      if (chain.spans === null || (taken.length === 0 && length < guest.headerBytes)) {
        this.#count(port, C_BAD_RX_CHAIN, 1);
        for (const one of taken) one.length = 0;
        used.push(...taken, { id, slots, length: 0 });
        [spans, taken, missing] = [[], [], wanted];
        continue;
      }
      if (length < missing && !guest.isMergeable) return "too big";
      spans.push(...chain.spans);
      taken.push({ id, slots, length });
      missing -= length;
    }
    used.push(...taken);
    return [spans, withHeader(guest.headerBytes, taken.length, form)];
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
    const guest = this.guests[port]!;
    const meets = (start: number, end: number): boolean => at < end && start < at + length;
    const rings = [guest.receive, guest.transmit].flatMap((ring) => formatOf(guest).areas(ring));
    if (rings.some(([start, end]) => meets(start, end))) return true;
    return this.#written[port]!.some((other) => meets(other.at, other.at + other.length));
  }

  #publish(guest: ModelGuest, port: number, index: number, used: readonly UsedChain[]): void {
    const ring = index === 0 ? guest.receive : guest.transmit;
    const mustCall = formatOf(guest).publish(guest, ring, used);
    if (mustCall === null) this.isUncertain = true;
    if (!mustCall) return;
    this.calls.push([port, index]);
    this.#count(port, C_CALLS, 1);
  }
}

function formatOf({ isPacked }: ModelGuest): RingFormat {
  return isPacked ? PACKED : SPLIT;
}

function formsOf({ features }: ModelGuest, { bytes, offload }: Frame): Forms | null {
  if (offload !== null) return formsFor(features, bytes, offload);
  return { forms: [{ header: new Uint8Array(10), frame: bytes }], what: "as sent" };
}

function slotsOf(chains: readonly UsedChain[]): number {
  return chains.reduce((sum, { slots }) => sum + slots, 0);
}

// 5.1.6.4: the offload's header, and in the long one the number of buffers at its end.
function withHeader(headerBytes: number, buffers: number, { header, frame }: Form): Uint8Array {
  const bytes = new Uint8Array(headerBytes + frame.length);
  bytes.set(header, 0);
  if (headerBytes === 12) new DataView(bytes.buffer).setUint16(10, buffers, true);
  bytes.set(frame, headerBytes);
  return bytes;
}

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
