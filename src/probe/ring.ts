/**
 * One ring of the probe: the driver's side of it, its eventfds, and its way to the back-end.
 *
 * @module
 */
import { EventFd } from "../../ffi/eventfd.ts";
import type { DriverRing } from "../virtio/driver_ring.ts";
import { DriverVirtqueue } from "../virtio/driver_virtqueue.ts";
import { hasFeature, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED } from "../virtio/features.ts";
import { placeRing, type RingPlaces } from "../virtio/layouts.ts";
import { PackedDriverVirtqueue } from "../virtio/packed_driver_virtqueue.ts";
import { placePackedRing, WRAP_COUNTER } from "../virtio/packed_layouts.ts";
import { Request } from "../vhost_user/numbers.ts";
import {
  GUEST_ADDRESS,
  type ProbeMemory,
  RING_BYTES,
  ringAddresses,
  ringState,
  u64,
} from "./memory.ts";
import type { Session } from "./session.ts";

/** Entries of each ring. */
export const QUEUE_SIZE = 64;
/** Both wrap counters of a fresh packed ring are 1 ("VHOST_USER_SET_VRING_BASE"). */
const FRESH_PACKED_BASE = WRAP_COUNTER * 0x10000 + WRAP_COUNTER;

/** A ring. */
export class ProbeRing implements Disposable {
  /** The driver's side. */
  readonly queue: DriverRing;
  /** Where it lies. */
  readonly places: RingPlaces;
  /** What the back-end is kicked with. */
  readonly kick: EventFd;
  /** What the back-end calls. */
  call: EventFd;
  /** Whether the back-end may work on it. */
  isStarted = false;
  readonly #index: number;
  readonly #isPacked: boolean;

  /**
   * @param memory Where it lies.
   * @param index Its number, 0 to 3.
   * @param features Those that were negotiated.
   */
  constructor(memory: ProbeMemory, index: number, features: bigint) {
    this.#index = index;
    this.#isPacked = hasFeature(features, VIRTIO_F_RING_PACKED);
    const start = index * RING_BYTES;
    this.places = this.#isPacked
      ? placePackedRing(start, QUEUE_SIZE)
      : placeRing(start, QUEUE_SIZE);
    const options = {
      memory: memory.bytes.buffer,
      memoryAddress: GUEST_ADDRESS,
      size: QUEUE_SIZE,
      places: this.places,
      hasEventIndex: hasFeature(features, VIRTIO_F_EVENT_IDX),
    };
    this.queue = this.#isPacked ? new PackedDriverVirtqueue(options) : new DriverVirtqueue(options);
    this.kick = EventFd.create();
    this.call = EventFd.create();
  }

  /**
   * Starts it.
   *
   * @param session The conversation, which knows the memory.
   * @param base Where it stands, as {@linkcode Session.stopRing} said; a fresh ring when left out.
   */
  async start(session: Session, base = this.#isPacked ? FRESH_PACKED_BASE : 0): Promise<void> {
    const index = this.#index;
    await session.tell(Request.SET_VRING_NUM, ringState(index, QUEUE_SIZE));
    await session.tell(Request.SET_VRING_BASE, ringState(index, base));
    await session.tell(Request.SET_VRING_ADDR, ringAddresses(index, this.places));
    await session.tell(Request.SET_VRING_CALL, u64(index), [this.call.fd]);
    await session.tell(Request.SET_VRING_KICK, u64(index), [this.kick.fd]);
    this.isStarted = true;
  }

  /** Gives the back-end another eventfd to call, while the ring runs. */
  async replaceCall(session: Session): Promise<void> {
    using _before = this.call;
    this.call = EventFd.create();
    await session.tell(Request.SET_VRING_CALL, u64(this.#index), [this.call.fd]);
    await session.settle();
  }

  /** Closes its eventfds. */
  [Symbol.dispose](): void {
    this.kick.close();
    this.call.close();
  }
}

/**
 * Where a ring stands after so many descriptors, as the low half of a base tells it
 * ("VHOST_USER_GET_VRING_BASE").
 *
 * @param descriptors Since the ring was fresh, each with a chain of its own.
 * @param isPacked Whether the ring is.
 */
export function expectedBase(descriptors: number, isPacked: boolean): number {
  if (!isPacked) return descriptors & 0xffff;
  const isFirstRound = Math.floor(descriptors / QUEUE_SIZE) % 2 === 0;
  return descriptors % QUEUE_SIZE | (isFirstRound ? WRAP_COUNTER : 0);
}

/**
 * Whether a base says that a ring stands there. Of a packed ring the upper half, which is the used
 * position, may be left out: common back-ends do so, and nothing is on its way in a stopped ring.
 */
export function isBase(base: number, low: number, isPacked: boolean): boolean {
  return base === low || (isPacked && base === low * 0x10000 + low);
}
