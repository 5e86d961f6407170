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
import { featureSet, HEADER_BYTES, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { placeRing, type RingPlaces } from "../../src/virtio/layouts.ts";
import type { MemoryRegion } from "../../src/vhost_user/backend.ts";
import { type Conversation, Frontend, type FrontendRing } from "../../src/vhost_user/frontend.ts";
import type { Message } from "../../src/vhost_user/message.ts";
import { eventually } from "./eventually.ts";
import { RawClient } from "./raw_client.ts";

const RING_SIZE = 16;
const MEMORY_BYTES = 65536;
/** Where the memory lies in guest and front-end addresses. */
const ADDRESS = 0x4000_0000;
const RINGS = [placeRing(0, RING_SIZE), placeRing(4096, RING_SIZE)] as const;
const BUFFERS = 8192;
const BUFFER_BYTES = 1536;

/**
 * Holds a conversation to its end, letting other handlers of this thread run meanwhile.
 *
 * @param client A connection to a port.
 * @param conversation From a `Frontend`.
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
  readonly #client: RawClient;
  readonly #frontend = new Frontend();
  readonly #resources: DisposableStack;
  readonly #data: Uint8Array;
  readonly #kick: EventFd;
  readonly #call: Fd | null;
  readonly #receive: DriverVirtqueue;
  readonly #transmit: DriverVirtqueue;

  private constructor(
    client: RawClient,
    memory: ArrayBufferLike,
    stack: DisposableStack,
    call: Fd | null,
  ) {
    this.#client = client;
    this.#call = call;
    this.#resources = stack;
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
   */
  static async attach(path: string, call: Fd | null = null): Promise<TestGuest> {
    using stack = new DisposableStack();
    const client = stack.use(await RawClient.connect(path));
    using file = createMemfd("labswitch-test-guest", MEMORY_BYTES);
    const memory = createGuestMemory(1, 1);
    // SAFETY: the range is exactly the memory that was made in the line above.
    mapShared(memoryAddress(memory), BigInt(MEMORY_BYTES), file, 0n);
    const guest = new TestGuest(client, memory.buffer, stack.move(), call);
    try {
      await guest.#attach(file);
      return guest;
    } catch (error) {
      guest.#resources.dispose();
      throw error;
    }
  }

  /** Sends a frame of at most 1,524 bytes. */
  send(frame: Uint8Array): void {
    while (this.#transmit.take() !== null);
    const slot = RING_SIZE;
    const at = BUFFERS + slot * BUFFER_BYTES;
    this.#data.fill(0, at, at + HEADER_BYTES);
    this.#data.set(frame, at + HEADER_BYTES);
    const length = HEADER_BYTES + frame.length;
    this.#transmit.add([{ address: ADDRESS + at, length, isWritable: false }], slot);
    this.#transmit.publish();
    this.#kick.signal();
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
  async receive(): Promise<Uint8Array> {
    return await eventually("a frame", () => this.tryReceive());
  }

  /** Waits until the switch hangs up. */
  async end(): Promise<void> {
    await this.#client.end();
  }

  /** Hangs up and closes every descriptor without a word, as the kernel does for a killed process. */
  vanish(): void {
    this.#resources.dispose();
  }

  /** Stops both rings, hangs up and closes every descriptor. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const index of RINGS.keys()) {
        await converseAsync(this.#client, this.#frontend.stopRing(index));
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
    const features = featureSet(VIRTIO_F_VERSION_1);
    const rings = RINGS.map((places) => this.#ring(places));
    const setup = { features, regions: [region], rings };
    await converseAsync(this.#client, this.#frontend.attach(setup));
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

  #post(slot: number): void {
    const address = ADDRESS + BUFFERS + slot * BUFFER_BYTES;
    this.#receive.add([{ address, length: BUFFER_BYTES, isWritable: true }], slot);
  }
}

function queue(memory: ArrayBufferLike, places: RingPlaces): DriverVirtqueue {
  const options = { memoryAddress: ADDRESS, size: RING_SIZE, hasEventIndex: false };
  return new DriverVirtqueue({ ...options, memory, places });
}
