/**
 * A guest with one queue pair that attaches to a port without blocking its thread, so the switch may
 * run in the same one. What `Nic` is for threads of their own.
 *
 * @module
 */
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../ffi/memory.ts";
import { DriverVirtqueue } from "../../src/virtio/driver_virtqueue.ts";
import {
  featureSet,
  HEADER_BYTES,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import { placeRing, type RingPlaces } from "../../src/virtio/layouts.ts";
import type { MemoryRegion } from "../../src/vhost_user/backend.ts";
import {
  type Conversation,
  type FrontendRing,
  VhostUserFrontend,
} from "../../src/vhost_user/frontend.ts";
import type { Message } from "../../src/vhost_user/message.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { eventually } from "./eventually.ts";
import { RawClient } from "./raw_client.ts";
import { type RegionDraft, ringAddress, ringState, u64 } from "./vhost_messages.ts";

const RING_SIZE = 16;
const MEMORY_BYTES = 65536;
/** Where the memory lies in guest and front-end addresses. */
const ADDRESS = 0x4000_0000;
const RINGS = [placeRing(0, RING_SIZE), placeRing(4096, RING_SIZE)] as const;
const BUFFERS = 8192;
const BUFFER_BYTES = 1536;
/** The slot of the only buffer to send from, behind those to receive into. */
const SEND_SLOT = RING_SIZE;

/** The memory of every such guest, as a message names it. */
export const GUEST_REGION: RegionDraft = {
  guest: BigInt(ADDRESS),
  size: BigInt(MEMORY_BYTES),
  user: BigInt(ADDRESS),
};
/** Where in that memory the available index of the transmit queue is (VIRTIO 1.2, 2.7.6). */
export const SEND_INDEX_AT: number = RINGS[1].avail + 2;
/** Where in it the frame to send is, with its header: the start of a page with nothing else in it. */
export const SEND_BUFFER_AT: number = BUFFERS + SEND_SLOT * BUFFER_BYTES;

/** What a guest may bring besides its memory. */
export interface TestGuestOptions {
  /** Virtio features; VERSION_1 alone unless told otherwise. */
  readonly features?: bigint;
}

/**
 * Holds a conversation to its end, letting other handlers of this thread run meanwhile.
 *
 * @param client A connection to a port.
 * @param conversation From a `VhostUserFrontend`.
 * @returns What the conversation returns.
 */
export async function converseAsync<T>(
  client: RawClient,
  conversation: Conversation<T>,
): Promise<T> {
  let reply: Message | null = null;
  for (;;) {
    const step = conversation.next(reply);
    if (step.done) return step.value;
    await client.send(step.value.data, step.value.fds as readonly Fd[]);
    reply = step.value.expectsReply ? await client.reply() : null;
  }
}

/** A guest that is attached to a port. */
export class TestGuest implements AsyncDisposable {
  /** Its front-end's connection, to say more with. */
  readonly client: RawClient;
  /** The file that holds its memory. */
  readonly file: Fd;
  readonly #frontend = new VhostUserFrontend();
  readonly #features: bigint;
  readonly #resources: DisposableStack;
  readonly #data: Uint8Array;
  readonly #kick: EventFd;
  readonly #call: Fd | null;
  readonly #receive: DriverVirtqueue;
  readonly #transmit: DriverVirtqueue;
  /** Buffers to send from; those before are for receiving. */
  readonly #freeSlots = Array.from({ length: RING_SIZE - 1 }, (_, i) => SEND_SLOT + 1 + i);

  private constructor(
    client: RawClient,
    file: Fd,
    stack: DisposableStack,
    call: Fd | null,
    { features = featureSet(VIRTIO_F_VERSION_1) }: TestGuestOptions,
  ) {
    this.client = client;
    this.file = file;
    this.#call = call;
    this.#resources = stack;
    this.#features = features;
    const memory = mapped(file);
    this.#data = new Uint8Array(memory);
    this.#kick = stack.use(EventFd.create());
    this.#receive = queue(memory, RINGS[0]);
    this.#transmit = queue(memory, RINGS[1]);
    for (let i = 0; i < RING_SIZE; i++) this.#post(i);
    this.#receive.publish();
  }

  /**
   * Connects to a port and attaches.
   *
   * @param path The port's socket.
   * @param call Signalled by the switch for every burst; stays the caller's. None unless given.
   * @param options What it brings besides its memory.
   */
  static async attach(
    path: string,
    call: Fd | null = null,
    options: TestGuestOptions = {},
  ): Promise<TestGuest> {
    using stack = new DisposableStack();
    const client = stack.use(await RawClient.connect(path));
    const file = stack.use(createMemfd("labswitch-test-guest", MEMORY_BYTES));
    const guest = new TestGuest(client, file, stack.move(), call, options);
    try {
      await guest.#attach(file);
      return guest;
    } catch (error) {
      guest.#resources.dispose();
      throw error;
    }
  }

  /** Its memory. */
  get memory(): DataView {
    return new DataView(this.#data.buffer);
  }

  /** Writes a frame where {@linkcode publish} sends it from; the one before must have been taken. */
  write(frame: Uint8Array): void {
    this.#writeAt(SEND_BUFFER_AT, frame);
  }

  /** Sends so many bytes, header included, of whatever stands in the buffer of {@linkcode write}. */
  publish(length: number): void {
    this.#reclaim();
    this.#publish(SEND_SLOT, length);
  }

  /**
   * Sends a frame.
   *
   * @param frame At most 1,524 bytes.
   * @returns Whether there was room for it.
   */
  send(frame: Uint8Array): boolean {
    this.#reclaim();
    const slot = this.#freeSlots.pop();
    if (slot === undefined) return false;
    this.#writeAt(BUFFERS + slot * BUFFER_BYTES, frame);
    this.#publish(slot, HEADER_BYTES + frame.length);
    return true;
  }

  /** Whether the switch has given every buffer back that was sent. */
  hasSentAll(): boolean {
    this.#reclaim();
    return this.#freeSlots.length === RING_SIZE - 1;
  }

  /** Kicks the switch, whether there is something to send or not. */
  kick(): void {
    this.#kick.signal();
  }

  /** Stops both rings and says all that the switch must know to run them again. */
  async restart(): Promise<void> {
    const features = this.#features | featureSet(VHOST_USER_F_PROTOCOL_FEATURES);
    await this.#ask(Request.SET_FEATURES, u64(features));
    for (const [index, { desc, avail, used }] of RINGS.entries()) {
      await converseAsync(this.client, this.#frontend.stopRing(index));
      const [at, call] = [BigInt(ADDRESS), this.#call === null ? [] : [this.#call]];
      const places = {
        desc: at + BigInt(desc),
        avail: at + BigInt(avail),
        used: at + BigInt(used),
      };
      await this.#ask(Request.SET_VRING_NUM, ringState(index, RING_SIZE));
      await this.#ask(Request.SET_VRING_ADDR, ringAddress(index, places));
      await this.#ask(Request.SET_VRING_CALL, u64(call.length === 0 ? 0x100 | index : index), call);
      await this.#ask(Request.SET_VRING_KICK, u64(index), [this.#kick.fd]);
      await this.#ask(Request.SET_VRING_ENABLE, ringState(index, 1));
    }
  }

  /** Takes the next frame; null when there is none. */
  tryReceive(): Uint8Array | null {
    const used = this.#receive.take();
    if (used === null) return null;
    const at = BUFFERS + used.token * BUFFER_BYTES;
    const frame = this.#data.slice(at + HEADER_BYTES, at + used.length);
    this.#post(used.token);
    this.#receive.publish();
    return frame;
  }

  /** Waits for the next frame. */
  async receive(timeoutMs?: number): Promise<Uint8Array> {
    return await eventually("a frame", () => this.tryReceive(), timeoutMs);
  }

  /** Waits until the switch hangs up. */
  async end(): Promise<void> {
    await this.client.end();
  }

  /** Hangs up and closes every descriptor without a word, as the kernel does for a killed process. */
  vanish(): void {
    this.#resources.dispose();
  }

  /** Stops both rings, hangs up and closes every descriptor. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const index of RINGS.keys()) {
        await converseAsync(this.client, this.#frontend.stopRing(index));
      }
    } finally {
      this.#resources.dispose();
    }
  }

  async #attach(file: Fd): Promise<void> {
    const region: MemoryRegion = {
      guestAddress: BigInt(ADDRESS),
      sizeBytes: BigInt(MEMORY_BYTES),
      frontendAddress: BigInt(ADDRESS),
      offsetBytes: 0n,
      fd: file,
    };
    const rings = RINGS.map((places) => this.#ring(places));
    const setup = { features: this.#features, regions: [region], rings };
    await converseAsync(this.client, this.#frontend.attach(setup));
  }

  async #ask(request: number, payload: Uint8Array, fds: readonly Fd[] = []): Promise<void> {
    if (await this.client.ask(request, payload, fds) === 0n) return;
    throw new Error(`Cannot start the rings again: request ${request} was refused`);
  }

  #ring({ desc, avail, used }: RingPlaces): FrontendRing {
    return {
      size: RING_SIZE,
      descAddress: BigInt(ADDRESS + desc),
      availAddress: BigInt(ADDRESS + avail),
      usedAddress: BigInt(ADDRESS + used),
      kick: this.#kick.fd,
      call: this.#call,
    };
  }

  #reclaim(): void {
    for (let used; (used = this.#transmit.take()) !== null;) {
      if (used.token !== SEND_SLOT) this.#freeSlots.push(used.token);
    }
  }

  #writeAt(at: number, frame: Uint8Array): void {
    this.#data.fill(0, at, at + HEADER_BYTES);
    this.#data.set(frame, at + HEADER_BYTES);
  }

  #publish(slot: number, length: number): void {
    const address = ADDRESS + BUFFERS + slot * BUFFER_BYTES;
    this.#transmit.add([{ address, length, isWritable: false }], slot);
    this.#transmit.publish();
    this.#kick.signal();
  }

  #post(slot: number): void {
    const address = ADDRESS + BUFFERS + slot * BUFFER_BYTES;
    this.#receive.add([{ address, length: BUFFER_BYTES, isWritable: true }], slot);
  }
}

function mapped(file: Fd): ArrayBufferLike {
  const memory = createGuestMemory(1, 1);
  // SAFETY: the range is exactly the memory that was made in the line above.
  mapShared(memoryAddress(memory), BigInt(MEMORY_BYTES), file, 0n);
  return memory.buffer;
}

function queue(memory: ArrayBufferLike, places: RingPlaces): DriverVirtqueue {
  const options = { memoryAddress: ADDRESS, size: RING_SIZE, hasEventIndex: false };
  return new DriverVirtqueue({ ...options, memory, places });
}
