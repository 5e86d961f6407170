/**
 * A switch without threads and sockets that drives the rings of a made-up back-end, which does what a
 * test tells it to:
 *
 *     guest ─ switch ─ (driver) shared memory (device) ─ test
 *
 * @module
 */
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import type { PortCounters } from "../../src/control/counters.ts";
import { DRIVER_RING_SIZE } from "../../src/control/driver_rings.ts";
import { FrontendDevice } from "../../src/control/frontend_device.ts";
import { PortMemory } from "../../src/control/port_memory.ts";
import { loadDataplane } from "../../src/dataplane/dataplane.ts";
import { ringAt, ringNumber } from "../../src/dataplane/state.ts";
import {
  RING_NEXT_AVAIL,
  RING_NEXT_USED,
  RING_PRIVATE,
  RING_SLOT_BYTES,
  RING_SLOTS,
} from "../../src/dataplane/state_layout.ts";
import { hasFeature, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import { type DeviceRing, PackedDeviceRing, SplitDeviceRing } from "./device_ring.ts";
import type { GuestOptions, GuestSim } from "./guest_sim.ts";
import { JOINT, Side } from "./joined_sim.ts";

const MODULES = loadDataplane();

/** What the switch knows of a ring that it drives. */
export interface DriverView {
  /** Where the first slot lies. */
  readonly slots: number;
  /** Bytes of a slot. */
  readonly slotBytes: number;
  /** RING_NEXT_AVAIL. */
  readonly nextAvail: number;
  /** RING_NEXT_USED. */
  readonly nextUsed: number;
  /** By ring entry, the slot that is noted for it. */
  readonly noted: Uint16Array;
  /** By slot, whether the back-end has it. */
  readonly owners: Uint8Array;
}

/** A range of addresses. */
export interface Range {
  /** Its first byte. */
  readonly start: number;
  /** The first one behind it. */
  readonly end: number;
}

/** The switch. */
export class DriverSim implements Disposable {
  /** The features of the connection of now. */
  readonly features: bigint;
  readonly #side: Side;
  readonly #memory = new PortMemory();
  readonly #device: FrontendDevice;
  #rings: readonly DeviceRing[] = [];

  private constructor(
    modules: Awaited<typeof MODULES>,
    features: bigint,
    guest: GuestOptions,
  ) {
    this.features = features;
    this.#side = new Side(modules, guest, this.#memory.memory);
    const { state } = this.#side;
    this.#device = new FrontendDevice({
      ...{ port: JOINT, bridge: 0, queuePairs: 1, state, memory: this.#memory },
      workers: { add: () => 0, remove: () => {}, quiesce: () => {} },
      members: new BridgeMembers(state),
    });
    this.connect();
  }

  /** Makes it. */
  static async create(features: bigint, guest: GuestOptions = {}): Promise<DriverSim> {
    return new DriverSim(await MODULES, features, guest);
  }

  /** Begins with fresh rings, as after a reconnect. */
  connect(): void {
    this.#device.stop();
    const { rings } = this.#device.prepare(this.features);
    const isPacked = hasFeature(this.features, VIRTIO_F_RING_PACKED);
    const Ring = isPacked ? PackedDeviceRing : SplitDeviceRing;
    this.#rings = rings.map(({ descAddress, availAddress, usedAddress }) => {
      const [desc, avail, used] = [descAddress, availAddress, usedAddress].map(Number);
      const places = { desc: desc!, avail: avail!, used: used!, end: 0 };
      return new Ring({ view: this.view, places, size: DRIVER_RING_SIZE });
    });
    this.#device.start();
  }

  /** The guest. */
  get guest(): GuestSim {
    return this.#side.guest;
  }

  /** The ring that the back-end fills with frames for the switch. */
  get receive(): DeviceRing {
    return this.#rings[0]!;
  }

  /** The ring that the switch fills with frames for the back-end. */
  get transmit(): DeviceRing {
    return this.#rings[1]!;
  }

  /** All of the port's memory. */
  get view(): DataView {
    return new DataView(this.#memory.memory.buffer);
  }

  /** All of the port's memory. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.#memory.memory.buffer);
  }

  /** What the back-end has, and what it never sees. */
  get ranges(): { readonly shared: Range; readonly hidden: Range } {
    const [shared, hidden] = this.#memory.regions.map(({ localAddress, sizeBytes }) => ({
      start: Number(localAddress),
      end: Number(localAddress + sizeBytes),
    }));
    return { shared: shared!, hidden: hidden! };
  }

  /** What the switch knows of a ring, by vring index. */
  known(index: number): DriverView {
    const { state } = this.#side;
    const at = ringAt(ringNumber(JOINT, index ^ 1));
    const hidden = Number(state.get64(at + RING_PRIVATE));
    const owners = hidden + 2 * DRIVER_RING_SIZE;
    return {
      slots: Number(state.get64(at + RING_SLOTS)),
      slotBytes: state.get32(at + RING_SLOT_BYTES),
      nextAvail: state.get32(at + RING_NEXT_AVAIL),
      nextUsed: state.get32(at + RING_NEXT_USED),
      noted: new Uint16Array(this.#memory.memory.buffer, hidden, DRIVER_RING_SIZE).slice(),
      owners: this.bytes.slice(owners, owners + DRIVER_RING_SIZE),
    };
  }

  /** The counters of a port. */
  counters(port: number): PortCounters {
    return this.#side.counters(port);
  }

  /** One turn. */
  turn(): number {
    return this.#side.loop.turn();
  }

  /** Turns until nothing is left to do. */
  settle(): void {
    while (this.turn() > 0 || this.turn() > 0);
  }

  /** Why a ring cannot be used, or null. */
  fault(): ReturnType<FrontendDevice["fault"]> {
    return this.#device.fault();
  }

  /** Puts a frame into the next free receive buffer, header included; the driver is not told yet. */
  fill(bytes: Uint8Array, length: number = bytes.length): number {
    const buffer = this.receive.take();
    if (buffer === null) throw new RangeError("Cannot fill: no buffer");
    this.bytes.set(bytes, buffer.address);
    this.receive.use(buffer.id, length);
    return buffer.id;
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.#device.stop();
    this.#memory[Symbol.dispose]();
  }
}
