/**
 * Guests that send and receive numbered frames as fast as a thread can write them: their rings are
 * described once, and then only indexes move.
 *
 * A frame holds its source, its number and words that follow from both, so that a receiver sees one
 * that was lost, doubled, overtaken or mixed with another.
 *
 * @module
 */
import { ringAt, ringNumber, type State } from "../../src/dataplane/state.ts";
import { RING_CALL_FD } from "../../src/dataplane/state_layout.ts";
import { VIRTQ_DESC_F_WRITE } from "../../src/virtio/layouts.ts";
import { makeFrame, stationAddress } from "./frames.ts";
import { GuestSim } from "./guest_sim.ts";

/** Where a frame holds source and number: words of the buffer, behind both headers. */
const FIRST_WORD = 7;
const BYTES_PER_WORD = 4;
const NO_CALL = -1;
const SINK_BUFFER_BYTES = 2048;
/** Room for a frame of the other queue. */
const ROOM_BYTES = 256;
/** What {@linkcode GuestSim.allocate} rounds up to. */
const ALLOCATION_BYTES = 16;

/** A guest with one queue pair of which one queue is used, every entry with a buffer of its own. */
class FlowGuest {
  /** The guest. */
  readonly guest: GuestSim;
  /** Entries of the ring. */
  readonly size: number;
  /** The buffers as words, by slot. */
  protected readonly words: readonly Uint32Array[];
  readonly #index: number;
  readonly #memory16: Uint16Array;
  readonly #memory32: Uint32Array;
  /** Where the available index, the used index and the first used element are, as array indexes. */
  readonly #availAt: number;
  readonly #usedAt: number;
  readonly #elementsAt: number;
  #available = 0;

  constructor(state: State, port: number, index: number, size: number, bufferBytes: number) {
    const slotBytes = Math.ceil(bufferBytes / ALLOCATION_BYTES) * ALLOCATION_BYTES;
    const sendBytes = size * slotBytes + ROOM_BYTES;
    this.guest = new GuestSim(state, port, { queueSize: size, buffers: 0, sendBytes });
    this.size = size;
    this.#index = index;
    // In the simulation a call's descriptor is the ring's number; real Workers would write to it.
    for (const each of [0, 1]) state.set32(ringAt(ringNumber(port, each)) + RING_CALL_FD, NO_CALL);
    const { buffer } = this.guest.memory.memory;
    this.#memory16 = new Uint16Array(buffer);
    this.#memory32 = new Uint32Array(buffer);
    const ring = this.guest.raw(index);
    this.#availAt = (ring.places.avail + 2) >> 1;
    this.#usedAt = (ring.places.used + 2) >> 1;
    this.#elementsAt = (ring.places.used + 4) / BYTES_PER_WORD;
    this.words = Array.from({ length: size }, (_, slot) => {
      const addr = this.guest.allocate(bufferBytes);
      const flags = index === 0 ? VIRTQ_DESC_F_WRITE : 0;
      ring.describe([{ addr, len: bufferBytes, flags }], slot);
      ring.offer(slot);
      return new Uint32Array(buffer, this.guest.memory.localOf(addr), bufferBytes / BYTES_PER_WORD);
    });
    // Every slot stands in the available ring for ever; the index says which of them count.
    ring.availIndex = 0;
  }

  /** Starts the ring anew where it stands. */
  restart(): void {
    const { places, size } = this.guest.raw(this.#index);
    const start = { size, places, index: this.usedIndex, callFd: NO_CALL };
    this.guest.records.startRing(this.#index, start);
  }

  /** Chains made available so far. */
  get available(): number {
    return this.#available;
  }

  /** The used index as the switch wrote it. */
  get usedIndex(): number {
    return Atomics.load(this.#memory16, this.#usedAt);
  }

  /** Makes further chains available, in the order of their slots. */
  offer(count: number): void {
    this.#available += count;
    Atomics.store(this.#memory16, this.#availAt, this.#available & 0xffff);
  }

  /** Which chain the used element at a position names. */
  protected usedId(position: number): number {
    return this.#memory32[this.#elementsAt + 2 * (position & (this.size - 1))]!;
  }

  /** How many bytes were written into it. */
  protected usedBytes(position: number): number {
    return this.#memory32[this.#elementsAt + 2 * (position & (this.size - 1)) + 1]!;
  }
}

/** A guest that sends numbered frames to one station. */
export class FlowSource extends FlowGuest {
  readonly #number: number;
  #completed = 0;

  /**
   * @param state The state memory.
   * @param port The port's number, which also tells its frames from others.
   * @param destination The station to send to.
   * @param frameBytes Bytes of each frame; a multiple of 4.
   */
  constructor(state: State, port: number, destination: number, frameBytes: number) {
    super(state, port, 1, 256, 12 + frameBytes);
    this.#number = port;
    const frame = makeFrame(stationAddress(destination), stationAddress(port), frameBytes);
    for (const words of this.words) {
      const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
      bytes.fill(0, 0, 12);
      bytes.set(frame, 12);
    }
  }

  /** Chains that the switch has not given back. */
  get outstanding(): number {
    this.#completed += (this.usedIndex - this.#completed) & 0xffff;
    return this.available - this.#completed;
  }

  /** Sends so many frames, or as many as there is room for; returns how many. */
  send(limit: number): number {
    const count = Math.min(limit, this.size - this.outstanding);
    for (let i = 0; i < count; i++) {
      const number = this.available + i;
      const words = this.words[number & (this.size - 1)]!;
      words[FIRST_WORD] = this.#number;
      for (let at = FIRST_WORD + 1; at < words.length; at++) {
        words[at] = wordOf(this.#number, number, at);
      }
    }
    if (count > 0) this.offer(count);
    return count;
  }
}

/** A guest that checks the numbered frames it receives. */
export class FlowSink extends FlowGuest {
  /** Frames received. */
  received = 0;
  /** The number of the next frame of each source, if none is lost. */
  readonly next: number[] = [];
  /** Frames that were lost before one that arrived, of all sources. */
  gaps = 0;

  /**
   * @param state The state memory.
   * @param port The port's number.
   * @param size Entries of its ring.
   */
  constructor(state: State, port: number, size: number) {
    super(state, port, 0, size, SINK_BUFFER_BYTES);
    this.offer(size);
  }

  /** Takes and checks what came, and offers the buffers again. Throws at the first wrong frame. */
  receive(): void {
    const first = this.received;
    const count = this.skip();
    for (let i = 0; i < count; i++) this.#check(first + i);
    if (count > 0) this.offer(count);
  }

  /** Takes what came without a look at it and without offering it again; returns how many came. */
  skip(): number {
    const count = (this.usedIndex - this.received) & 0xffff;
    this.received += count;
    return count;
  }

  #check(position: number): void {
    const [id, bytes] = [this.usedId(position), this.usedBytes(position)];
    const slot = position & (this.size - 1);
    const words = this.words[slot]!;
    const source = words[FIRST_WORD]!;
    // The number is what the first word behind the source says.
    const number = (words[FIRST_WORD + 1]! ^ wordOf(source, 0, FIRST_WORD + 1)) >>> 0;
    const expected = this.next[source] ??= 0;
    const end = Math.ceil(bytes / BYTES_PER_WORD);
    if (id !== slot || number < expected) {
      throw new Error(`Source ${source}: frame ${number} in ${id}, want ${expected} in ${slot}`);
    }
    for (let at = FIRST_WORD + 1; at < end; at++) {
      if (words[at] === wordOf(source, number, at)) continue;
      throw new Error(`Source ${source}: word ${at} of ${end} of frame ${number} is wrong`);
    }
    this.gaps += number - expected;
    this.next[source] = number + 1;
  }
}

// The exclusive or keeps the number readable; the factor makes words of different places differ.
function wordOf(source: number, number: number, at: number): number {
  return (number ^ Math.imul(at + (source << 10), 0x9e3779b1)) >>> 0;
}
