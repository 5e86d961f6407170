/**
 * Someone who comes to a port of a soak run for a moment, and what such guests have in common.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Random } from "../fuzz/random.ts";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { eventually } from "../support/eventually.ts";
import { makeFrame } from "../support/frames.ts";
import type { RawClient } from "../support/raw_client.ts";
import { HUB, visitorAddress, VISITORS } from "./addresses.ts";
import { follow, handshake } from "./handshake.ts";
import { type GuestRam, Station, type StationOptions } from "./station.ts";

/** What a visit works with. */
export interface Visitor {
  /** Makes a connection to the port; whoever calls it closes it. */
  readonly connect: () => Promise<RawClient>;
  /** Memory that was given to no one else since it was renewed. */
  readonly ram: GuestRam;
  /** What is left to chance. */
  readonly random: Random;
}

/** What the kernel calls the memory of visitors. */
export const VISITOR_MEMFD = "labswitch-visitor";
/** The largest guest that comes. */
export const LARGEST: Omit<StationOptions, "features"> = {
  queueSize: 256,
  pieces: 16,
  buffers: 128,
  bufferBytes: 2048,
};
/** How often a frame is sent when no answer comes, and how long one may take. */
const ATTEMPTS = 5;
const ANSWER_MS = 2000;
const MIN_FRAME_BYTES = 60;
const MAX_FRAME_BYTES = 1514;

const ALWAYS = featureSet(VIRTIO_F_VERSION_1);
const SOMETIMES: readonly number[] = [
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_IN_ORDER,
  VIRTIO_NET_F_MRG_RXBUF,
];
/** Features that cannot change while a ring runs. */
export const RING_FEATURES: bigint = ALWAYS | featureSet(...SOMETIMES);
/** Offloads that may be accepted or not, whatever else is. */
const OFFLOADS: readonly bigint[] = [
  0n,
  featureSet(VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4),
  featureSet(VIRTIO_NET_F_GUEST_CSUM),
  featureSet(VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4),
];

/** Some set of features. */
export function drawFeatures(random: Random): bigint {
  const rings = SOMETIMES.filter(() => random.chance(0.5));
  return ALWAYS | featureSet(...rings) | drawOffloads(random);
}

/** Some set of offloads. */
export function drawOffloads(random: Random): bigint {
  return random.pick(OFFLOADS);
}

/** Makes a guest of some kind that fits into the visitor's memory; not attached yet. */
export function drawStation({ random, ram }: Visitor, features = drawFeatures(random)): Station {
  const queueSize = random.pick([64, 128, 256]);
  return new Station(ram, {
    ...LARGEST,
    features,
    queueSize,
    buffers: Math.min(queueSize, LARGEST.buffers),
  });
}

/** A guest that is attached; disposing of it hangs up. */
export class AttachedGuest implements Disposable {
  /** Its connection. */
  readonly client: RawClient;
  /** Its driver. */
  station: Station;
  readonly #random: Random;

  private constructor(client: RawClient, station: Station, random: Random) {
    this.client = client;
    this.station = station;
    this.#random = random;
  }

  /** Comes with a guest of some kind and attaches it. */
  static async come(visitor: Visitor, features?: bigint): Promise<AttachedGuest> {
    using stack = new DisposableStack();
    const client = stack.use(await visitor.connect());
    const station = stack.use(drawStation(visitor, features));
    await follow(client, handshake(station));
    stack.move();
    return new AttachedGuest(client, station, visitor.random);
  }

  /** Sends frames from new addresses to the hub, and requires that each comes back. */
  async exchange(frames: number): Promise<void> {
    for (let i = 0; i < frames; i++) {
      const own = visitorAddress(this.#random.below(VISITORS));
      const bytes = this.#random.between(MIN_FRAME_BYTES, MAX_FRAME_BYTES);
      await this.#echo(own, bytes, this.#random.below(256));
    }
  }

  /** Sends frames to nobody and does not wait for anything. */
  sendIntoTheBlue(frames: number): void {
    for (let i = 0; i < frames; i++) {
      const [from, to] = [0, 1].map(() => visitorAddress(this.#random.below(VISITORS)));
      this.station.send(makeFrame(to!, from!, MIN_FRAME_BYTES));
    }
    this.station.flush();
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.station[Symbol.dispose]();
  }

  // A flood may take the buffers that a frame or its answer needs, so there are several attempts.
  async #echo(own: string, bytes: number, mark: number): Promise<void> {
    const frame = makeFrame(HUB, own, bytes, mark);
    const answer = makeFrame(own, HUB, bytes, mark);
    for (let attempt = 1;; attempt++) {
      this.station.send(frame);
      this.station.flush();
      try {
        await eventually("the frame to come back", () => this.#receives(answer), ANSWER_MS);
        return;
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
    }
  }

  #receives(wanted: Uint8Array): true | null {
    let isThere = false;
    const frames = this.station.receive((frame) => {
      isThere ||= Buffer.compare(frame, wanted) === 0;
    });
    if (frames > 0) this.station.flush();
    return isThere || null;
  }
}
