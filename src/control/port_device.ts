/**
 * What a front-end's messages do to one port: the device behind the vhost-user back-end.
 *
 * It turns negotiated features, memory regions and rings into records of the state memory, which is
 * all that the Workers know. Every method that takes something away returns only when no Worker uses
 * it any more, so the back-end may answer, and close descriptors, right after.
 *
 * Runs on the main thread.
 *
 * @module
 */
import { prepareEventFd, relieveEventFd, signalEventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { portAt, ringAt, ringNumber, type State } from "../dataplane/state.ts";
import {
  C_RING_FAULTS,
  FAULT_UNMAPPED,
  MAX_REGIONS,
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
  PORT_F_INDIRECT,
  PORT_F_MERGEABLE,
  PORT_F_PACKED,
  PORT_FLAGS,
  PORT_GENERATION,
  PORT_HEADER_BYTES,
  PORT_LOG,
  PORT_LOG_BYTES,
  PORT_MAX_FRAME,
  PORT_REGION_COUNT,
  PORT_REGIONS,
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
  RING_SIGNALLED_VALID,
  RING_SIZE,
  RING_USED,
  RINGS_PER_PORT,
} from "../dataplane/state_layout.ts";
import type {
  BackendDevice,
  DirtyLog,
  MemoryRegion,
  RingSetup,
  SharedPart,
} from "../vhost_user/device.ts";
import { RequestRefused } from "../vhost_user/errors.ts";
import {
  hasFeature,
  headerLength,
  VHOST_F_LOG_ALL,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
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
  VIRTIO_NET_F_MRG_RXBUF,
} from "../virtio/features.ts";
import { ringParts } from "../virtio/layouts.ts";
import type { BridgeMembers } from "./bridge_members.ts";
import { resumePacked } from "./packed_position.ts";
import type { PortMemory } from "./port_memory.ts";
import { type FilePart, prepareParts, type RegionRequest } from "./region_rules.ts";
import type { WorkerPool } from "./worker_pool.ts";

/** A ring between its start and its stop. */
interface RunningRing {
  readonly setup: RingSetup;
  /** The Worker that polls it, or null for a receive queue, which nobody polls. */
  readonly worker: number | null;
}

/** What a port device is part of. */
export interface PortDeviceParts {
  /** The port's number. */
  readonly port: number;
  /** The bridge that the port is in. */
  readonly bridge: number;
  /** The state memory. */
  readonly state: State;
  /** Where the guest's RAM is mapped. */
  readonly memory: PortMemory;
  /** The poll Workers. */
  readonly workers: WorkerPool;
  /** Who gets flooded frames. */
  readonly members: BridgeMembers;
  /** Tells every port that the station with this MAC address is here. */
  readonly announce: (address: Uint8Array) => void;
  /** Called when nothing is wrong with a ring, or nothing any more. */
  readonly onSound: (index: number) => void;
  /** Called when the port begins or ceases to carry frames. */
  readonly onLink: (isUp: boolean) => void;
}

/** What the data plane must know of the features. */
const PORT_FLAG_OF: readonly (readonly [feature: number, flag: number])[] = [
  [VIRTIO_NET_F_MRG_RXBUF, PORT_F_MERGEABLE],
  [VIRTIO_F_EVENT_IDX, PORT_F_EVENT_IDX],
  [VIRTIO_F_INDIRECT_DESC, PORT_F_INDIRECT],
  [VIRTIO_F_RING_PACKED, PORT_F_PACKED],
  [VIRTIO_NET_F_CSUM, PORT_F_CSUM],
  [VIRTIO_NET_F_HOST_TSO4, PORT_F_HOST_TSO4],
  [VIRTIO_NET_F_HOST_TSO6, PORT_F_HOST_TSO6],
  [VIRTIO_NET_F_HOST_ECN, PORT_F_HOST_ECN],
  [VIRTIO_NET_F_HOST_USO, PORT_F_HOST_USO],
  [VIRTIO_NET_F_GUEST_CSUM, PORT_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_TSO4, PORT_F_GUEST_TSO4],
  [VIRTIO_NET_F_GUEST_TSO6, PORT_F_GUEST_TSO6],
  [VIRTIO_NET_F_GUEST_ECN, PORT_F_GUEST_ECN],
  [VIRTIO_NET_F_GUEST_USO4, PORT_F_GUEST_USO4],
  [VIRTIO_NET_F_GUEST_USO6, PORT_F_GUEST_USO6],
];

/** Bytes of a frame beyond its packet: Ethernet header and one tag (IEEE 802.3, 3.2.7). */
const FRAME_OVERHEAD_BYTES = 14 + 4;

/** The device behind one port's back-end. */
export class PortDevice implements BackendDevice {
  readonly #parts: PortDeviceParts;
  readonly #at: number;
  readonly #running = new Map<number, RunningRing>();
  readonly #enabled = new Set<number>();
  #features = 0n;
  #isUp = false;
  /** Counts front-ends. */
  #visit = 0;
  /** The end of the preparation that is under way, maybe for an earlier front-end. */
  #preparing: Promise<void> | null = null;

  /** @param parts What it works on. */
  constructor(parts: PortDeviceParts) {
    this.#parts = parts;
    this.#at = portAt(parts.port);
    parts.state.set32(this.#at + PORT_BRIDGE, parts.bridge);
    this.#forgetFeatures();
  }

  /** The features that the front-end accepted. */
  get features(): bigint {
    return this.#features;
  }

  /** How many rings are started. */
  get runningRings(): number {
    return this.#running.size;
  }

  /** Whether frames can reach the guest. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Stops all running rings for as long as a change takes. */
  whileQuiet<T>(change: () => T): T {
    const { state, workers, port } = this.#parts;
    for (const index of this.#running.keys()) {
      state.store32(ringAt(ringNumber(port, index)) + RING_FLAGS, 0);
    }
    if (this.#running.size > 0) workers.quiesce();
    try {
      return change();
    } finally {
      for (const index of this.#running.keys()) this.#writeFlags(index, true);
      // A Worker that went to sleep meanwhile did not ask these rings for kicks.
      if (this.#running.size > 0) workers.wake();
    }
  }

  /** Takes over negotiated features. */
  setFeatures(features: bigint): void {
    const { state } = this.#parts;
    const isPacked = hasFeature(features, VIRTIO_F_RING_PACKED);
    if (this.#running.size > 0 && isPacked !== this.#isPacked) {
      // Its addresses were checked for the other format.
      throw new RequestRefused("a running ring cannot change its format");
    }
    let flags = 0;
    for (const [feature, flag] of PORT_FLAG_OF) if (hasFeature(features, feature)) flags |= flag;
    state.set32(this.#at + PORT_FLAGS, flags);
    state.set32(this.#at + PORT_HEADER_BYTES, headerLength(features));
    this.#features = features;
    this.#writeLog();
  }

  /** Has files sealed and pages allocated, on another thread. */
  prepareMemory(parts: readonly SharedPart[]): Promise<void> | null {
    const isWanted = this.#isWantedBy(this.#visit);
    const files = parts as readonly FilePart[];
    // What an earlier front-end left behind may be held up: it takes this port's only turn.
    if (this.#preparing === null) {
      const preparation = prepareParts(files, isWanted);
      return preparation === null ? null : this.#hold(preparation);
    }
    return this.#hold(
      this.#preparing.then(() => isWanted() ? prepareParts(files, isWanted) : null),
    );
  }

  /** Maps a new memory table; running rings go on in the new mapping. */
  setMemoryTable(regions: MemoryRegion[]): void {
    try {
      this.#changeMemory(() => this.#parts.memory.map(regions as RegionRequest[]));
    } finally {
      for (const region of regions) region.fd.close();
    }
  }

  /** Maps one region more. */
  addMemoryRegion(region: MemoryRegion): void {
    try {
      this.#changeMemory(() => this.#parts.memory.add(region as RegionRequest));
    } finally {
      region.fd.close();
    }
  }

  /** Unmaps a region; running rings in it are quarantined. */
  removeMemoryRegion(region: Omit<MemoryRegion, "fd">): void {
    this.#changeMemory(() => this.#parts.memory.remove(region));
  }

  /** Maps a new log of dirty pages. */
  setLog(log: DirtyLog): void {
    this.#parts.memory.setLog(log as DirtyLog & { fd: Fd });
    this.#writeLog();
  }

  /** Lets no frame through to the guest whose packet is larger. */
  setMtu(mtu: number): void {
    this.#parts.state.set32(this.#at + PORT_MAX_FRAME, mtu + FRAME_OVERHEAD_BYTES);
  }

  /** Tells every port that the station is here. */
  announce(address: Uint8Array): void {
    this.#parts.announce(address);
  }

  /** Starts a ring where the guest's own used index says it stands. */
  startRing(index: number, setup: RingSetup): void {
    const { state, workers, port } = this.#parts;
    const ring = ringNumber(port, index);
    const at = ringAt(ring);
    this.#writeAddresses(index, setup);
    const start = this.#startPosition(index, setup);
    this.#writeSetup(index, setup);
    state.set32(at + RING_NEXT_AVAIL, start);
    state.set32(at + RING_NEXT_USED, start);
    state.set32(at + RING_SIGNALLED_VALID, 0);
    this.#clearFault(index);
    state.set32(at + RING_LOCK, 0);
    this.#writeFlags(index, true);
    const isTransmitQueue = index % 2 === 1;
    const worker = isTransmitQueue ? workers.add(ring, setup.kick?.number ?? null) : null;
    this.#running.set(index, { setup, worker });
    this.#updateLink();
    // The guest may have missed an interrupt before we had this descriptor.
    if (setup.call !== null) signalEventFd(setup.call.number);
  }

  /** Stops a ring; afterwards nothing touches it. */
  stopRing(index: number): number {
    const { state, workers, port } = this.#parts;
    const running = this.#running.get(index);
    const ring = ringNumber(port, index);
    if (running !== undefined) {
      this.#running.delete(index);
      this.#writeFlags(index, false);
      this.#updateLink();
      if (running.worker === null) workers.quiesce();
      else workers.remove(ring, running.worker, running.setup.kick?.number ?? null);
      state.set32(ringAt(ring) + RING_CALL_FD, -1);
    }
    const position = state.get32(ringAt(ring) + RING_NEXT_AVAIL);
    // Everything taken is used, so a packed ring's two positions are one ("GET_VRING_BASE").
    return this.#isPacked ? (position | position << 16) >>> 0 : position;
  }

  /** Enables or disables a ring; when it returns, no frame of the old kind is under way. */
  setRingEnabled(index: number, isEnabled: boolean): void {
    if (isEnabled) this.#enabled.add(index);
    else this.#enabled.delete(index);
    if (!this.#running.has(index)) return;
    this.#writeFlags(index, true);
    this.#updateLink();
    this.#parts.workers.quiesce();
  }

  /** Refuses what is no eventfd: nothing else may be written by a Worker, or kept open by us. */
  requireEventFd(fd: NonNullable<RingSetup["call"]>): void {
    requireEventFd(fd);
  }

  /** Swaps the call eventfd of a running ring and signals the new one once. */
  setCall(index: number, call: RingSetup["call"]): void {
    const { state, port, workers } = this.#parts;
    requireEventFd(call);
    state.set32(ringAt(ringNumber(port, index)) + RING_CALL_FD, call?.number ?? -1);
    const running = this.#running.get(index);
    if (running !== undefined) {
      this.#running.set(index, { ...running, setup: { ...running.setup, call } });
    }
    workers.quiesce();
    if (call !== null) signalEventFd(call.number);
  }

  /** Ends the wait of a Worker that is stuck in writing one of the call eventfds. */
  relieveCalls(): void {
    const { state, port } = this.#parts;
    for (const index of this.#running.keys()) {
      const fd = state.getSigned32(ringAt(ringNumber(port, index)) + RING_CALL_FD);
      if (fd >= 0) relieveEventFd(fd);
    }
  }

  /**
   * Writes what control knows of the running rings into their records once more: a dead Worker, or
   * what killed it, may have spoilt them. Workers that use the rings see every word keep its value.
   */
  restoreRings(): void {
    for (const [index, { setup }] of this.#running) {
      this.#writeSetup(index, setup);
      this.#translateAnew(index, setup);
      // A used chain may have been published without the call that was due.
      if (setup.call !== null) signalEventFd(setup.call.number);
    }
  }

  /** Forgets the guest: its memory is unmapped, its addresses are no longer known. */
  detach(): void {
    const { state, memory, port } = this.#parts;
    this.#visit++;
    this.#enabled.clear();
    memory.unmap();
    this.#writeRegions();
    this.#forgetFeatures();
    state.add32(portAt(port) + PORT_GENERATION, 1);
  }

  #isWantedBy(visit: number): () => boolean {
    return () => visit === this.#visit;
  }

  // Remembers what is under way until it has ended, well or not.
  #hold(preparation: Promise<void | null>): Promise<void> {
    const end = preparation.then(() => {}, () => {}).then(() => {
      if (this.#preparing === end) this.#preparing = null;
    });
    this.#preparing = end;
    return preparation.then(() => {});
  }

  get #isPacked(): boolean {
    return hasFeature(this.#features, VIRTIO_F_RING_PACKED);
  }

  // Everything is completed in order, so guest memory says best what was done: by the used index of a
  // split ring, by the marks of a packed one. After a reconnect the base that the front-end remembers
  // can be older. It counts only where the marks are not ours; some front-ends fill its lower half only.
  #startPosition(index: number, { base, size }: RingSetup): number {
    const { state, port, memory } = this.#parts;
    const at = ringAt(ringNumber(port, index));
    if (!this.#isPacked) return memory.read16(state.get64(at + RING_USED) + 2n);
    const slot = base & 0x7fff;
    if (slot >= size) {
      throw new RequestRefused(`the base of ring ${index} is slot ${slot} of ${size}`);
    }
    const words = memory.words(state.get64(at + RING_DESC), ringParts(size, true).desc.bytes);
    return resumePacked({ words, size, isReceiveQueue: index % 2 === 0 }) ?? base & 0xffff;
  }

  // A front-end that accepts nothing has the shortest header and nothing else.
  #forgetFeatures(): void {
    this.#features = 0n;
    this.#parts.state.set32(this.#at + PORT_FLAGS, 0);
    this.#parts.state.set32(this.#at + PORT_HEADER_BYTES, headerLength(0n));
    this.#parts.state.set32(this.#at + PORT_MAX_FRAME, 0);
    this.#writeLog();
  }

  // Also after a failure: what counts is what is mapped now.
  #changeMemory(change: () => void): void {
    try {
      change();
    } finally {
      this.#writeRegions();
      for (const [index, { setup }] of this.#running) this.#translateAnew(index, setup);
    }
  }

  #writeFlags(index: number, isStarted: boolean): void {
    const flags = (isStarted ? RING_F_STARTED : 0) |
      (this.#enabled.has(index) ? RING_F_ENABLED : 0);
    this.#parts.state.store32(ringAt(ringNumber(this.#parts.port, index)) + RING_FLAGS, flags);
  }

  #writeRegions(): void {
    const { state, memory } = this.#parts;
    state.clear(this.#at + PORT_REGIONS, MAX_REGIONS * REGION_BYTES);
    memory.regions.forEach((region, i) => {
      const at = this.#at + PORT_REGIONS + i * REGION_BYTES;
      state.set64(at + REGION_GUEST, region.guestAddress);
      state.set64(at + REGION_SIZE, region.sizeBytes);
      state.set64(at + REGION_LOCAL, region.localAddress);
    });
    state.set32(this.#at + PORT_REGION_COUNT, memory.regions.length);
  }

  #writeLog(): void {
    const { state, memory } = this.#parts;
    const log = hasFeature(this.#features, VHOST_F_LOG_ALL) ? memory.log : null;
    state.set64(this.#at + PORT_LOG, log?.localAddress ?? 0n);
    state.set64(this.#at + PORT_LOG_BYTES, log?.sizeBytes ?? 0n);
  }

  #writeSetup(index: number, { size, call }: RingSetup): void {
    const { state, port } = this.#parts;
    const at = ringAt(ringNumber(port, index));
    state.set32(at + RING_SIZE, size);
    state.set32(at + RING_CALL_FD, call?.number ?? -1);
  }

  // A running ring whose memory went away is quarantined until the memory is back, or the ring is
  // stopped and started again: front-ends change a region by removing and adding it.
  #translateAnew(index: number, setup: RingSetup): void {
    const { state, port } = this.#parts;
    const at = ringAt(ringNumber(port, index));
    try {
      this.#writeAddresses(index, setup);
      if (state.get32(at + RING_FAULT) === FAULT_UNMAPPED) this.#clearFault(index);
    } catch (error) {
      if (!(error instanceof RequestRefused)) throw error;
      // What is wrong with the ring already does not go away with its memory, or come back with it.
      if (state.get32(at + RING_FAULT) !== 0) return;
      state.set32(at + RING_FAULT, FAULT_UNMAPPED);
      state.countOne(port, C_RING_FAULTS);
    }
  }

  #clearFault(index: number): void {
    const { state, port, onSound } = this.#parts;
    state.set32(ringAt(ringNumber(port, index)) + RING_FAULT, 0);
    onSound(index);
  }

  #writeAddresses(index: number, setup: RingSetup): void {
    const { state, port } = this.#parts;
    const at = ringAt(ringNumber(port, index));
    const place = (what: string, address: bigint, bytes: number, align: number): bigint => {
      const local = this.#parts.memory.translate(address, BigInt(bytes));
      if (local === null) {
        throw new RequestRefused(`the ${what} of ring ${index} lies in no memory region`);
      }
      // An aligned front-end address in a region that is not: a Worker's atomic access would trap.
      if (local % BigInt(align) === 0n) return local;
      throw new RequestRefused(`the ${what} of ring ${index} is not aligned in guest memory`);
    };
    const { descAddress, availAddress, usedAddress } = setup;
    const { desc: table, avail: driver, used: device } = ringParts(setup.size, this.#isPacked);
    const desc = place("descriptor table", descAddress, table.bytes, table.align);
    const avail = place("driver area", availAddress, driver.bytes, driver.align);
    const used = place("device area", usedAddress, device.bytes, device.align);
    state.set64(at + RING_DESC, desc);
    state.set64(at + RING_AVAIL, avail);
    state.set64(at + RING_USED, used);
  }

  // Which receive queues can be filled decides where frames go and whether the port is up.
  #updateLink(): void {
    const { state, members, port, bridge } = this.#parts;
    let queues = 0;
    for (let index = 0; index < RINGS_PER_PORT; index += 2) {
      if (!this.#running.has(index) || !this.#enabled.has(index)) continue;
      state.set8(this.#at + PORT_RX_PAIRS + queues, index >> 1);
      queues++;
    }
    state.store32(this.#at + PORT_RX_COUNT, queues);
    const isUp = queues > 0;
    if (isUp === this.#isUp) return;
    this.#isUp = isUp;
    if (isUp) members.add(bridge, port);
    else members.remove(bridge, port);
    this.#parts.onLink(isUp);
  }
}

function requireEventFd(descriptor: RingSetup["call"]): void {
  if (descriptor === null || prepareEventFd(descriptor)) return;
  throw new RequestRefused("the descriptor is not an eventfd");
}
