/**
 * A guest that attaches as any other, and then does nothing by itself: a test writes its rings.
 *
 * @module
 */
import { EventFd } from "../../ffi/eventfd.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../ffi/memory.ts";
import type { Fd } from "../../ffi/fd.ts";
import type { MemoryRegion } from "../../src/vhost_user/backend.ts";
import { type FrontendSetup, VhostUserFrontend } from "../../src/vhost_user/frontend.ts";
import { VRING_STATE } from "../../src/vhost_user/layouts.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import {
  featureSet,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import { placeRing } from "../../src/virtio/layouts.ts";
import { RawClient } from "./raw_client.ts";
import { RawRing } from "./raw_ring.ts";
import { converseAsync } from "./test_guest.ts";
import { memoryTable, ringAddress, ringState, u64 } from "./vhost_messages.ts";

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
  readonly #frontend = new VhostUserFrontend();
  readonly #resources: DisposableStack;
  readonly #setup: Omit<FrontendSetup, "regions"> & { regions: (MemoryRegion & { fd: Fd })[] };

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
      await converseAsync(guest.client, guest.#frontend.attach(guest.#setup));
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

  /**
   * Says what a front-end says when the guest's driver resets the device and sets it up again.
   *
   * It waits for nothing; {@linkcode ringBases} reads the answers.
   */
  async sayReset(): Promise<void> {
    const { client } = this;
    const [region] = this.#setup.regions;
    for (const index of [0, 1]) await client.say(Request.GET_VRING_BASE, ringState(index, 0));
    const features = this.#setup.features | featureSet(VHOST_USER_F_PROTOCOL_FEATURES);
    await client.say(Request.SET_FEATURES, u64(features));
    const { guestAddress: guest, sizeBytes: size, frontendAddress: user, fd } = region!;
    await client.say(Request.SET_MEM_TABLE, memoryTable([{ guest, size, user }]), { fds: [fd] });
    for (const index of [0, 1]) await this.#sayRing(index);
    for (const index of [0, 1]) await client.say(Request.SET_VRING_ENABLE, ringState(index, 1));
  }

  /** Where both rings stood at a reset. */
  async ringBases(): Promise<number[]> {
    const bases: number[] = [];
    for (const _ of [0, 1]) {
      const { payload } = await this.client.reply();
      bases.push(VRING_STATE.read(new DataView(payload.buffer, payload.byteOffset)).num);
    }
    return bases;
  }

  async #sayRing(index: number): Promise<void> {
    const { size, descAddress: desc, availAddress: avail, usedAddress: used } = this.#setup
      .rings[index]!;
    await this.client.say(Request.SET_VRING_NUM, ringState(index, size));
    await this.client.say(Request.SET_VRING_BASE, ringState(index, 0));
    await this.client.say(Request.SET_VRING_ADDR, ringAddress(index, { desc, avail, used }));
    await this.client.say(Request.SET_VRING_KICK, u64(index), { fds: [this.kick.fd] });
  }

  /** Hangs up, and closes every descriptor. */
  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
