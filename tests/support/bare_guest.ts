/**
 * A guest that attaches as any other, and then does nothing by itself: a test writes its rings.
 *
 * @module
 */
import { EventFd } from "../../ffi/eventfd.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../ffi/memory.ts";
import { Frontend } from "../../src/vhost_user/frontend.ts";
import { featureSet, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { placeRing } from "../../src/virtio/layouts.ts";
import { RawClient } from "./raw_client.ts";
import { RawRing } from "./raw_ring.ts";
import { converseAsync } from "./test_guest.ts";

const RING_SIZE = 16;
const MEMORY_BYTES = 65536;
/** Where the memory lies in guest and front-end addresses. */
const ADDRESS = 0x4000_0000n;
/** The name of its memory file, by which its mappings are found. */
export const BARE_GUEST_MEMFD = "labswitch-bare-guest";

/** A guest that is attached to a port. */
export class BareGuest implements Disposable {
  /** Its connection. */
  readonly client: RawClient;
  /** Kicks both rings. */
  readonly kick: EventFd;
  /** Its rings, to receive and to transmit. */
  readonly rings: readonly [RawRing, RawRing];
  /** The last half of its memory, for frames. */
  readonly data: Uint8Array;
  readonly #frontend = new Frontend();
  readonly #resources: DisposableStack;
  readonly #setup: Parameters<Frontend["attach"]>[0];

  private constructor(client: RawClient) {
    using stack = new DisposableStack();
    this.client = stack.use(client);
    this.kick = stack.use(EventFd.create());
    const file = stack.use(createMemfd(BARE_GUEST_MEMFD, MEMORY_BYTES));
    const memory = createGuestMemory(1, 1);
    // SAFETY: the range is exactly the memory that was made in the line above.
    mapShared(memoryAddress(memory), BigInt(MEMORY_BYTES), file, 0n);
    const places = [0, 4096].map((start) => placeRing(start, RING_SIZE));
    const view = new DataView(memory.buffer);
    const [receive, transmit] = places.map((each) => new RawRing(view, each, RING_SIZE));
    this.rings = [receive!, transmit!];
    this.data = new Uint8Array(memory.buffer, MEMORY_BYTES / 2);
    const region = {
      ...{ guestAddress: ADDRESS, frontendAddress: ADDRESS, sizeBytes: BigInt(MEMORY_BYTES) },
      ...{ offsetBytes: 0n, fd: file },
    };
    this.#setup = {
      features: featureSet(VIRTIO_F_VERSION_1),
      regions: [region],
      rings: places.map(({ desc, avail, used }) => ({
        size: RING_SIZE,
        descAddress: ADDRESS + BigInt(desc),
        availAddress: ADDRESS + BigInt(avail),
        usedAddress: ADDRESS + BigInt(used),
        ...{ kick: this.kick.fd, call: null },
      })),
    };
    this.#resources = stack.move();
  }

  /** Connects to a port and attaches. */
  static async attach(path: string): Promise<BareGuest> {
    const guest = new BareGuest(await RawClient.connect(path));
    try {
      await guest.setUp();
      return guest;
    } catch (error) {
      guest[Symbol.dispose]();
      throw error;
    }
  }

  /** The guest address of a place in `data`. */
  addressOf(offset: number): bigint {
    return ADDRESS + BigInt(MEMORY_BYTES / 2 + offset);
  }

  /** Says everything that a front-end says when the guest's driver is ready, once more if need be. */
  async setUp(): Promise<void> {
    await converseAsync(this.client, this.#frontend.attach(this.#setup));
  }

  /** Says what it says when the driver resets the device; returns where both rings stood. */
  async stopRings(): Promise<number[]> {
    const bases: number[] = [];
    for (const index of [0, 1]) {
      bases.push(await converseAsync(this.client, this.#frontend.stopRing(index)));
    }
    return bases;
  }

  /** Hangs up, and closes every descriptor. */
  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
