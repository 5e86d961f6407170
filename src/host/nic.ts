/**
 * The network interface of an in-process host: a virtio-net driver that attaches to a vhost-user
 * back-end over a Unix socket, with memory, rings and buffers of its own.
 *
 *     0           64 KiB       +512 KiB          +512 KiB
 *     | two rings | receive buffers | transmit buffers |
 *
 * It belongs to the thread that opened it and may wait there.
 *
 * @module
 */
import { Epoll, EPOLLET, EPOLLIN } from "../../ffi/epoll.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../ffi/memory.ts";
import { connectUnix } from "../../ffi/unix_socket.ts";
import {
  featureSet,
  HEADER_BYTES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
} from "../virtio/features.ts";
import { DriverVirtqueue } from "../virtio/driver_virtqueue.ts";
import { placeRing, type RingPlaces } from "../virtio/layouts.ts";
import { type FrontendRing, VhostUserFrontend } from "../vhost_user/frontend.ts";
import { converse } from "./converse.ts";

/** Entries of each ring. */
export const QUEUE_SIZE = 256;
/** Bytes of a buffer: header and any frame of the usual MTU. */
const BUFFER_BYTES = 2048;
/** Room for both rings, which take less than 20 KiB. */
const RINGS_BYTES = 65536;
const RING_ALIGN_BYTES = 4096;
const MEMORY_BYTES = RINGS_BYTES + 2 * QUEUE_SIZE * BUFFER_BYTES;
const WASM_PAGE_BYTES = 65536;
/** Where the memory lies in guest and front-end addresses; any page will do. */
const ADDRESS = 0x1_0000_0000;
const RECEIVE = 0;
const TRANSMIT = 1;

/** Called with a received frame; the bytes are the interface's and change after the call. */
export type FrameHandler = (frame: Uint8Array) => void;

/** A network interface. */
export class Nic implements Disposable {
  readonly #socket: Fd;
  readonly #frontend: VhostUserFrontend;
  readonly #kicks: readonly [EventFd, EventFd];
  readonly #calls: readonly [EventFd, EventFd];
  readonly #epoll: Epoll;
  readonly #receive: DriverVirtqueue;
  readonly #transmit: DriverVirtqueue;
  readonly #buffers: Uint8Array[];
  readonly #freeToSend: number[] = [];

  /**
   * Connects to a back-end and attaches.
   *
   * @param path The socket on which the back-end listens.
   * @returns The interface; frames may flow.
   * @throws {OsError | RequestRefused | ProtocolError | Error} When that fails; nothing stays open.
   */
  static connect(path: string): Nic {
    return new Nic(connectUnix(path));
  }

  /**
   * Attaches to a back-end that has connected.
   *
   * @param socket The connection; the interface owns it from now on.
   * @throws {OsError | RequestRefused | ProtocolError | Error} When that fails; nothing stays open.
   */
  constructor(socket: Fd) {
    using stack = new DisposableStack();
    this.#socket = stack.use(socket);
    this.#kicks = [stack.use(EventFd.create()), stack.use(EventFd.create())];
    this.#calls = [stack.use(EventFd.create()), stack.use(EventFd.create())];
    this.#epoll = stack.use(Epoll.create());
    this.#epoll.add(this.#calls[RECEIVE].fd.number, EPOLLIN | EPOLLET, RECEIVE);
    using file = createMemfd("labswitch-host", MEMORY_BYTES);
    const memory = mapped(file);
    const places = [placeRing(0, QUEUE_SIZE), placeRing(ringStart(), QUEUE_SIZE)] as const;
    this.#receive = queue(memory, places[RECEIVE]);
    this.#transmit = queue(memory, places[TRANSMIT]);
    this.#buffers = Array.from(
      { length: 2 * QUEUE_SIZE },
      (_, i) => new Uint8Array(memory, RINGS_BYTES + i * BUFFER_BYTES, BUFFER_BYTES),
    );
    for (let i = 0; i < QUEUE_SIZE; i++) {
      this.#post(i);
      this.#freeToSend.push(QUEUE_SIZE + i);
    }
    this.#transmit.disableCalls();
    this.#frontend = new VhostUserFrontend();
    const region = {
      guestAddress: BigInt(ADDRESS),
      sizeBytes: BigInt(MEMORY_BYTES),
      frontendAddress: BigInt(ADDRESS),
      offsetBytes: 0n,
      fd: file,
    };
    converse(
      this.#socket,
      this.#frontend.attach({
        features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX),
        regions: [region],
        rings: [this.#ring(RECEIVE, places[RECEIVE]), this.#ring(TRANSMIT, places[TRANSMIT])],
      }),
    );
    this.flush();
    stack.move();
  }

  /**
   * Puts a frame into the transmit queue; {@linkcode flush} sends what was put there.
   *
   * @param frame At most 2,036 bytes; copied.
   * @returns Whether there was room.
   */
  send(frame: Uint8Array): boolean {
    if (this.#freeToSend.length === 0) this.#reclaim();
    const slot = this.#freeToSend.pop();
    if (slot === undefined) return false;
    const buffer = this.#buffers[slot]!;
    buffer.fill(0, 0, HEADER_BYTES);
    buffer.set(frame, HEADER_BYTES);
    const address = ADDRESS + RINGS_BYTES + slot * BUFFER_BYTES;
    const length = HEADER_BYTES + frame.length;
    return this.#transmit.add([{ address, length, isWritable: false }], slot);
  }

  /** Publishes what was put into both queues, and kicks the back-end where it asked for that. */
  flush(): void {
    if (this.#receive.publish()) this.#kicks[RECEIVE].signal();
    if (this.#transmit.publish()) this.#kicks[TRANSMIT].signal();
  }

  /**
   * Hands out what was received.
   *
   * @param handler Called for each frame.
   * @returns How many frames there were.
   */
  poll(handler: FrameHandler): number {
    let frames = 0;
    for (let used = this.#receive.take(); used !== null; used = this.#receive.take()) {
      handler(this.#buffers[used.token]!.subarray(HEADER_BYTES, used.length));
      this.#post(used.token);
      frames++;
    }
    return frames;
  }

  /**
   * Waits until a frame comes.
   *
   * @param timeoutMs How long at most.
   * @returns Whether one is there.
   */
  wait(timeoutMs: number): boolean {
    if (!this.arm()) this.#epoll.wait(timeoutMs);
    this.disarm();
    return this.#receive.hasUsed;
  }

  /** The number of the descriptor that becomes readable when a frame comes, while it is armed. */
  get callFd(): number {
    return this.#calls[RECEIVE].fd.number;
  }

  /**
   * Asks for a call when a frame comes.
   *
   * @returns Whether one is there already, in which case no call may come.
   */
  arm(): boolean {
    return this.#receive.enableCalls();
  }

  /** Says that no call is needed. */
  disarm(): void {
    this.#receive.disableCalls();
  }

  /** Stops both rings, hangs up and closes every descriptor. */
  [Symbol.dispose](): void {
    try {
      for (const index of [RECEIVE, TRANSMIT]) {
        converse(this.#socket, this.#frontend.stopRing(index));
      }
    } catch {
      // The back-end has gone away first, and its use of the rings with it.
    }
    this.#epoll[Symbol.dispose]();
    for (const event of [...this.#kicks, ...this.#calls]) event.close();
    this.#socket.close();
  }

  #post(slot: number): void {
    const address = ADDRESS + RINGS_BYTES + slot * BUFFER_BYTES;
    this.#receive.add([{ address, length: BUFFER_BYTES, isWritable: true }], slot);
  }

  #reclaim(): void {
    for (let used = this.#transmit.take(); used !== null; used = this.#transmit.take()) {
      this.#freeToSend.push(used.token);
    }
  }

  #ring(index: typeof RECEIVE | typeof TRANSMIT, places: RingPlaces): FrontendRing {
    return {
      size: QUEUE_SIZE,
      descAddress: BigInt(ADDRESS + places.desc),
      availAddress: BigInt(ADDRESS + places.avail),
      usedAddress: BigInt(ADDRESS + places.used),
      kick: this.#kicks[index].fd,
      call: this.#calls[index].fd,
    };
  }
}

// The mapping keeps the file alive, the memory's owner (V8) keeps the mapping.
function mapped(file: Fd): ArrayBufferLike {
  const pages = MEMORY_BYTES / WASM_PAGE_BYTES;
  const memory = createGuestMemory(pages, pages);
  // SAFETY: the range is exactly the memory that was made in the line above.
  mapShared(memoryAddress(memory), BigInt(MEMORY_BYTES), file, 0n);
  return memory.buffer;
}

function ringStart(): number {
  return Math.ceil(placeRing(0, QUEUE_SIZE).end / RING_ALIGN_BYTES) * RING_ALIGN_BYTES;
}

function queue(memory: ArrayBufferLike, places: RingPlaces): DriverVirtqueue {
  const options = { memory, memoryAddress: ADDRESS, size: QUEUE_SIZE, places, hasEventIndex: true };
  return new DriverVirtqueue(options);
}
