/**
 * A guest whose memory and rings outlast the switch, as those of a QEMU guest do: when the switch is
 * gone it waits for the next one and attaches again, with the very rings, and tells the bases of the
 * time when they were made, because it knows nothing better.
 *
 * It sends numbered frames to another such guest as fast as its ring takes them. What was given back
 * was done: after a restart a frame may come once more, but none that its sender had got back before.
 *
 * It works in the thread that made it, between the turns of its event loop.
 *
 * @module
 */
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../ffi/memory.ts";
import {
  acceptUnix,
  connectUnix,
  hasHungUp,
  listenUnix,
  peerCredentials,
} from "../../ffi/unix_socket.ts";
import { parseMac } from "../../src/ethernet/frame.ts";
import type { MemoryRegion } from "../../src/vhost_user/backend.ts";
import {
  type Conversation,
  type FrontendRing,
  VhostUserFrontend,
} from "../../src/vhost_user/frontend.ts";
import { HEADER, VRING_STATE } from "../../src/vhost_user/layouts.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import type { DriverRing } from "../../src/virtio/driver_ring.ts";
import { DriverVirtqueue } from "../../src/virtio/driver_virtqueue.ts";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import { placeRing, type RingPlaces } from "../../src/virtio/layouts.ts";
import { PackedDriverVirtqueue } from "../../src/virtio/packed_driver_virtqueue.ts";
import { placePackedRing } from "../../src/virtio/packed_layouts.ts";
import { eventually, nextTurn } from "./eventually.ts";
import { stationAddress } from "./frames.ts";
import { BUFFER_BYTES, NumberedReceiver, NumberedSender } from "./numbered_traffic.ts";
import { RawClient } from "./raw_client.ts";
import { converseAsync } from "./test_guest.ts";

/** How a guest is made. */
export interface LastingGuestOptions {
  /** The port's socket. */
  readonly path: string;
  /** Whether it listens there and the switch connects. */
  readonly isListening: boolean;
  /** Packed instead of split rings. */
  readonly isPacked: boolean;
  /** Its number, which makes its address. */
  readonly number: number;
  /** The number of the guest that it sends to. */
  readonly peer: number;
}

/** Entries of each ring. */
const RING_SIZE = 256;
/** Where the memory lies in guest and front-end addresses. */
const ADDRESS = 0x4000_0000;
const WASM_PAGE_BYTES = 65536;
/** Receive ring, transmit ring and tables share the first page; a ring takes less than this. */
const RING_ROOM_BYTES = 16384;
const TABLES = 2 * RING_ROOM_BYTES;
const RECEIVE_BUFFERS = WASM_PAGE_BYTES;
const TRANSMIT_BUFFERS = RECEIVE_BUFFERS + RING_SIZE * BUFFER_BYTES;
const MEMORY_BYTES = TRANSMIT_BUFFERS + RING_SIZE * BUFFER_BYTES;
/** QEMU's base of a packed ring that never ran: slot 0 and wrap counter 1, twice. */
const FIRST_PACKED_BASE = 0x8000_8000;
const RECEIVE = 0;
const TRANSMIT = 1;
/** Long enough for a switch to start and to serve a ring, on a busy machine as well. */
const WAIT_MS = 30_000;

/** A guest that attaches to one switch after the other. Disposing ends it. */
export class LastingGuest implements AsyncDisposable {
  /** How many frames it had got back when it attached to a switch, by the switch's process number. */
  readonly completedBefore = new Map<number, number>();
  /** What it receives. */
  readonly receiver: NumberedReceiver;
  /** What it sends. */
  readonly sender: NumberedSender;
  readonly #options: LastingGuestOptions;
  readonly #resources: DisposableStack;
  readonly #file: Fd;
  readonly #kicks: readonly [EventFd, EventFd];
  readonly #places: readonly [RingPlaces, RingPlaces];
  readonly #rings: readonly [DriverRing, DriverRing];
  readonly #listener: Fd | null;
  #peer: LastingGuest | null = null;
  #socket: Fd | null = null;
  #isSending = true;
  #fault: Error | null = null;
  #isClosing = false;
  #work: Promise<void> = Promise.resolve();

  private constructor(options: LastingGuestOptions, stack: DisposableStack) {
    this.#options = options;
    this.#file = stack.use(createMemfd("labswitch-lasting-guest", MEMORY_BYTES));
    const pages = MEMORY_BYTES / WASM_PAGE_BYTES;
    const { buffer } = mapped(createGuestMemory(pages, pages), this.#file);
    this.#kicks = [stack.use(EventFd.create()), stack.use(EventFd.create())];
    const place = options.isPacked ? placePackedRing : placeRing;
    this.#places = [place(0, RING_SIZE), place(RING_ROOM_BYTES, RING_SIZE)];
    const ring = (places: RingPlaces): DriverRing => {
      const shape = { size: RING_SIZE, places, hasEventIndex: true };
      const queue = { memory: buffer, memoryAddress: ADDRESS, ...shape };
      return options.isPacked ? new PackedDriverVirtqueue(queue) : new DriverVirtqueue(queue);
    };
    this.#rings = [ring(this.#places[RECEIVE]), ring(this.#places[TRANSMIT])];
    for (const one of this.#rings) one.disableCalls();
    const memory = { data: new Uint8Array(buffer), address: ADDRESS, tables: TABLES };
    this.receiver = new NumberedReceiver(this.#rings[RECEIVE], {
      ...memory,
      buffers: RECEIVE_BUFFERS,
    });
    this.sender = new NumberedSender(
      this.#rings[TRANSMIT],
      { ...memory, buffers: TRANSMIT_BUFFERS },
      parseMac(stationAddress(options.number)),
      parseMac(stationAddress(options.peer)),
    );
    this.#listener = options.isListening ? stack.use(listenUnix(options.path)) : null;
    this.#resources = stack.move();
  }

  /**
   * Makes two guests that send to each other, and lets them work.
   *
   * @param options How each is made.
   */
  static pair(options: readonly [LastingGuestOptions, LastingGuestOptions]): LastingGuest[] {
    using stack = new DisposableStack();
    const guests = options.map((one) => {
      const guest = new LastingGuest(one, new DisposableStack());
      stack.use(guest.#resources);
      return guest;
    });
    guests.forEach((guest, i) => {
      guest.#peer = guests[1 - i]!;
      // Whoever asks the guest is told; until then a fault must not end the process.
      guest.#work = guest.#run();
      guest.#work.catch((error) => guest.#fault = error);
    });
    stack.move();
    return guests;
  }

  /**
   * Waits until something is true of the guest.
   *
   * @throws {Error} When a rule was broken, or after a long time.
   */
  async until(what: string, isTrue: (guest: this) => boolean): Promise<void> {
    const isThere = eventually(what, () => this.#isClosing || isTrue(this) || null, WAIT_MS);
    // The work ends with a fault, or when the guest does.
    await Promise.race([isThere, this.#work]);
  }

  /** Throws when a rule was broken. */
  check(): void {
    if (this.#fault !== null) throw this.#fault;
  }

  /** Waits until each of its buffers has been used once more, so that none is left with a switch. */
  async awaitRound(): Promise<void> {
    const returned = this.receiver.returned + RING_SIZE;
    const completed = this.sender.completed + RING_SIZE;
    await this.until(
      "a round of both rings",
      ({ receiver, sender }) => receiver.returned >= returned && sender.completed >= completed,
    );
  }

  /** Sends no more, and waits until everything was given back. */
  async stopSending(): Promise<void> {
    this.#isSending = false;
    await this.until("the last frame", ({ sender }) => sender.completed === sender.sent);
  }

  /** Ends the guest. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    try {
      await this.#work.catch(() => {});
    } finally {
      this.#socket?.close();
      this.#resources.dispose();
    }
  }

  async #run(): Promise<void> {
    while (!this.#isClosing) {
      if (this.#socket !== null && hasHungUp(this.#socket)) {
        this.#socket.close();
        this.#socket = null;
      }
      this.sender.reclaim();
      if (this.receiver.drain()) this.#kicks[RECEIVE].signal();
      if (this.#socket === null) await this.#tryToAttach();
      else if (this.#isSending && this.sender.fill()) this.#kicks[TRANSMIT].signal();
      await nextTurn();
    }
  }

  // The switch is gone and everything that it gave back was taken in this turn.
  async #tryToAttach(): Promise<void> {
    const socket = this.#listener === null
      ? connectIfPossible(this.#options.path)
      : acceptUnix(this.#listener);
    if (socket === null) return;
    const { pid } = peerCredentials(socket);
    this.completedBefore.set(pid, this.sender.completed);
    try {
      await converseAsync(new RawClient(socket), tellingBase(this.#attachment(), this.#base));
    } catch (error) {
      const isGone = hasHungUp(socket);
      socket.close();
      if (!isGone) throw error;
      return;
    }
    this.#socket = socket;
    // Frames can come only when the sender has attached as well.
    const peer = this.#peer!;
    this.receiver.restart(() => peer.completedBefore.get(pid));
  }

  get #base(): number {
    return this.#options.isPacked ? FIRST_PACKED_BASE : 0;
  }

  #attachment(): Conversation<unknown> {
    const region: MemoryRegion = {
      guestAddress: BigInt(ADDRESS),
      sizeBytes: BigInt(MEMORY_BYTES),
      frontendAddress: BigInt(ADDRESS),
      offsetBytes: 0n,
      fd: this.#file,
    };
    const features = featureSet(
      ...[VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX],
      ...this.#options.isPacked ? [VIRTIO_F_RING_PACKED] : [],
    );
    const rings = [this.#ring(RECEIVE), this.#ring(TRANSMIT)];
    return new VhostUserFrontend().attach({ features, regions: [region], rings });
  }

  #ring(index: typeof RECEIVE | typeof TRANSMIT): FrontendRing {
    const { desc, avail, used } = this.#places[index];
    return {
      size: RING_SIZE,
      descAddress: BigInt(ADDRESS + desc),
      availAddress: BigInt(ADDRESS + avail),
      usedAddress: BigInt(ADDRESS + used),
      kick: this.#kicks[index].fd,
      call: null,
    };
  }
}

function mapped(memory: WebAssembly.Memory, file: Fd): WebAssembly.Memory {
  // SAFETY: the range is exactly the memory, which the caller has just made.
  mapShared(memoryAddress(memory), BigInt(MEMORY_BYTES), file, 0n);
  return memory;
}

function connectIfPossible(path: string): Fd | null {
  try {
    return connectUnix(path);
  } catch {
    // Nobody listens: the next switch has not started yet.
    return null;
  }
}

// A front-end of ours tells a base of 0, which is wrong for a packed ring.
function* tellingBase<T>(conversation: Conversation<T>, base: number): Conversation<T> {
  for (let step = conversation.next(null);;) {
    if (step.done) return step.value;
    const { data } = step.value;
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (HEADER.read(view).request === Request.SET_VRING_BASE) {
      view.setUint32(HEADER.size + VRING_STATE.offset.num, base, true);
    }
    step = conversation.next(yield step.value);
  }
}
