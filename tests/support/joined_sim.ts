/**
 * Two switches without threads and sockets, joined: one drives the rings whose back-end the other is.
 * Both data planes are the real ones and work on the same memory.
 *
 *     sender ─ near switch ─ (driver) shared memory (device) ─ far switch ─ receiver
 *
 * @module
 */
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import { type PortCounters, readCounters } from "../../src/control/counters.ts";
import { DRIVER_RING_SIZE } from "../../src/control/driver_rings.ts";
import { FrontendDevice } from "../../src/control/frontend_device.ts";
import { PortMemory } from "../../src/control/port_memory.ts";
import { Dataplane, loadDataplane } from "../../src/dataplane/dataplane.ts";
import { ringNumber, State, workerAt } from "../../src/dataplane/state.ts";
import {
  FDB_MASK,
  FDB_SEED,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
} from "../../src/dataplane/state_layout.ts";
import { PollLoop } from "../../src/poll/poll_loop.ts";
import { hasFeature, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import type { RingPlaces } from "../../src/virtio/layouts.ts";
import { WRAP_COUNTER } from "../../src/virtio/packed_layouts.ts";
import { type GuestOptions, GuestSim } from "./guest_sim.ts";
import { NO_KICKS } from "./kicks.ts";
import { PortRecords } from "./port_records.ts";

const MODULES = loadDataplane();
/** The guest's port on its switch, and the port that joins the switches. */
export const GUEST = 0;
/** See {@linkcode GUEST}. */
export const JOINT = 1;

/** One of the two switches. */
export class Side {
  /** Its state memory. */
  readonly state: State = new State();
  /** Its guest. */
  readonly guest: GuestSim;
  /** What polls its rings. */
  readonly loop: PollLoop;
  /** Rings whose guest or back-end was to be notified. */
  readonly signals: number[] = [];

  /**
   * @param modules The data plane.
   * @param guest What its guest is made of.
   * @param joint The memory of the port that joins it to something else.
   */
  constructor(
    modules: Awaited<ReturnType<typeof loadDataplane>>,
    guest: GuestOptions,
    joint: WebAssembly.Memory,
  ) {
    this.state.set32(FDB_MASK, 1023);
    this.state.set64(FDB_SEED, 0x9e37_79b9_7f4a_7c15n);
    new BridgeMembers(this.state).setAgeing(0, 300);
    this.guest = new GuestSim(this.state, GUEST, guest);
    this.loop = new PollLoop({
      ...{ worker: 0, state: this.state, mode: "busy", kicks: NO_KICKS },
      dataplane: new Dataplane(modules, this.state.memory, [this.guest.memory.memory, joint]),
      signal: (fd) => this.signals.push(fd),
    });
    const at = workerAt(0);
    [GUEST, JOINT].forEach((port, i) => this.state.set16(at + W_LIST + 2 * i, ringNumber(port, 1)));
    this.state.set32(at + W_LIST_COUNT, 2);
    this.state.add32(at + W_LIST_GENERATION, 1);
  }

  /** The counters of a port. */
  counters(port: number): PortCounters {
    return readCounters(this.state, port, 1);
  }
}

/** The two switches. */
export class JoinedSim implements Disposable {
  /** The switch that drives. */
  readonly near: Side;
  /** The switch that is the back-end. */
  readonly far: Side;
  /** Where the shared rings lie, by vring index. */
  readonly places: readonly RingPlaces[];
  /** The memory that both work on. */
  readonly memory = new PortMemory();
  readonly #device: FrontendDevice;

  private constructor(
    modules: Awaited<typeof MODULES>,
    features: bigint,
    guests: readonly [GuestOptions, GuestOptions],
  ) {
    this.near = new Side(modules, guests[0], this.memory.memory);
    this.far = new Side(modules, guests[1], this.memory.memory);
    const { state } = this.near;
    this.#device = new FrontendDevice({
      ...{ port: JOINT, bridge: 0, queuePairs: 1, state, memory: this.memory },
      workers: { add: () => 0, remove: () => {}, quiesce: () => {} },
      members: new BridgeMembers(state),
    });
    const { regions, rings } = this.#device.prepare(features);
    const records = new PortRecords(this.far.state, JOINT, 0);
    records.setFeatures(features);
    records.setRegions(regions.map(({ guestAddress, sizeBytes }) => ({
      ...{ guestAddress, sizeBytes: Number(sizeBytes), localAddress: Number(guestAddress) },
    })));
    this.places = rings.map(({ descAddress, availAddress, usedAddress }) => ({
      desc: Number(descAddress),
      avail: Number(availAddress),
      used: Number(usedAddress),
      end: 0,
    }));
    const index = hasFeature(features, VIRTIO_F_RING_PACKED) ? WRAP_COUNTER : 0;
    this.places.forEach((places, i) => {
      records.setRingEnabled(i, true);
      records.startRing(i, { size: DRIVER_RING_SIZE, places, index, callFd: i });
    });
    this.#device.start();
  }

  /** Makes both, joined by rings with such features. */
  static async create(
    features: bigint,
    guests: readonly [GuestOptions, GuestOptions],
  ): Promise<JoinedSim> {
    return new JoinedSim(await MODULES, features, guests);
  }

  /** Turns of both until nothing is left to do. */
  settle(): void {
    const turn = () => this.near.loop.turn() + this.far.loop.turn();
    while (turn() > 0 || turn() > 0);
  }

  /** Why a ring of ours cannot be used, or null. */
  fault(): ReturnType<FrontendDevice["fault"]> {
    return this.#device.fault();
  }

  /** Stops both. */
  [Symbol.dispose](): void {
    this.#device.stop();
    this.memory[Symbol.dispose]();
  }
}
