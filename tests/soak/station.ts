/**
 * A guest of a soak run: memory, one queue pair of either format, and whatever features it likes.
 *
 *     0         32 KiB          64 KiB              one table per piece   2 or 4 KiB each
 *     | receive ring | transmit ring | indirect tables | pieces to send | receive buffers |
 *
 * It never waits, so many of them may live in one thread.
 *
 * @module
 */
import { concatenate } from "../support/bytes.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../ffi/memory.ts";
import type { DriverRing } from "../../src/virtio/driver_ring.ts";
import { type Buffer, DriverVirtqueue } from "../../src/virtio/driver_virtqueue.ts";
import {
  hasFeature,
  headerLength,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import {
  placeRing,
  type RingPlaces,
  VIRTIO_NET_HDR,
  VIRTQ_DESC,
} from "../../src/virtio/layouts.ts";
import { PackedDriverVirtqueue } from "../../src/virtio/packed_driver_virtqueue.ts";
import { placePackedRing } from "../../src/virtio/packed_layouts.ts";

/** Where a guest's memory lies, in guest and in front-end addresses; any page will do. */
export const ADDRESS = 0x1_0000_0000;
/** A ring of 1,024 entries takes less. */
export const RING_BYTES = 32_768;
/** Where what is neither ring nor table begins: a page, so that a memory table may be cut there. */
export const BUFFERS_AT: number = 2 * RING_BYTES;
/** What a frame is cut into when it is sent, as Linux does with pages. */
const PIECE_BYTES = 4096;
/** Room for the table of the longest chain: 64 KiB and a header in pieces. */
const TABLE_BYTES = 32 * VIRTQ_DESC.size;
const WASM_PAGE_BYTES = 65_536;

/** A guest's RAM: a memory that is kept, over files that come and go. */
export class GuestRam implements Disposable {
  /** The memory. */
  readonly buffer: ArrayBufferLike;
  readonly #memory: WebAssembly.Memory;
  readonly #name: string;
  #file: Fd;

  /**
   * @param name What the kernel shows in its list of mappings.
   * @param leastBytes How much there is at least.
   */
  constructor(name: string, leastBytes: number) {
    const pages = Math.ceil(leastBytes / WASM_PAGE_BYTES);
    this.#name = name;
    this.#memory = createGuestMemory(pages, pages);
    this.buffer = this.#memory.buffer;
    this.#file = this.#map();
  }

  /** The file, to be shared; stays this object's. */
  get file(): Fd {
    return this.#file;
  }

  /** Bytes. */
  get size(): number {
    return this.buffer.byteLength;
  }

  /** Puts new memory in the place of the old one, as the next machine has it. */
  renew(): void {
    this.#file.close();
    this.#file = this.#map();
  }

  /** Closes the file; the mapping ends with this thread's use of the memory. */
  [Symbol.dispose](): void {
    this.#file.close();
  }

  #map(): Fd {
    const file = createMemfd(this.#name, BigInt(this.size));
    // SAFETY: the range is exactly this object's memory; whoever reads it reads new zeros from now on.
    mapShared(memoryAddress(this.#memory), BigInt(this.size), file, 0n);
    return file;
  }
}

/** What a guest is made of. */
export interface StationOptions {
  /** Features that it accepts; the switch offers all of them. */
  readonly features: bigint;
  /** Entries of each ring, at most 1,024. */
  readonly queueSize: number;
  /** Pieces of 4 KiB to send from. */
  readonly pieces: number;
  /** Receive buffers. */
  readonly buffers: number;
  /** Bytes of each, header included. */
  readonly bufferBytes: number;
}

/** The memory that a guest needs. */
export function ramBytes({ pieces, buffers, bufferBytes }: StationOptions): number {
  return piecesAt(pieces) + pieces * PIECE_BYTES + buffers * bufferBytes;
}

function piecesAt(pieces: number): number {
  return Math.ceil((BUFFERS_AT + pieces * TABLE_BYTES) / PIECE_BYTES) * PIECE_BYTES;
}

/** A guest's driver. */
export class Station implements Disposable {
  /** What it is made of. */
  readonly options: StationOptions;
  /** Its memory; not this object's. */
  readonly ram: GuestRam;
  /** Kicks the switch, by ring. */
  readonly kicks: readonly [EventFd, EventFd];
  /** Both rings. */
  readonly places: readonly [RingPlaces, RingPlaces];
  readonly #bytes: Uint8Array;
  readonly #headerBytes: number;
  #receive: DriverRing;
  #transmit: DriverRing;
  #free: number[] = [];
  /** Which pieces a chain consists of, by its first one. */
  readonly #sent = new Map<number, number[]>();

  /**
   * @param ram Large enough for `options`.
   * @param options Features and sizes.
   */
  constructor(ram: GuestRam, options: StationOptions) {
    this.options = options;
    this.ram = ram;
    this.#bytes = new Uint8Array(ram.buffer);
    this.#headerBytes = headerLength(options.features);
    this.kicks = [EventFd.create(), EventFd.create()];
    const place = this.isPacked ? placePackedRing : placeRing;
    this.places = [place(0, options.queueSize), place(RING_BYTES, options.queueSize)];
    [this.#receive, this.#transmit] = this.#createRings();
  }

  /** Whether its rings are packed. */
  get isPacked(): boolean {
    return hasFeature(this.options.features, VIRTIO_F_RING_PACKED);
  }

  /** Begins with empty rings again, as a driver that was reset; the switch has stopped the old ones. */
  reset(): void {
    [this.#receive, this.#transmit] = this.#createRings();
  }

  /**
   * Puts a frame into the transmit queue; {@linkcode flush} sends what was put there.
   *
   * @param frame The frame; copied.
   * @param header The virtio-net header without its last field; zeros unless given.
   * @returns Whether there was room.
   */
  send(frame: Uint8Array, header?: Uint8Array): boolean {
    const length = this.#headerBytes + frame.length;
    const count = Math.ceil(length / PIECE_BYTES);
    if (this.#free.length < count) this.#reclaim();
    if (this.#free.length < count) return false;
    const pieces = this.#free.splice(-count);
    this.#write(pieces, frame, header);
    const chain = pieces.map((piece, i): Buffer => ({
      address: ADDRESS + this.#pieceAt(piece),
      length: Math.min(PIECE_BYTES, length - i * PIECE_BYTES),
      isWritable: false,
    }));
    const [token] = pieces as [number];
    if (!this.#add(chain, token)) {
      this.#free.push(...pieces);
      return false;
    }
    this.#sent.set(token, pieces);
    return true;
  }

  /** Publishes what was put into both queues, and kicks the switch where it asked for that. */
  flush(): void {
    if (this.#receive.publish()) this.kicks[0].signal();
    if (this.#transmit.publish()) this.kicks[1].signal();
  }

  /**
   * Hands out what was received; the buffers go back with the next {@linkcode flush}.
   *
   * @param handler Called with a copy of each frame.
   * @returns How many frames there were.
   */
  receive(handler: (frame: Uint8Array<ArrayBuffer>) => void): number {
    let frames = 0;
    for (let frame = this.#take(); frame !== null; frame = this.#take()) {
      handler(frame);
      frames++;
    }
    return frames;
  }

  /** Frames that were sent and not given back by the switch. */
  get outstanding(): number {
    this.#reclaim();
    return this.#transmit.outstanding;
  }

  /** Closes its eventfds. */
  [Symbol.dispose](): void {
    for (const kick of this.kicks) kick.close();
  }

  #createRings(): [DriverRing, DriverRing] {
    const { features, queueSize, buffers, pieces } = this.options;
    const Virtqueue = this.isPacked ? PackedDriverVirtqueue : DriverVirtqueue;
    const hasEventIndex = hasFeature(features, VIRTIO_F_EVENT_IDX);
    const shared = { memory: this.ram.buffer, memoryAddress: ADDRESS, size: queueSize };
    const receive = new Virtqueue({ ...shared, hasEventIndex, places: this.places[0] });
    const transmit = new Virtqueue({ ...shared, hasEventIndex, places: this.places[1] });
    for (let i = 0; i < buffers; i++) this.#post(receive, i);
    receive.publish();
    transmit.disableCalls();
    this.#free = Array.from({ length: pieces }, (_, i) => i);
    this.#sent.clear();
    return [receive, transmit];
  }

  #add(chain: readonly Buffer[], token: number): boolean {
    const isIndirect = chain.length > 1 &&
      hasFeature(this.options.features, VIRTIO_F_INDIRECT_DESC);
    if (!isIndirect) return this.#transmit.add(chain, token);
    return this.#transmit.addIndirect(chain, token, BUFFERS_AT + token * TABLE_BYTES);
  }

  #write(pieces: readonly number[], frame: Uint8Array, header: Uint8Array | undefined): void {
    let done = 0;
    pieces.forEach((piece, i) => {
      const at = this.#pieceAt(piece);
      const lead = i === 0 ? this.#headerBytes : 0;
      if (i === 0) {
        this.#bytes.fill(0, at, at + lead);
        if (header !== undefined) this.#bytes.set(header, at);
      }
      const part = frame.subarray(done, done + PIECE_BYTES - lead);
      this.#bytes.set(part, at + lead);
      done += part.length;
    });
  }

  #reclaim(): void {
    for (let used = this.#transmit.take(); used !== null; used = this.#transmit.take()) {
      this.#free.push(...this.#sent.get(used.token)!);
      this.#sent.delete(used.token);
    }
  }

  #take(): Uint8Array<ArrayBuffer> | null {
    const first = this.#takeBuffer();
    if (first === null) return null;
    const buffers = this.#buffersOf(first);
    const parts = [first.subarray(this.#headerBytes)];
    // All buffers of a frame are published at once (VIRTIO 1.2, 5.1.6.4).
    for (let i = 1; i < buffers; i++) parts.push(this.#takeBuffer()!);
    return parts.length === 1 ? parts[0]! : concatenate(parts);
  }

  #takeBuffer(): Uint8Array<ArrayBuffer> | null {
    const used = this.#receive.take();
    if (used === null) return null;
    const at = this.#bufferAt(used.token);
    const bytes = this.#bytes.slice(at, at + used.length) as Uint8Array<ArrayBuffer>;
    this.#post(this.#receive, used.token);
    return bytes;
  }

  #buffersOf(first: Uint8Array<ArrayBuffer>): number {
    if (!hasFeature(this.options.features, VIRTIO_NET_F_MRG_RXBUF)) return 1;
    return VIRTIO_NET_HDR.read(new DataView(first.buffer)).num_buffers;
  }

  #post(ring: DriverRing, buffer: number): void {
    const address = ADDRESS + this.#bufferAt(buffer);
    ring.add([{ address, length: this.options.bufferBytes, isWritable: true }], buffer);
  }

  #pieceAt(piece: number): number {
    return piecesAt(this.options.pieces) + piece * PIECE_BYTES;
  }

  #bufferAt(buffer: number): number {
    return this.#pieceAt(this.options.pieces) + buffer * this.options.bufferBytes;
  }
}
