/**
 * Writes a port's records in state memory as `PortDevice` (src/control/port_device.ts) does, for
 * guests that have no front-end.
 *
 * @module
 */
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import { portAt, ringAt, ringNumber, type State } from "../../src/dataplane/state.ts";
import {
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
  PORT_HEADER_BYTES,
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
} from "../../src/dataplane/state_layout.ts";
import {
  hasFeature,
  headerLength,
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
} from "../../src/virtio/features.ts";
import type { RingPlaces } from "../../src/virtio/layouts.ts";
import type { PlacedRegion } from "./guest_memory.ts";

/** How a ring starts. */
export interface RingStart {
  /** Entries. */
  readonly size: number;
  /** Where it lies in the port's memory. */
  readonly places: RingPlaces;
  /** Where both sides stand: an index; in a packed ring, a slot and in bit 15 the wrap counter. */
  readonly index: number;
  /** What the poll loop signals when the guest must be called; -1 for nothing. */
  readonly callFd: number;
}

/** What the data plane must know of the features. */
const FLAGS: readonly (readonly [feature: number, flag: number])[] = [
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

/** The records of one port. */
export class PortRecords {
  readonly #state: State;
  readonly #members: BridgeMembers;
  readonly #port: number;
  readonly #at: number;
  readonly #started = new Set<number>();
  readonly #enabled = new Set<number>();
  #isUp = false;

  /**
   * @param state The state memory.
   * @param port The port's number.
   * @param bridge Its bridge.
   */
  constructor(state: State, port: number, readonly bridge: number) {
    this.#state = state;
    this.#members = new BridgeMembers(state);
    this.#port = port;
    this.#at = portAt(port);
    state.set32(this.#at + PORT_BRIDGE, bridge);
  }

  /** Takes over negotiated features. */
  setFeatures(features: bigint): void {
    let flags = 0;
    for (const [feature, flag] of FLAGS) if (hasFeature(features, feature)) flags |= flag;
    this.#state.set32(this.#at + PORT_FLAGS, flags);
    this.#state.set32(this.#at + PORT_HEADER_BYTES, headerLength(features));
  }

  /** Takes over a memory table. */
  setRegions(regions: readonly PlacedRegion[]): void {
    this.#state.clear(this.#at + PORT_REGIONS, MAX_REGIONS * REGION_BYTES);
    regions.forEach((region, i) => {
      const at = this.#at + PORT_REGIONS + i * REGION_BYTES;
      this.#state.set64(at + REGION_GUEST, region.guestAddress);
      this.#state.set64(at + REGION_SIZE, BigInt(region.sizeBytes));
      this.#state.set64(at + REGION_LOCAL, BigInt(region.localAddress));
    });
    this.#state.set32(this.#at + PORT_REGION_COUNT, regions.length);
  }

  /** Starts a ring. */
  startRing(index: number, start: RingStart): void {
    const at = ringAt(ringNumber(this.#port, index));
    this.#state.set64(at + RING_DESC, BigInt(start.places.desc));
    this.#state.set64(at + RING_AVAIL, BigInt(start.places.avail));
    this.#state.set64(at + RING_USED, BigInt(start.places.used));
    this.#state.set32(at + RING_SIZE, start.size);
    this.#state.set32(at + RING_CALL_FD, start.callFd);
    this.#state.set32(at + RING_NEXT_AVAIL, start.index);
    this.#state.set32(at + RING_NEXT_USED, start.index);
    this.#state.set32(at + RING_SIGNALLED_VALID, 0);
    this.#state.set32(at + RING_FAULT, 0);
    this.#state.set32(at + RING_LOCK, 0);
    this.#started.add(index);
    this.#writeFlags(index);
    this.#updateLink();
  }

  /** Stops a ring. */
  stopRing(index: number): void {
    this.#started.delete(index);
    this.#writeFlags(index);
    this.#updateLink();
  }

  /** Enables or disables a ring. */
  setRingEnabled(index: number, isEnabled: boolean): void {
    if (isEnabled) this.#enabled.add(index);
    else this.#enabled.delete(index);
    this.#writeFlags(index);
    this.#updateLink();
  }

  #writeFlags(index: number): void {
    const flags = (this.#started.has(index) ? RING_F_STARTED : 0) |
      (this.#enabled.has(index) ? RING_F_ENABLED : 0);
    this.#state.store32(ringAt(ringNumber(this.#port, index)) + RING_FLAGS, flags);
  }

  #updateLink(): void {
    const ready = [...this.#started].filter((index) => index % 2 === 0 && this.#enabled.has(index))
      .toSorted((a, b) => a - b);
    ready.forEach((index, i) => this.#state.set8(this.#at + PORT_RX_PAIRS + i, index >> 1));
    this.#state.store32(this.#at + PORT_RX_COUNT, ready.length);
    const isUp = ready.length > 0;
    if (isUp === this.#isUp) return;
    this.#isUp = isUp;
    if (isUp) this.#members.add(this.bridge, this.#port);
    else this.#members.remove(this.bridge, this.#port);
  }
}
