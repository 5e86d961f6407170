/**
 * A front-end that shares a file as its guest's memory and starts two empty rings in it, without ever
 * touching that memory itself: the file may be taken away.
 *
 * @module
 */
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { fileInfo } from "../../ffi/memory.ts";
import { VhostUserFrontend } from "../../src/vhost_user/frontend.ts";
import { featureSet, VIRTIO_F_VERSION_1 } from "../../src/virtio/features.ts";
import { placeRing } from "../../src/virtio/layouts.ts";
import { RawClient } from "./raw_client.ts";
import { converseAsync } from "./test_guest.ts";

const RING_SIZE = 16;
const RINGS = [placeRing(0, RING_SIZE), placeRing(4096, RING_SIZE)] as const;

/** An attached front-end. Disposing hangs up without a word. */
export class BareFrontend implements Disposable {
  readonly #resources: DisposableStack;
  readonly #kick: EventFd;

  private constructor(resources: DisposableStack, kick: EventFd) {
    this.#resources = resources;
    this.#kick = kick;
  }

  /**
   * Connects to a port and attaches.
   *
   * @param path The port's socket.
   * @param file The guest's memory, zeros, 8 KiB or more; stays the caller's.
   */
  static async attach(path: string, file: Fd): Promise<BareFrontend> {
    using resources = new DisposableStack();
    const client = resources.use(await RawClient.connect(path));
    const kick = resources.use(EventFd.create());
    const region = {
      guestAddress: 0n,
      sizeBytes: fileInfo(file).sizeBytes,
      frontendAddress: 0n,
      offsetBytes: 0n,
      fd: file,
    };
    const rings = RINGS.map(({ desc, avail, used }) => ({
      size: RING_SIZE,
      descAddress: BigInt(desc),
      availAddress: BigInt(avail),
      usedAddress: BigInt(used),
      kick: kick.fd,
      call: null,
    }));
    const setup = { features: featureSet(VIRTIO_F_VERSION_1), regions: [region], rings };
    await converseAsync(client, new VhostUserFrontend().attach(setup));
    return new BareFrontend(resources.move(), kick);
  }

  /** Makes the switch look at the ring in which frames would be sent. */
  kick(): void {
    this.#kick.signal();
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
