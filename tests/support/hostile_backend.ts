/**
 * A back-end without manners that listens where a port of type `vhost-user-frontend` connects. It never
 * blocks its thread, so the switch may run in the same one.
 *
 * It converses as told: correctly, with replies spoilt, or with bytes of any kind. Once it has rings it
 * can do anything to the memory that it shares.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import { ECONNRESET, OsError } from "../../ffi/errno.ts";
import { signalEventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { createGuestMemory, mapAnonymous, mapShared, memoryAddress } from "../../ffi/memory.ts";
import { acceptUnix, listenUnix, receive, send, WOULD_BLOCK } from "../../ffi/unix_socket.ts";
import {
  type BackendDevice,
  type BackendOffer,
  type MemoryRegion,
  type RingSetup,
  VhostUserBackend,
} from "../../src/vhost_user/backend.ts";
import { backendOffer } from "../../src/control/offer.ts";
import { type Message, MessageDecoder } from "../../src/vhost_user/message.ts";
import { DeviceStatus, Request } from "../../src/vhost_user/numbers.ts";
import { hasFeature, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import { type DeviceRing, PackedDeviceRing, SplitDeviceRing } from "./device_ring.ts";
import type { Range } from "./driver_sim.ts";
import { eventually } from "./eventually.ts";

/** Pages of a WebAssembly memory. */
const PAGE_BYTES = 65536n;

/** A reply on its way out: its bytes, and what goes along. */
export interface Outgoing {
  /** The bytes. */
  readonly data: Uint8Array;
  /** Descriptors; stay the caller's. */
  readonly fds?: readonly Fd[];
}

/** How a back-end behaves. */
export interface HostileOptions {
  /** Virtio features that it does not offer; none unless given. */
  readonly withheld?: bigint;
  /** Changes a reply before it is sent; null for silence. */
  readonly spoil?: (request: number, data: Uint8Array) => Outgoing | null;
}

/** Listens, and plays back-ends. */
export class HostileBackend implements Disposable {
  /** Where it listens. */
  readonly path: string;
  readonly #listener: Fd;
  readonly #isUp: () => boolean;
  readonly #stack = new DisposableStack();

  /**
   * @param path Where to listen.
   * @param isUp Whether the switch takes the back-end for ready.
   * @param backlog Connections that may wait.
   */
  constructor(path: string, isUp: () => boolean, backlog = 16) {
    this.path = path;
    this.#isUp = isUp;
    this.#listener = listenUnix(path, { backlog });
  }

  /** Takes the next connection, or null when none waits. */
  tryAccept(): HostilePeer | null {
    const socket = acceptUnix(this.#listener);
    return socket === null ? null : this.#stack.use(new HostilePeer(socket));
  }

  /** Waits for a connection. */
  async accept(): Promise<HostilePeer> {
    return await eventually("a front-end", () => this.tryAccept());
  }

  /** Waits for a connection and converses until frames flow. */
  async attach(options: HostileOptions = {}): Promise<HostilePeer> {
    const peer = await this.accept();
    await peer.converse(options);
    await eventually("the port is up", () => this.#isUp() || null);
    return peer;
  }

  /** Ends every connection, and does not listen any more. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
    this.#listener.close();
    Deno.removeSync(this.path);
  }
}

/** One connection. */
export class HostilePeer implements Disposable {
  /** The socket; this object owns it. */
  readonly socket: Fd;
  /** Every request that came, by number. */
  readonly requests: number[] = [];
  readonly #decoder = new MessageDecoder();
  readonly #device = new SharedDevice();
  #backend: VhostUserBackend | null = null;

  /** @param socket A connection; this object owns it from now on. */
  constructor(socket: Fd) {
    this.socket = socket;
  }

  /** Waits for the next message; null when the switch hung up. */
  async next(): Promise<Message | null> {
    const found = await eventually("a request", () => {
      const fds: Fd[] = [];
      const length = this.#receive(this.#decoder.target(), fds);
      if (length === 0) return { message: null };
      const message = length === WOULD_BLOCK ? null : this.#decoder.received(length, fds);
      return message === null ? null : { message };
    });
    if (found.message !== null) this.requests.push(found.message.request);
    return found.message;
  }

  /** Answers as a back-end does until both rings are enabled and ready, or the switch hangs up. */
  async converse({ withheld = 0n, spoil }: HostileOptions): Promise<void> {
    const offer = backendOffer(1);
    await this.serve({ ...offer, features: offer.features & ~withheld }, spoil);
  }

  /** The same, with an offer of any kind. */
  async serve(
    offer: BackendOffer,
    spoil: HostileOptions["spoil"] = (_, data) => ({ data }),
  ): Promise<void> {
    this.#backend ??= new VhostUserBackend(this.#device, offer);
    for (let isOver = false; !isOver;) {
      const message = await this.next();
      if (message === null) return;
      isOver = isReady(message);
      const reply = await this.#backend.handle(message);
      const outgoing = reply === null ? null : spoil(message.request, reply);
      if (outgoing !== null) this.say(outgoing.data, outgoing.fds);
    }
  }

  /** Sends bytes, whatever they are; what the switch does not want any more is nobody's. */
  say(data: Uint8Array, fds: readonly Fd[] = []): void {
    try {
      strictEqual(send(this.socket, data, fds), data.length);
    } catch {
      // The switch has hung up.
    }
  }

  /** Waits until the switch hangs up; what it says before is thrown away. */
  async end(): Promise<void> {
    const trash = new Uint8Array(4096);
    await eventually("the switch hangs up", () => {
      const fds: Fd[] = [];
      const length = this.#receive(trash, fds);
      for (const fd of fds) fd.close();
      return length === 0 || null;
    });
  }

  // A switch that leaves something unread resets the connection.
  #receive(into: Uint8Array, fds: Fd[]): number {
    try {
      return receive(this.socket, into, fds);
    } catch (error) {
      if (error instanceof OsError && error.errno === ECONNRESET) return 0;
      throw error;
    }
  }

  /** The ring that it fills with frames for the switch. */
  get receive(): DeviceRing {
    return this.#device.ring(0);
  }

  /** The ring in which the switch sends frames. */
  get transmit(): DeviceRing {
    return this.#device.ring(1);
  }

  /** The memory that it shares with the switch, with what it shares in {@linkcode range}. */
  get view(): DataView {
    return this.#device.view;
  }

  /** The same. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.view.buffer);
  }

  /** Where in it the shared part lies. */
  get range(): Range {
    return this.#device.range;
  }

  /** The file that holds the shared memory. */
  get file(): Fd {
    return this.#device.file!;
  }

  /** The eventfd of a ring that tells the switch of used buffers. */
  call(index: number): Fd {
    return this.#device.setups.get(index)!.call as Fd;
  }

  /** The eventfd of a ring that tells us of available ones. */
  kick(index: number): Fd {
    return this.#device.setups.get(index)!.kick as Fd;
  }

  /** Calls the switch, so that it looks at what was used. */
  signal(index = 0): void {
    signalEventFd(this.call(index).number);
  }

  /** Puts bytes, header included, into the next buffer; the switch sees it after `publish`. */
  fill(data: Uint8Array, length: number = data.length): number {
    const buffer = this.receive.take();
    if (buffer === null) throw new RangeError("Cannot fill: no buffer");
    this.bytes.set(data, buffer.address);
    this.receive.use(buffer.id, length);
    return buffer.id;
  }

  /** Sends bytes, header included, as a frame of one buffer. */
  sendFrame(data: Uint8Array): void {
    this.fill(data);
    this.receive.publish();
    this.signal();
  }

  /** Takes the next frame that the switch sent, header included, and gives its buffer back. */
  takeFrame(): Uint8Array | null {
    const buffer = this.transmit.take();
    if (buffer === null) return null;
    const data = this.bytes.slice(buffer.address, buffer.address + buffer.length);
    this.transmit.use(buffer.id, 0);
    this.transmit.publish();
    return data;
  }

  /** Hangs up and closes everything. */
  [Symbol.dispose](): void {
    this.#backend?.close();
    this.#decoder.close();
    this.#device.close();
    this.socket.close();
  }
}

/** A device that keeps what it is given, and does nothing. */
class SharedDevice implements BackendDevice {
  readonly setups = new Map<number, RingSetup>();
  /** The first region's file. */
  file: Fd | null = null;
  #features = 0n;
  #shared: { readonly memory: WebAssembly.Memory; readonly region: MemoryRegion } | null = null;
  readonly #rings = new Map<number, DeviceRing>();

  /** The shared memory lies where the switch has it, so addresses are offsets. */
  get view(): DataView {
    return new DataView(this.#shared!.memory.buffer);
  }

  get range(): Range {
    const { guestAddress, sizeBytes } = this.#shared!.region;
    return { start: Number(guestAddress), end: Number(guestAddress + sizeBytes) };
  }

  ring(index: number): DeviceRing {
    const known = this.#rings.get(index);
    if (known !== undefined) return known;
    const { descAddress, availAddress, usedAddress, size } = this.setups.get(index)!;
    const [desc, avail, used] = [descAddress, availAddress, usedAddress].map(Number);
    const places = { desc: desc!, avail: avail!, used: used!, end: 0 };
    const isPacked = hasFeature(this.#features, VIRTIO_F_RING_PACKED);
    const Ring = isPacked ? PackedDeviceRing : SplitDeviceRing;
    const ring = new Ring({ view: this.view, places, size });
    this.#rings.set(index, ring);
    return ring;
  }

  setFeatures(features: bigint): void {
    this.#features = features;
  }

  whileQuiet<T>(change: () => T): T {
    return change();
  }

  prepareMemory(): null {
    return null;
  }

  setMemoryTable(regions: MemoryRegion[]): void {
    const [region, ...others] = regions;
    for (const { fd } of others) fd.close();
    const { guestAddress, sizeBytes, offsetBytes, fd } = region!;
    const pages = Number((guestAddress + sizeBytes + PAGE_BYTES - 1n) / PAGE_BYTES);
    const memory = createGuestMemory(pages, pages);
    // SAFETY: the range lies inside the memory that was made in the line above.
    mapShared(memoryAddress(memory) + guestAddress, sizeBytes, fd as Fd, offsetBytes);
    this.#shared = { memory, region: region! };
    this.file = fd as Fd;
  }

  addMemoryRegion({ fd }: MemoryRegion): void {
    fd.close();
  }

  startRing(index: number, setup: RingSetup): void {
    this.setups.set(index, setup);
  }

  stopRing(): number {
    return 0;
  }

  close(): void {
    this.file?.close();
    if (this.#shared === null) return;
    const { memory, region: { guestAddress, sizeBytes } } = this.#shared;
    // SAFETY: it was mapped there, and nobody uses it any more.
    mapAnonymous(memoryAddress(memory) + guestAddress, sizeBytes);
    this.#shared = null;
  }

  removeMemoryRegion(): void {}
  setLog(): void {}
  setMtu(): void {}
  announce(): void {}
  setRingEnabled(): void {}
  requireEventFd(): void {}
  setCall(): void {}
}

// The last word of a conversation.
function isReady({ request, payload }: Message): boolean {
  return request === Request.SET_STATUS && (payload[0]! & DeviceStatus.DRIVER_OK) !== 0;
}
