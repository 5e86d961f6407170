/**
 * The probe's network driver: attaches with a queue pair or two, sends frames, and checks whatever the
 * back-end writes into its memory.
 *
 * @module
 */
import {
  hasFeature,
  HEADER_BYTES,
  headerLength,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../virtio/features.ts";
import { VIRTIO_NET_HDR } from "../virtio/layouts.ts";
import {
  Request,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from "../vhost_user/numbers.ts";
import { type Shape, slotAt, writeFrame } from "./frames.ts";
import { BUFFER_BYTES, GUEST_ADDRESS, ProbeMemory, ringState, TABLES_AT } from "./memory.ts";
import { ProbeRing, QUEUE_SIZE } from "./ring.ts";
import type { Session, Wish } from "./session.ts";
import { Deviation, HungUp } from "./verdict.ts";
import { comesTrue, pause, QUIET_MS } from "./waiting.ts";

/** Number of the receive ring. */
export const RECEIVE = 0;
/** Number of the transmit ring. */
export const TRANSMIT = 1;
/** Number of the transmit ring of the second pair. */
const SECOND_TRANSMIT = 3;
/** Number of a ring. */
export type RingIndex = typeof RECEIVE | typeof TRANSMIT;
/** Buffers to receive into; those behind them are for sending, one for each entry of the ring. */
const RECEIVE_BUFFERS = QUEUE_SIZE / 2;
/** What stands in each byte of a header that the back-end has not written. */
export const UNWRITTEN = 0xa5;
/** Bytes of an indirect table with room for two descriptors. */
const TABLE_BYTES = 32;

/** How a driver attaches. */
export interface DriverWish extends Wish {
  /** Whether both regions of memory are handed over; only the first unless told otherwise. */
  readonly hasBothRegions?: boolean;
  /** How many queue pairs it uses; one unless told otherwise. */
  readonly queuePairs?: 1 | 2;
  /** Called with rings that the back-end does not know yet. */
  readonly beforeStart?: (driver: Driver) => void;
}

/** How frames are sent. */
export interface SendOptions {
  /** How each lies in memory; "plain" unless told otherwise. */
  readonly shape?: Shape;
  /** Whether each chain is one descriptor that points to a table. */
  readonly isIndirect?: boolean;
  /** When the back-end is kicked: always unless told otherwise. */
  readonly kick?: "always" | "if wanted" | "never";
}

/** A buffer of the receive ring that the back-end has filled. */
export interface Received {
  /** Bytes, header included. */
  readonly length: number;
  /** What stands where a header stands in the first buffer of a frame. */
  readonly header: ReturnType<typeof VIRTIO_NET_HDR.read>;
}

/** An attached driver. */
export class Driver implements AsyncDisposable {
  /** Its conversation. */
  readonly session: Session;
  /** Its memory. */
  readonly memory: ProbeMemory;
  /** Its rings in the order of their numbers. */
  readonly rings: readonly ProbeRing[];
  readonly #stack: DisposableStack;
  readonly #headerBytes: number;
  readonly #isLegacy: boolean;
  #sent = 0;
  #transmitIndex = TRANSMIT;

  private constructor(session: Session, queuePairs: number) {
    using stack = new DisposableStack();
    this.session = session;
    this.memory = stack.use(new ProbeMemory());
    this.rings = Array.from(
      { length: 2 * queuePairs },
      (_, index) => stack.use(new ProbeRing(this.memory, index, session.features)),
    );
    this.#headerBytes = headerLength(session.features);
    this.#isLegacy = !hasFeature(session.features, VIRTIO_F_VERSION_1);
    for (let slot = 0; slot < RECEIVE_BUFFERS; slot++) this.#post(slot);
    this.#receive.queue.publish();
    for (const { queue } of this.rings) queue.disableCalls();
    this.#stack = stack.move();
  }

  /**
   * Negotiates, hands memory and rings over, and enables them.
   *
   * @param session A fresh conversation; stays the caller's, who hangs up.
   * @param wish What to negotiate.
   * @throws {NotOffered} When a feature is not offered.
   * @throws {Deviation | NoAnswer | ProtocolError} When the back-end does not play along.
   */
  static async attach(session: Session, wish: DriverWish): Promise<Driver> {
    await session.negotiate(wish);
    const driver = new Driver(session, wish.queuePairs ?? 1);
    try {
      wish.beforeStart?.(driver);
      await driver.#start(wish.hasBothRegions ? 2 : 1);
      return driver;
    } catch (error) {
      await driver[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The transmit ring in use. */
  get transmit(): ProbeRing {
    return this.rings[this.#transmitIndex]!;
  }

  /** Sends on the second queue pair from now on. */
  useSecondPair(): void {
    this.#transmitIndex = SECOND_TRANSMIT;
  }

  /** Whether its rings are packed. */
  get isPacked(): boolean {
    return hasFeature(this.session.features, VIRTIO_F_RING_PACKED);
  }

  /** Frames sent so far. */
  get sent(): number {
    return this.#sent;
  }

  /** Makes frames available, at most as many as the ring has room for, and kicks. */
  send(count: number, options: SendOptions = {}): void {
    for (let i = 0; i < count; i++) this.#add(options);
    const { queue, kick } = this.transmit;
    const isWanted = queue.publish();
    if (options.kick === "never" || (options.kick === "if wanted" && !isWanted)) return;
    kick.signal();
  }

  /**
   * Waits until the back-end has given every frame back.
   *
   * @throws {Deviation} When it does not, or gives back something that it did not get.
   */
  async transmitted(): Promise<void> {
    const { queue } = this.transmit;
    const { timeoutMs } = this.session;
    const isDone = await comesTrue(() => {
      this.#reap();
      if (queue.outstanding > 0 && this.session.isBroken) throw new HungUp("frames");
      return queue.outstanding === 0;
    }, timeoutMs);
    if (isDone) return;
    throw new Deviation(
      `${queue.outstanding} of ${this.#sent} frames not taken in ${timeoutMs} ms`,
    );
  }

  /** Sends frames and waits until they were given back. */
  async exchange(count: number, options: SendOptions = {}): Promise<void> {
    this.send(count, options);
    await this.transmitted();
  }

  /**
   * Waits whether the back-end leaves the transmit ring alone.
   *
   * @throws {Deviation} When it does not.
   */
  async staysUntouched(): Promise<void> {
    await pause(QUIET_MS);
    if (this.transmit.queue.hasUsed) throw new Deviation("it takes frames from a stopped ring");
  }

  /**
   * Takes what was received.
   *
   * @returns What stands in each buffer; the first byte of a frame comes with its header.
   * @throws {Deviation} When more was written into a buffer than it holds.
   */
  received(): Received[] {
    const { queue } = this.#receive;
    const found: Received[] = [];
    for (let used = queue.take(); used !== null; used = queue.take()) {
      if (used.length > BUFFER_BYTES) {
        throw new Deviation(`${used.length} bytes written into a buffer of ${BUFFER_BYTES}`);
      }
      const view = new DataView(this.memory.bytes.buffer);
      found.push({ length: used.length, header: VIRTIO_NET_HDR.read(view, slotAt(used.token)) });
    }
    return found;
  }

  /** Enables or disables a ring, the transmit ring unless told otherwise. */
  async enable(isEnabled: boolean, index: RingIndex = TRANSMIT): Promise<void> {
    await this.session.tell(Request.SET_VRING_ENABLE, ringState(index, Number(isEnabled)));
    if (!this.session.speaks(VHOST_USER_PROTOCOL_F_REPLY_ACK)) await this.session.settle();
  }

  /** Stops a ring, the transmit ring unless told otherwise; returns where it stands. */
  async stop(index: RingIndex = TRANSMIT): Promise<number> {
    this.rings[index]!.isStarted = false;
    return await this.session.stopRing(index);
  }

  /** Starts the transmit ring again. */
  async restart(base: number): Promise<void> {
    await this.transmit.start(this.session, base);
    await this.session.settle();
  }

  /** Stops all rings, resets the device and closes all but the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#leave();
    } catch {
      // The back-end has stopped talking, which the check has seen or will not care about.
    } finally {
      this.#stack.dispose();
    }
  }

  get #receive(): ProbeRing {
    return this.rings[RECEIVE]!;
  }

  async #leave(): Promise<void> {
    for (const [index, ring] of this.rings.entries()) {
      if (ring.isStarted && !this.session.isBroken) await this.session.stopRing(index);
    }
    if (!this.session.isBroken) await this.session.reset();
  }

  async #start(regions: 1 | 2): Promise<void> {
    const { session, memory } = this;
    if (session.speaks(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) await this.#addRegions(regions);
    else {
      const files = memory.files.slice(0, regions);
      await session.tell(Request.SET_MEM_TABLE, memory.table(regions), files);
    }
    for (const ring of this.rings) await ring.start(session);
    // Without bit 30 every ring is enabled ("Ring states").
    if (hasFeature(session.features, VHOST_USER_F_PROTOCOL_FEATURES)) {
      for (const index of this.rings.keys()) {
        await session.tell(Request.SET_VRING_ENABLE, ringState(index, 1));
      }
    }
    await session.driverOk();
    await session.settle();
  }

  async #addRegions(regions: 1 | 2): Promise<void> {
    for (const index of ([0, 1] as const).slice(0, regions)) {
      await this.session.tell(Request.ADD_MEM_REG, this.memory.single(index), [
        this.memory.files[index],
      ]);
    }
  }

  #add({ shape = this.#isLegacy ? "chain" : "plain", isIndirect }: SendOptions): void {
    const token = this.#sent % QUEUE_SIZE;
    const buffers = writeFrame(this.memory, RECEIVE_BUFFERS + token, this.#headerBytes, shape);
    const { queue } = this.transmit;
    const table = TABLES_AT + token * TABLE_BYTES;
    const hasRoom = isIndirect
      ? queue.addIndirect(buffers, token, table)
      : queue.add(buffers, token);
    if (!hasRoom) throw new Error("Cannot send: the ring is full");
    this.#sent++;
  }

  // VIRTIO 1.2, 2.7.8.2: the length counts bytes written, and nothing in these chains can be written.
  #reap(): void {
    const { queue } = this.transmit;
    for (let used = queue.take(); used !== null; used = queue.take()) {
      if (used.length !== 0) {
        throw new Deviation(`a sent frame came back with ${used.length} bytes written, not 0`);
      }
    }
  }

  // A legacy driver gives the header a descriptor of its own (VIRTIO 1.2, 2.7.4.3).
  #post(slot: number): void {
    const address = GUEST_ADDRESS + slotAt(slot);
    this.memory.bytes.fill(UNWRITTEN, slotAt(slot), slotAt(slot) + HEADER_BYTES);
    const head = this.#isLegacy ? this.#headerBytes : 0;
    const buffers = [
      ...head === 0 ? [] : [{ address, length: head, isWritable: true }],
      { address: address + head, length: BUFFER_BYTES - head, isWritable: true },
    ];
    this.#receive.queue.add(buffers, slot);
  }
}
