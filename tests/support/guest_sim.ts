/**
 * A switch without threads, sockets and descriptors, and guests without machines: state memory and
 * data plane are the real ones, a guest is a WebAssembly memory with driver virtqueues in it, split
 * or packed as its features say.
 *
 * Nothing happens between two calls of {@linkcode SwitchSim.turn}, so a test decides the order.
 *
 * @module
 */
import { concatenate } from "./bytes.ts";
import { BridgeMembers } from "../../src/control/bridge_members.ts";
import { type PortCounters, readCounters } from "../../src/control/counters.ts";
import { Dataplane, loadDataplane } from "../../src/dataplane/dataplane.ts";
import { ringAt, ringNumber, State, workerAt } from "../../src/dataplane/state.ts";
import {
  CLOCK_SECONDS,
  FDB_MASK,
  FDB_SEED,
  RING_FAULT,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
} from "../../src/dataplane/state_layout.ts";
import { type Kicks, PollLoop } from "../../src/poll/poll_loop.ts";
import type { DriverRing } from "../../src/virtio/driver_ring.ts";
import { type Buffer, DriverVirtqueue, type UsedChain } from "../../src/virtio/driver_virtqueue.ts";
import {
  featureSet,
  hasFeature,
  headerLength,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import { placeRing, type RingPlaces } from "../../src/virtio/layouts.ts";
import { PackedDriverVirtqueue } from "../../src/virtio/packed_driver_virtqueue.ts";
import { placePackedRing, WRAP_COUNTER } from "../../src/virtio/packed_layouts.ts";
import { GuestMemory, type GuestRegion } from "./guest_memory.ts";
import { NO_KICKS } from "./kicks.ts";
import { PortRecords } from "./port_records.ts";
import { RawPackedRing } from "./raw_packed_ring.ts";
import { RawRing } from "./raw_ring.ts";

/** What a guest is made of; everything has a default. */
export interface GuestOptions {
  /** What was negotiated; VIRTIO_F_VERSION_1 alone unless told otherwise. */
  readonly features?: bigint;
  /** Its bridge; 0. */
  readonly bridge?: number;
  /** Queue pairs; 1. */
  readonly pairs?: number;
  /** Entries of each ring; 256. */
  readonly queueSize?: number;
  /** Receive buffers posted to each queue at the start; 64, or what fits. */
  readonly buffers?: number;
  /** Bytes of such a buffer, header included; 2048. */
  readonly bufferBytes?: number;
  /** Bytes for what is sent; 256 KiB. */
  readonly sendBytes?: number;
  /** Where the main region starts; 4 GiB, so that 32 bits are not enough. */
  readonly guestAddress?: bigint;
  /** Memory besides the main region. */
  readonly moreRegions?: readonly GuestRegion[];
}

/** What the switch is made of. */
export interface SwitchOptions {
  /** Poll loops; rings are dealt out to them. 1. */
  readonly workers?: number;
  /** Sets of the forwarding database, a power of two; 1024. */
  readonly fdbSets?: number;
  /** How long addresses live; 300. */
  readonly ageingSeconds?: number;
  /** Where the loops hear of kicks; nobody kicks unless told otherwise. */
  readonly kicks?: Kicks;
}

/** How a frame is put into the queue. */
export interface SendOptions {
  /** Queue pair; 0. */
  readonly pair?: number;
  /** Bytes of the buffers before the last one, which takes the rest. */
  readonly pieces?: readonly number[];
  /** The virtio-net header; zeros. */
  readonly header?: Uint8Array;
  /** Whether the chain is one descriptor that points to a table. */
  readonly isIndirect?: boolean;
}

/** A frame as the guest got it. */
export interface ReceivedFrame {
  /** The virtio-net header. */
  readonly header: Uint8Array;
  /** The frame. */
  readonly frame: Uint8Array;
  /** The lengths of the used elements that hold it. */
  readonly lengths: readonly number[];
}

/** Used chains of a receive queue with what is in them. */
interface ReceivedChain extends UsedChain {
  readonly bytes: Uint8Array;
}

/** One queue pair of a guest. */
interface QueuePair {
  readonly receive: DriverRing;
  readonly transmit: DriverRing;
}

const MODULES = loadDataplane();
const MAIN_REGION = 0x1_0000_0000n;
const RING_ALIGN_BYTES = 64;
/** Between buffers; a write past a buffer's end is seen there. */
const GUARD_BYTES = 64;
const GUARD = 0xa5;

/** A switch whose turns are called by hand. */
export class SwitchSim {
  /** The state memory. */
  readonly state = new State();
  /** The guests by port number. */
  readonly guests: readonly GuestSim[];
  /** The poll loops. */
  readonly loops: readonly PollLoop[];
  /** Every call of a guest since {@linkcode takeCalls}, as ring numbers. */
  #calls: number[] = [];

  private constructor(
    modules: Awaited<typeof MODULES>,
    guests: readonly GuestOptions[],
    { workers = 1, fdbSets = 1024, ageingSeconds = 300, kicks = NO_KICKS }: SwitchOptions,
  ) {
    this.state.set32(FDB_MASK, fdbSets - 1);
    this.state.set64(FDB_SEED, 0x9e37_79b9_7f4a_7c15n);
    const members = new BridgeMembers(this.state);
    for (const { bridge = 0 } of guests) members.setAgeing(bridge, ageingSeconds);
    this.guests = guests.map((options, port) => new GuestSim(this.state, port, options));
    const memories = this.guests.map(({ memory }) => memory.memory);
    this.loops = Array.from({ length: workers }, (_, worker) =>
      new PollLoop({
        ...{ worker, state: this.state, mode: "busy" },
        dataplane: new Dataplane(modules, this.state.memory, memories),
        signal: (ring) => this.#calls.push(ring),
        kicks,
      }));
    this.#dealRings(workers);
  }

  /** Makes a switch with one port per guest. */
  static async create(
    guests: readonly GuestOptions[],
    options: SwitchOptions = {},
  ): Promise<SwitchSim> {
    return new SwitchSim(await MODULES, guests, options);
  }

  /** One turn of every loop; returns how many chains were taken. */
  turn(): number {
    return this.loops.reduce((taken, loop) => taken + loop.turn(), 0);
  }

  /** Turns until nothing is left to do: only a turn behind an idle one looks at every ring. */
  settle(): void {
    while (this.turn() > 0 || this.turn() > 0);
  }

  /** Advances the clock that ageing goes by. */
  advanceClock(seconds: number): void {
    this.state.add32(CLOCK_SECONDS, seconds);
  }

  /** The counters of a port. */
  counters(port: number): PortCounters {
    return readCounters(this.state, port, this.loops.length);
  }

  /** Why a ring is quarantined; 0 when it is not. */
  fault(port: number, index: number): number {
    return this.state.get32(ringAt(ringNumber(port, index)) + RING_FAULT);
  }

  /** The calls since the last time, as ring numbers. */
  takeCalls(): number[] {
    const calls = this.#calls;
    this.#calls = [];
    return calls;
  }

  #dealRings(workers: number): void {
    const lists: number[][] = Array.from({ length: workers }, () => []);
    const rings = this.guests.flatMap(({ transmitRings }) => transmitRings);
    rings.forEach((ring, i) => lists[i % workers]!.push(ring));
    lists.forEach((list, worker) => {
      const at = workerAt(worker);
      list.forEach((ring, i) => this.state.set16(at + W_LIST + i * 2, ring));
      this.state.set32(at + W_LIST_COUNT, list.length);
      this.state.add32(at + W_LIST_GENERATION, 1);
    });
  }
}

/** A guest. */
export class GuestSim {
  /** Its RAM. */
  readonly memory: GuestMemory;
  /** Its records in state memory. */
  readonly records: PortRecords;
  /** Its queue pairs. */
  readonly pairs: readonly QueuePair[];
  /** Bytes of the virtio-net header. */
  readonly headerBytes: number;
  readonly #port: number;
  readonly #options: Required<GuestOptions>;
  readonly #places: readonly RingPlaces[];
  /** What each posted chain consists of, by token. */
  readonly #posted = new Map<number, readonly Buffer[]>();
  readonly #sendStart: number;
  #sendNext: number;
  #nextToken = 0;

  /**
   * @param state The state memory.
   * @param port The port's number.
   * @param options What the guest is made of.
   */
  constructor(state: State, port: number, options: GuestOptions) {
    this.#port = port;
    this.#options = withDefaults(options);
    const { features, bridge, pairs, buffers, guestAddress, moreRegions } = this.#options;
    this.headerBytes = headerLength(features);
    const plan = planMain(this.#options);
    this.memory = new GuestMemory([
      { guestAddress, sizeBytes: plan.end },
      ...moreRegions,
    ]);
    const local = this.memory.regions[0]!.localAddress;
    this.#places = plan.rings.map((start) => place(this.#options)(local + start));
    this.#sendStart = this.#sendNext = plan.send;
    this.memory.bytes.fill(GUARD, local + plan.receive, local + plan.send);
    this.pairs = Array.from({ length: pairs }, (_, pair) => ({
      receive: this.#queue(2 * pair),
      transmit: this.#queue(2 * pair + 1),
    }));
    this.records = new PortRecords(state, port, bridge);
    this.records.setFeatures(features);
    this.records.setRegions(this.memory.regions);
    this.#places.forEach((_, index) => {
      this.records.setRingEnabled(index, true);
      this.startRing(index);
    });
    for (let pair = 0; pair < pairs; pair++) {
      for (let i = 0; i < buffers; i++) this.#postSlot(pair, plan.receive, pair * buffers + i);
      this.pairs[pair]!.receive.publish();
    }
  }

  /** The numbers of its transmit rings. */
  get transmitRings(): number[] {
    return this.pairs.map((_, pair) => ringNumber(this.#port, 2 * pair + 1));
  }

  /** Whether its rings are packed. */
  get isPacked(): boolean {
    return hasFeature(this.#options.features, VIRTIO_F_RING_PACKED);
  }

  /** Starts a ring, also anew, where both sides agree that nothing was done yet. */
  startRing(index: number, at = this.isPacked ? WRAP_COUNTER : 0): void {
    this.records.startRing(index, {
      size: this.#options.queueSize,
      places: this.#places[index]!,
      index: at,
      callFd: ringNumber(this.#port, index),
    });
  }

  /** The words of a ring: 0 to receive, 1 to transmit, and so on. */
  raw(index: number): RawRing {
    const view = new DataView(this.memory.memory.buffer);
    return new RawRing(view, this.#places[index]!, this.#options.queueSize);
  }

  /** The words of a packed ring. */
  rawPacked(index: number): RawPackedRing {
    const view = new DataView(this.memory.memory.buffer);
    return new RawPackedRing(view, this.#places[index]!, this.#options.queueSize);
  }

  /** Takes bytes of the main region for something to be sent; it goes round when it is full. */
  allocate(bytes: number): bigint {
    const end = this.#sendStart + this.#options.sendBytes;
    if (this.#sendNext + bytes > end) this.#sendNext = this.#sendStart;
    const offset = this.#sendNext;
    if (offset + bytes > end) throw new RangeError(`Cannot send ${bytes} bytes: no room`);
    this.#sendNext = offset + Math.ceil(bytes / 16) * 16;
    return this.#options.guestAddress + BigInt(offset);
  }

  /**
   * Sends a frame.
   *
   * @returns Whether the switch must be kicked.
   */
  send(frame: Uint8Array, options: SendOptions = {}): boolean {
    const { pair = 0, pieces = [], isIndirect = false } = options;
    const bytes = new Uint8Array(this.headerBytes + frame.length);
    bytes.set(options.header ?? [], 0);
    bytes.set(frame, this.headerBytes);
    const buffers = this.#store(bytes, pieces);
    return isIndirect ? this.#sendTable(buffers, pair) : this.sendBuffers(buffers, pair);
  }

  /** Sends what already lies in memory. */
  sendBuffers(buffers: readonly Buffer[], pair = 0): boolean {
    const { transmit } = this.pairs[pair]!;
    if (!transmit.add(buffers, this.#nextToken++)) throw new RangeError("Cannot send: queue full");
    return transmit.publish();
  }

  /** Takes back what was sent; returns the used chains. */
  takeSent(pair = 0): UsedChain[] {
    return takeAll(this.pairs[pair]!.transmit);
  }

  /** Posts one receive chain of buffers that already have a place. */
  post(buffers: readonly Buffer[], pair = 0): boolean {
    const { receive } = this.pairs[pair]!;
    if (!receive.add(buffers, this.#nextToken)) throw new RangeError("Cannot post: queue full");
    this.#posted.set(this.#nextToken++, buffers);
    return receive.publish();
  }

  /** Posts one receive chain; returns its buffers, one for each length, apart from each other. */
  postNew(lengths: readonly number[], pair = 0): Buffer[] {
    const buffers = lengths.map((length) => {
      const address = this.allocate(length + GUARD_BYTES);
      this.memory.bytes.fill(GUARD, ...this.#localRange(address, length + GUARD_BYTES));
      return { address: Number(address), length, isWritable: true };
    });
    this.post(buffers, pair);
    return buffers;
  }

  /** Takes used receive chains as they are. */
  takeChains(pair = 0): ReceivedChain[] {
    return takeAll(this.pairs[pair]!.receive).map((used) => {
      const buffers = this.#posted.get(used.token)!;
      return { ...used, bytes: this.#gather(buffers, used.length) };
    });
  }

  /** Takes received frames and posts their buffers again. */
  receive(pair = 0): ReceivedFrame[] {
    const frames: ReceivedFrame[] = [];
    const chains = this.takeChains(pair);
    for (let i = 0; i < chains.length;) {
      const header = chains[i]!.bytes.slice(0, this.headerBytes);
      // VIRTIO 1.2, 5.1.6.4: how many buffers the frame takes, if the header has the field.
      const count = header.length === 12 ? header[10]! | header[11]! << 8 : 1;
      // A chain that came back empty holds no frame (answer R1).
      const parts = chains.slice(i, i + Math.max(1, count));
      const bytes = concatenate(parts.map((part) => part.bytes));
      const lengths = parts.map(({ length }) => length);
      if (lengths[0]! > 0) frames.push({ header, frame: bytes.slice(this.headerBytes), lengths });
      i += parts.length;
    }
    for (const { token } of chains) this.post(this.#posted.get(token)!, pair);
    for (const { token } of chains) this.#posted.delete(token);
    return frames;
  }

  /** Whether nothing was written outside the regions and between the buffers posted at the start. */
  get isCanaryAlive(): boolean {
    return this.memory.isCanaryAlive && this.#areGuardsAlive();
  }

  #areGuardsAlive(): boolean {
    const { pairs, buffers, bufferBytes } = this.#options;
    const start = this.memory.regions[0]!.localAddress + planMain(this.#options).receive;
    for (let slot = 0; slot < pairs * buffers; slot++) {
      const guard = start + slot * (bufferBytes + GUARD_BYTES) + bufferBytes;
      for (let i = 0; i < GUARD_BYTES; i++) {
        if (this.memory.bytes[guard + i] !== GUARD) return false;
      }
    }
    return true;
  }

  #queue(index: number): DriverRing {
    const { localAddress, guestAddress } = this.memory.regions[0]!;
    const Virtqueue = this.isPacked ? PackedDriverVirtqueue : DriverVirtqueue;
    return new Virtqueue({
      memory: this.memory.memory.buffer,
      memoryAddress: Number(guestAddress) - localAddress,
      size: this.#options.queueSize,
      places: this.#places[index]!,
      hasEventIndex: hasFeature(this.#options.features, VIRTIO_F_EVENT_IDX),
    });
  }

  #postSlot(pair: number, start: number, slot: number): void {
    const { bufferBytes, guestAddress } = this.#options;
    const address = Number(guestAddress) + start + slot * (bufferBytes + GUARD_BYTES);
    const buffers = [{ address, length: bufferBytes, isWritable: true }];
    this.pairs[pair]!.receive.add(buffers, this.#nextToken);
    this.#posted.set(this.#nextToken++, buffers);
  }

  // Puts bytes into buffers of the given lengths and one for the rest.
  #store(bytes: Uint8Array, pieces: readonly number[]): Buffer[] {
    const buffers: Buffer[] = [];
    let done = 0;
    for (const piece of [...pieces, bytes.length]) {
      const part = bytes.subarray(done, done + piece);
      if (part.length === 0) break;
      const address = this.allocate(part.length);
      this.memory.bytes.set(part, this.memory.localOf(address));
      buffers.push({ address: Number(address), length: part.length, isWritable: false });
      done += part.length;
    }
    return buffers;
  }

  #sendTable(buffers: readonly Buffer[], pair: number): boolean {
    const { transmit } = this.pairs[pair]!;
    const table = this.memory.localOf(this.allocate(buffers.length * 16));
    transmit.addIndirect(buffers, this.#nextToken++, table);
    return transmit.publish();
  }

  #gather(buffers: readonly Buffer[], length: number): Uint8Array {
    const parts: Uint8Array[] = [];
    for (const buffer of buffers) {
      const part = Math.min(length, buffer.length);
      parts.push(this.memory.read(BigInt(buffer.address), part));
      length -= part;
    }
    return concatenate(parts);
  }

  #localRange(address: bigint, length: number): [number, number] {
    const from = this.memory.localOf(address);
    return [from, from + length];
  }
}

/** Offsets in the main region: rings, receive buffers, room for what is sent. */
interface MainPlan {
  readonly rings: readonly number[];
  readonly receive: number;
  readonly send: number;
  readonly end: number;
}

function planMain(options: Required<GuestOptions>): MainPlan {
  const { pairs, buffers, bufferBytes, sendBytes } = options;
  const ringBytes = roundUp(place(options)(0).end, RING_ALIGN_BYTES);
  const rings = Array.from({ length: 2 * pairs }, (_, i) => i * ringBytes);
  const receive = 2 * pairs * ringBytes;
  const slots = pairs * buffers * (bufferBytes + GUARD_BYTES);
  const send = roundUp(receive + slots, RING_ALIGN_BYTES);
  return { rings, receive, send, end: send + sendBytes };
}

/** How to lay a ring out that begins at an offset. */
function place({ features, queueSize }: Required<GuestOptions>): (start: number) => RingPlaces {
  const isPacked = hasFeature(features, VIRTIO_F_RING_PACKED);
  return (start) => (isPacked ? placePackedRing : placeRing)(start, queueSize);
}

function withDefaults(options: GuestOptions): Required<GuestOptions> {
  const queueSize = options.queueSize ?? 256;
  return {
    ...{ features: featureSet(VIRTIO_F_VERSION_1), bridge: 0, pairs: 1, queueSize },
    ...{ buffers: Math.min(64, queueSize), bufferBytes: 2048, sendBytes: 262144 },
    ...{ guestAddress: MAIN_REGION, moreRegions: [] },
    ...options,
  };
}

function takeAll(queue: DriverRing): UsedChain[] {
  const taken: UsedChain[] = [];
  for (let used = queue.take(); used !== null; used = queue.take()) taken.push(used);
  return taken;
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
