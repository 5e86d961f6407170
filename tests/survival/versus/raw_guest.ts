/**
 * A guest whose rings are written by hand: one queue pair, all of its memory in one file.
 *
 *     0        1 MiB      2 MiB                 4 MiB
 *     | ring 0 | ring 1   | data                |
 *
 * It is attached as a good guest is; the attack begins afterwards, with both rings at index 1.
 *
 * @module
 */
import { EventFd } from "../../../ffi/eventfd.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { createGuestMemory, createMemfd, mapShared, memoryAddress } from "../../../ffi/memory.ts";
import { Request } from "../../../src/vhost_user/numbers.ts";
import { hasFeature, HEADER_BYTES, VIRTIO_F_RING_PACKED } from "../../../src/virtio/features.ts";
import { placeRing, type RingPlaces, VIRTQ_DESC_F_INDIRECT } from "../../../src/virtio/layouts.ts";
import { placePackedRing } from "../../../src/virtio/packed_layouts.ts";
import { eventually } from "../../support/eventually.ts";
import { makeFrame, stationAddress } from "../../support/frames.ts";
import type { RawClient } from "../../support/raw_client.ts";
import { type RawPackedDescriptor, RawPackedRing } from "../../support/raw_packed_ring.ts";
import { type RawDescriptor, RawRing, writeTable } from "../../support/raw_ring.ts";
import {
  memoryTable,
  type RegionDraft,
  ringAddress,
  ringState,
  u64,
} from "../../support/vhost_messages.ts";

/** Receive queue. */
export const RECEIVE = 0;
/** Transmit queue. */
export const TRANSMIT = 1;
/** Where the guest's memory lies for the guest. */
export const GUEST = 0x4000_0000n;
/** Where the same memory lies for the front-end. */
export const USER = 0x7f00_0000_0000n;
const MIB = 0x10_0000;
/** Bytes of the guest's memory. */
export const MEMORY_BYTES = 4 * MIB;
/** Where data begins. */
export const DATA = 2 * MIB;
/** Tables of descriptors lie behind the frames. */
const TABLES = 3 * MIB;
/** Name of the memory file, by which its mappings in the target are found. */
export const MEMORY_NAME = "labswitch-hostile";
/** The attacker's address. */
const ATTACKER = stationAddress(0xa1);
/** To itself: a switch drops it, so that however many there are, no bystander gets them. */
const FRAME = makeFrame(ATTACKER, ATTACKER);
/** Bytes of a good frame with its header. */
export const GOOD_BYTES: number = HEADER_BYTES + FRAME.length;
const RING_SIZE = 256;
/** How long a good chain may take; a back-end may look at a new guest late. */
const FIRST_MS = 5000;
/** How long a chain may take that will perhaps never be returned. */
const CHAIN_MS = 200;
/** Both positions of a packed ring: slot 0 of the first round ("GET_VRING_BASE"). */
const PACKED_START = 0x80008000;
const WASM_PAGE_BYTES = 65536;

/** How a guest is made. */
export interface RawGuestOptions {
  /** Features beside VERSION_1; only what is offered counts. */
  readonly features?: bigint;
  /** Protocol features; those of a plain front-end unless given. */
  readonly protocolFeatures?: bigint;
  /** Entries of both rings. */
  readonly size?: number;
  /** The memory table in one file; one region of all memory unless given. */
  readonly regions?: readonly RegionDraft[];
  /** The memory's file; a sealable memory file unless given. Belongs to the guest from then on. */
  readonly file?: Fd;
  /** Called for the transmit queue; one of its own unless given. */
  readonly call?: Fd;
  /** Whether the call is the kick. */
  readonly callIsKick?: boolean;
  /** Where the rings lie, as offsets. */
  readonly rings?: readonly [number, number];
}

/** All memory as one region. */
export const WHOLE: RegionDraft = { guest: GUEST, size: BigInt(MEMORY_BYTES), user: USER };

/** A guest whose rings are written by hand. */
export class RawGuest implements Disposable {
  /** Its connection; not the guest's. */
  readonly client: RawClient;
  /** The memory's file. */
  readonly file: Fd;
  /** All memory. */
  readonly memory: WebAssembly.Memory;
  /** All memory. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** All memory. */
  readonly view: DataView;
  /** Entries of both rings. */
  readonly size: number;
  /** Where the rings lie. */
  readonly places: readonly [RingPlaces, RingPlaces];
  readonly #stack = new DisposableStack();
  readonly #isPacked: boolean;
  readonly #kick: EventFd;
  readonly #call: Fd;
  #tablesEnd = TABLES;

  private constructor(client: RawClient, options: RawGuestOptions) {
    const stack = this.#stack;
    this.client = client;
    this.size = options.size ?? RING_SIZE;
    this.file = stack.use(options.file ?? createMemfd(MEMORY_NAME, MEMORY_BYTES));
    const pages = MEMORY_BYTES / WASM_PAGE_BYTES;
    this.memory = createGuestMemory(pages, pages);
    // SAFETY: the range is exactly the memory that was made in the line above.
    mapShared(memoryAddress(this.memory), BigInt(MEMORY_BYTES), this.file, 0n);
    // A shared buffer, which the type of most functions does not admit.
    this.bytes = new Uint8Array(this.memory.buffer as ArrayBuffer);
    this.view = new DataView(this.memory.buffer as ArrayBuffer);
    this.#isPacked = hasFeature(options.features ?? 0n, VIRTIO_F_RING_PACKED);
    const place = this.#isPacked ? placePackedRing : placeRing;
    const [receive, transmit] = options.rings ?? [0, MIB];
    this.places = [place(receive, this.size), place(transmit, this.size)];
    this.#kick = stack.use(EventFd.create());
    this.#call = options.callIsKick
      ? this.#kick.fd
      : options.call ?? stack.use(EventFd.create()).fd;
    this.reset();
  }

  /**
   * Attaches, as a good guest does, and waits until a good frame was taken.
   *
   * @param client A connection that has negotiated.
   * @throws {Error} When the back-end refuses or never takes a frame.
   */
  static async attach(client: RawClient, options: RawGuestOptions = {}): Promise<RawGuest> {
    const guest = new RawGuest(client, options);
    try {
      await guest.share(options.regions ?? [WHOLE]);
      for (const index of [RECEIVE, TRANSMIT]) await guest.start(index);
      await guest.enable(1);
      await guest.introduce();
      return guest;
    } catch (error) {
      guest[Symbol.dispose]();
      throw error;
    }
  }

  /** The transmit ring. */
  get transmit(): RawRing {
    return new RawRing(this.view, this.places[TRANSMIT], this.size);
  }

  /** The receive ring. */
  get receive(): RawRing {
    return new RawRing(this.view, this.places[RECEIVE], this.size);
  }

  /** What wakes the back-end. */
  get kickEvent(): Fd {
    return this.#kick.fd;
  }

  /** A packed ring. */
  packed(index: number): RawPackedRing {
    return new RawPackedRing(this.view, this.places[index]!, this.size);
  }

  /** A guest address. */
  at(offset: number): bigint {
    return GUEST + BigInt(offset);
  }

  /** The descriptor of a good frame, or of a part of it. */
  good(from = 0, to = GOOD_BYTES): RawDescriptor {
    return { addr: this.at(DATA + from), len: to - from };
  }

  /** Writes a good frame with a header of these bytes. */
  header(...header: number[]): void {
    this.bytes.fill(0, DATA, DATA + HEADER_BYTES);
    this.bytes.set(header, DATA);
    this.bytes.set(FRAME, DATA + HEADER_BYTES);
  }

  /** Writes a table; returns the descriptor that points to it. */
  table(entries: readonly RawDescriptor[], len = 16 * entries.length): RawDescriptor {
    const at = this.#tablesEnd;
    this.#tablesEnd += 16 * Math.max(1, entries.length);
    writeTable(this.view, at, entries);
    return { addr: this.at(at), len, flags: VIRTQ_DESC_F_INDIRECT };
  }

  /** Offers a chain that starts at entry 0 of the transmit ring; returns whether it came back. */
  async send(descriptors: readonly RawDescriptor[], timeoutMs = CHAIN_MS): Promise<boolean> {
    this.transmit.describe(descriptors);
    return await this.offer([0], timeoutMs);
  }

  /** Offers a chain at a position of a packed transmit ring; returns whether it came back. */
  async sendPacked(
    descriptors: readonly RawPackedDescriptor[],
    position: number,
    timeoutMs = CHAIN_MS,
  ): Promise<boolean> {
    const ring = this.packed(TRANSMIT);
    ring.offer(descriptors, position);
    this.kick();
    return await this.#until(() => ring.used(position) !== null, timeoutMs);
  }

  /** Makes heads of the transmit ring available; returns whether they came back. */
  async offer(heads: readonly number[], timeoutMs = CHAIN_MS): Promise<boolean> {
    const { transmit } = this;
    const want = (transmit.usedIndex + heads.length) & 0xffff;
    transmit.offer(...heads);
    this.kick();
    return await this.#until(() => transmit.usedIndex === want, timeoutMs);
  }

  /** Sends a good frame; returns whether it was taken. */
  async works(): Promise<boolean> {
    this.header();
    return await this.send([this.good()]);
  }

  /** Sends a first good frame. */
  async introduce(): Promise<void> {
    this.header();
    const isTaken = this.#isPacked
      ? await this.sendPacked([this.good()], 0, FIRST_MS)
      : await this.send([this.good()], FIRST_MS);
    if (!isTaken) {
      throw new Error("Cannot get a good frame taken before the attack");
    }
  }

  /** Posts receive chains that start at entry 0, so many times. */
  post(descriptors: readonly RawDescriptor[], times = 1): void {
    this.receive.describe(descriptors);
    this.receive.offer(...new Array(times).fill(0));
    this.kick();
  }

  /** Wakes the back-end. */
  kick(): void {
    this.#kick.signal();
  }

  /** Makes all memory zero but for a good frame. */
  reset(): void {
    this.bytes.fill(0, 0, DATA);
    this.header();
  }

  /** Shares regions, all in the guest's file. */
  async share(regions: readonly RegionDraft[]): Promise<void> {
    await this.#tell(
      Request.SET_MEM_TABLE,
      memoryTable(regions),
      new Array(regions.length).fill(this.file),
    );
  }

  /** Starts a ring. */
  async start(index: number): Promise<void> {
    const { desc, avail, used } = this.places[index]!;
    const user = (offset: number) => USER + BigInt(offset);
    await this.#tell(Request.SET_VRING_NUM, ringState(index, this.size));
    await this.#tell(Request.SET_VRING_BASE, ringState(index, this.#base(index)));
    const addresses = { desc: user(desc), avail: user(avail), used: user(used) };
    await this.#tell(Request.SET_VRING_ADDR, ringAddress(index, addresses));
    await this.#tell(Request.SET_VRING_CALL, u64(index), [this.#call]);
    await this.#tell(Request.SET_VRING_KICK, u64(index), [this.#kick.fd]);
  }

  /** Enables or disables both rings. */
  async enable(isEnabled: number): Promise<void> {
    for (const index of [RECEIVE, TRANSMIT]) {
      await this.#tell(Request.SET_VRING_ENABLE, ringState(index, isEnabled));
    }
  }

  /** Stops a ring. */
  async stop(index: number): Promise<void> {
    await this.client.say(Request.GET_VRING_BASE, ringState(index, 0));
    await this.client.reply();
  }

  /** Closes its memory and eventfds; the connection is not the guest's. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #base(index: number): number {
    if (this.#isPacked) return PACKED_START;
    return index === TRANSMIT ? this.transmit.usedIndex : this.receive.usedIndex;
  }

  async #tell(request: number, payload: Uint8Array, fds: readonly Fd[] = []): Promise<void> {
    const answer = await this.client.ask(request, payload, fds);
    if (answer !== 0n) throw new Error(`The back-end refuses request ${request}`);
  }

  async #until(isThere: () => boolean, timeoutMs: number): Promise<boolean> {
    try {
      return await eventually("a used chain", () => isThere() || null, timeoutMs);
    } catch {
      return false;
    }
  }
}
