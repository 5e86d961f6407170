/**
 * The driver's side of a port that leads to a back-end: what the Workers know of its rings.
 *
 * To the data plane such a port is like any other. Its rings have records with the numbers that a
 * guest's would have: what comes from the back-end is polled under an odd number, what goes there is
 * filled under an even one. So record 2k stands for transmit queue k (vring 2k + 1), record 2k + 1 for
 * receive queue k (vring 2k).
 *
 * Runs on the main thread.
 *
 * @module
 */
import { EventFd, relieveEventFd, signalEventFd } from "../../ffi/eventfd.ts";
import { portAt, ringAt, ringNumber, type State } from "../dataplane/state.ts";
import {
  PORT_BRIDGE,
  PORT_F_CSUM,
  PORT_F_EVENT_IDX,
  PORT_F_GUEST_CSUM,
  PORT_F_GUEST_ECN,
  PORT_F_GUEST_TSO4,
  PORT_F_GUEST_TSO6,
  PORT_F_GUEST_USO4,
  PORT_F_GUEST_USO6,
  PORT_F_HOST_ECN,
  PORT_F_HOST_TSO4,
  PORT_F_HOST_TSO6,
  PORT_F_HOST_USO,
  PORT_F_MERGES,
  PORT_F_PACKED,
  PORT_FLAGS,
  PORT_GENERATION,
  PORT_HEADER_BYTES,
  PORT_REGION_COUNT,
  PORT_REGIONS,
  PORT_ROLE,
  PORT_ROLE_FRONTEND,
  PORT_RX_COUNT,
  PORT_RX_PAIRS,
  REGION_BYTES,
  REGION_GUEST,
  REGION_LOCAL,
  REGION_SIZE,
  RING_AVAIL,
  RING_CALL_FD,
  RING_DESC,
  RING_F_ENABLED,
  RING_F_STARTED,
  RING_FAULT,
  RING_FLAGS,
  RING_LOCK,
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RING_PRIVATE,
  RING_SIZE,
  RING_SLOT_BYTES,
  RING_SLOTS,
  RING_USED,
} from "../dataplane/state_layout.ts";
import type { MemoryRegion } from "../vhost_user/device.ts";
import type { FrontendRing } from "../vhost_user/frontend.ts";
import {
  featureSet,
  hasFeature,
  headerLength,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_USO4,
  VIRTIO_NET_F_GUEST_USO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../virtio/features.ts";
import { WRAP_COUNTER } from "../virtio/packed_layouts.ts";
import type { BridgeMembers } from "./bridge_members.ts";
import {
  DRIVER_RING_SIZE,
  type DriverRing,
  type DriverRings,
  layDriverRings,
} from "./driver_rings.ts";
import type { PortMemory } from "./port_memory.ts";
import type { WorkerPool } from "./worker_pool.ts";

/** What a front-end device is part of. */
export interface FrontendDeviceParts {
  /** The port's number. */
  readonly port: number;
  /** The bridge that the port is in. */
  readonly bridge: number;
  /** Queue pairs. */
  readonly queuePairs: number;
  /** The state memory. */
  readonly state: State;
  /** Where rings and buffers are mapped. */
  readonly memory: PortMemory;
  /** The poll Workers. */
  readonly workers: Pick<WorkerPool, "add" | "remove" | "quiesce">;
  /** Who gets flooded frames. */
  readonly members: BridgeMembers;
}

/** What a back-end gets: `VhostUserFrontend.start` takes it. */
export interface DriverSetup {
  /** The shared memory. */
  readonly regions: readonly MemoryRegion[];
  /** The rings by vring index. */
  readonly rings: readonly FrontendRing[];
}

/** A ring with its eventfds. */
interface LiveRing {
  readonly ring: DriverRing;
  /** The back-end is told of new buffers. */
  readonly kick: EventFd;
  /** The back-end tells of used ones. */
  readonly call: EventFd;
}

/** What the driver may be given means: what comes from the back-end may be like this. */
const GIVEN: readonly (readonly [feature: number, flag: number])[] = [
  [VIRTIO_NET_F_GUEST_CSUM, PORT_F_CSUM],
  [VIRTIO_NET_F_GUEST_TSO4, PORT_F_HOST_TSO4],
  [VIRTIO_NET_F_GUEST_TSO6, PORT_F_HOST_TSO6],
  [VIRTIO_NET_F_GUEST_ECN, PORT_F_HOST_ECN],
  [VIRTIO_NET_F_GUEST_USO4, PORT_F_HOST_USO],
  [VIRTIO_NET_F_GUEST_USO6, PORT_F_HOST_USO],
];
/** What the driver may send means: the back-end takes this. */
const SENT: readonly (readonly [feature: number, flag: number])[] = [
  [VIRTIO_NET_F_CSUM, PORT_F_GUEST_CSUM],
  [VIRTIO_NET_F_HOST_TSO4, PORT_F_GUEST_TSO4],
  [VIRTIO_NET_F_HOST_TSO6, PORT_F_GUEST_TSO6],
  [VIRTIO_NET_F_HOST_ECN, PORT_F_GUEST_ECN],
  [VIRTIO_NET_F_HOST_USO, PORT_F_GUEST_USO4 | PORT_F_GUEST_USO6],
];
const RINGS: readonly (readonly [feature: number, flag: number])[] = [
  [VIRTIO_NET_F_MRG_RXBUF, PORT_F_MERGES],
  [VIRTIO_F_EVENT_IDX, PORT_F_EVENT_IDX],
  [VIRTIO_F_RING_PACKED, PORT_F_PACKED],
];
const FLAG_OF = [...GIVEN, ...SENT, ...RINGS];

/** Every virtio feature that our driver knows. */
export const DRIVER_FEATURES: bigint = featureSet(
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MQ,
  ...FLAG_OF.map(([feature]) => feature),
);

/** The driver of one port's back-end. */
export class FrontendDevice {
  readonly #parts: FrontendDeviceParts;
  readonly #at: number;
  #live: readonly LiveRing[] = [];
  #laid: DriverRings | null = null;
  /** The Workers that poll the receive queues, by record. */
  readonly #polled = new Map<number, { readonly worker: number; readonly call: number }>();

  /** @param parts What it works on. */
  constructor(parts: FrontendDeviceParts) {
    this.#parts = parts;
    this.#at = portAt(parts.port);
    parts.state.set32(this.#at + PORT_BRIDGE, parts.bridge);
    parts.state.set32(this.#at + PORT_HEADER_BYTES, headerLength(0n));
    parts.state.set32(this.#at + PORT_ROLE, PORT_ROLE_FRONTEND);
  }

  /** Whether frames can reach the back-end. */
  get isUp(): boolean {
    return this.#polled.size > 0;
  }

  /**
   * Makes rings for a back-end; no frame flows yet.
   *
   * @param features What was negotiated.
   * @returns What the back-end is to be given; the descriptors stay the device's.
   * @throws {OsError | RequestRefused} When the system refuses memory or descriptors.
   */
  prepare(features: bigint): DriverSetup {
    const { memory, queuePairs } = this.#parts;
    using stack = new DisposableStack();
    const laid = stack.use(layDriverRings(memory, features, queuePairs));
    const live = laid.rings.map((ring) => ({
      ring,
      kick: stack.use(EventFd.create()),
      call: stack.use(EventFd.create()),
    }));
    this.#writePort(features, laid);
    for (const one of live) this.#writeRing(one, hasFeature(features, VIRTIO_F_RING_PACKED));
    stack.move();
    this.#laid = laid;
    this.#live = live;
    const { address, sizeBytes, file } = laid;
    const region = { guestAddress: address, frontendAddress: address, sizeBytes, offsetBytes: 0n };
    return { regions: [{ ...region, fd: file }], rings: live.map(offered) };
  }

  /** Lets frames flow: the back-end has its rings. */
  start(): void {
    const { state, workers, members, port, bridge, queuePairs } = this.#parts;
    for (const { ring: { index }, kick, call } of this.#live) {
      const record = recordOf(port, index);
      state.store32(ringAt(record) + RING_FLAGS, RING_F_STARTED | RING_F_ENABLED);
      if (index % 2 === 0) {
        const worker = workers.add(record, call.fd.number);
        this.#polled.set(record, { worker, call: call.fd.number });
      }
      // Old back-ends start a ring with its first kick ("Ring states"). The back-end has the descriptor
      // too, and may have filled its count and let writers wait.
      signalEventFd(kick.fd.number);
    }
    for (let pair = 0; pair < queuePairs; pair++) state.set8(this.#at + PORT_RX_PAIRS + pair, pair);
    state.store32(this.#at + PORT_RX_COUNT, queuePairs);
    members.add(bridge, port);
  }

  /** Stops everything; when it returns no Worker touches rings or memory, and all is released. */
  stop(): void {
    const { state, workers, members, memory, port, bridge } = this.#parts;
    if (this.isUp) members.remove(bridge, port);
    state.store32(this.#at + PORT_RX_COUNT, 0);
    for (const { ring: { index } } of this.#live) {
      state.store32(ringAt(recordOf(port, index)) + RING_FLAGS, 0);
    }
    for (const [record, { worker, call }] of this.#polled) workers.remove(record, worker, call);
    if (this.#live.length > 0) workers.quiesce();
    this.#polled.clear();
    for (const { ring: { index }, kick, call } of this.#live) {
      state.set32(ringAt(recordOf(port, index)) + RING_CALL_FD, -1);
      kick[Symbol.dispose]();
      call[Symbol.dispose]();
    }
    this.#live = [];
    this.#laid?.[Symbol.dispose]();
    this.#laid = null;
    memory.unmap();
    state.clear(this.#at + PORT_REGIONS, REGION_BYTES);
    state.set32(this.#at + PORT_REGION_COUNT, 0);
    state.set32(this.#at + PORT_FLAGS, 0);
    state.add32(this.#at + PORT_GENERATION, 1);
  }

  /** Ends the wait of a Worker that is stuck in kicking the back-end. */
  relieveCalls(): void {
    for (const { kick } of this.#live) relieveEventFd(kick.fd.number);
  }

  /** Why a ring is quarantined, by vring index: a FAULT_*; null when all are sound. */
  fault(): { readonly index: number; readonly fault: number } | null {
    const { state, port } = this.#parts;
    for (const { ring: { index } } of this.#live) {
      const fault = state.load32(ringAt(recordOf(port, index)) + RING_FAULT);
      if (fault !== 0) return { index, fault };
    }
    return null;
  }

  #writePort(features: bigint, { address, sizeBytes }: DriverRings): void {
    const { state } = this.#parts;
    let flags = 0;
    for (const [feature, flag] of FLAG_OF) if (hasFeature(features, feature)) flags |= flag;
    state.set32(this.#at + PORT_FLAGS, flags);
    state.set32(this.#at + PORT_HEADER_BYTES, headerLength(features));
    state.set64(this.#at + PORT_REGIONS + REGION_GUEST, address);
    state.set64(this.#at + PORT_REGIONS + REGION_SIZE, sizeBytes);
    state.set64(this.#at + PORT_REGIONS + REGION_LOCAL, address);
    state.set32(this.#at + PORT_REGION_COUNT, 1);
  }

  #writeRing({ ring, kick }: LiveRing, isPacked: boolean): void {
    const { state, port } = this.#parts;
    const at = ringAt(recordOf(port, ring.index));
    const start = isPacked ? WRAP_COUNTER : 0;
    state.set32(at + RING_SIZE, DRIVER_RING_SIZE);
    state.set64(at + RING_DESC, BigInt(ring.places.desc));
    state.set64(at + RING_AVAIL, BigInt(ring.places.avail));
    state.set64(at + RING_USED, BigInt(ring.places.used));
    state.set64(at + RING_SLOTS, BigInt(ring.slots));
    state.set32(at + RING_SLOT_BYTES, ring.slotBytes);
    state.set64(at + RING_PRIVATE, BigInt(ring.privateArea));
    state.set32(at + RING_CALL_FD, kick.fd.number);
    state.set32(at + RING_NEXT_AVAIL, start);
    state.set32(at + RING_NEXT_USED, start);
    state.set32(at + RING_FAULT, 0);
    state.set32(at + RING_LOCK, 0);
  }
}

function recordOf(port: number, index: number): number {
  return ringNumber(port, index ^ 1);
}

function offered({ ring: { places }, kick, call }: LiveRing): FrontendRing {
  return {
    size: DRIVER_RING_SIZE,
    descAddress: BigInt(places.desc),
    availAddress: BigInt(places.avail),
    usedAddress: BigInt(places.used),
    kick: kick.fd,
    call: call.fd,
  };
}
