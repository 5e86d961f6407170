/**
 * The way from the generator to a back-end: two connections, each with a part of its memory.
 *
 * It belongs to the thread that opened it and waits there.
 *
 * @module
 */
import { OsError } from "../../ffi/errno.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import type { ForeignDescriptors } from "../../ffi/foreign.ts";
import { createMemfd, fixSize, mapShared, memoryAddress } from "../../ffi/memory.ts";
import { connectUnix } from "../../ffi/unix_socket.ts";
import { converse } from "../host/converse.ts";
import { cannotConnect, cannotTalk } from "../probe/first_contact.ts";
import {
  featureSet,
  hasFeature,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../virtio/features.ts";
import type { RingPlaces } from "../virtio/layouts.ts";
import { type Conversation, type FrontendRing, VhostUserFrontend } from "../vhost_user/frontend.ts";
import { type Generator, type PortNumber, portStart, type RingChoice } from "./generator.ts";
import { PORT_BYTES, PORTS } from "./memory_layout.ts";

/** Where a fresh packed ring stands: at slot 0, both wrap counters 1 (vhost-user, "VRING_BASE"). */
const PACKED_BASE = 0x8000_8000;

/** Two ports, attached. */
export class Link implements Disposable {
  readonly #ports: readonly PortLink[];

  /**
   * Lays out the rings and attaches both ports; frames may flow.
   *
   * @param generator Its memory is handed to the back-end.
   * @param sockets Where the back-end listens for port 0 and for port 1.
   * @param choice What the rings are like.
   * @param foreign Closes the sockets: what a back-end has put into them may make that wait (ADR 15).
   * @throws {NobodyListens | Unreachable | FeatureMissing | RequestRefused | ProtocolError | Error}
   * When that fails; nothing stays open.
   */
  constructor(
    generator: Generator,
    sockets: readonly [string, string],
    choice: RingChoice,
    foreign: ForeignDescriptors,
  ) {
    using stack = new DisposableStack();
    using file = createMemfd("labswitch-bench", 2 * PORT_BYTES);
    // A back-end that cut it off would end this process with it (SIGBUS).
    fixSize(file);
    // SAFETY: both ports' parts lie in the memory, which its owner keeps.
    mapShared(memoryAddress(generator.memory) + BigInt(PORTS), BigInt(2 * PORT_BYTES), file, 0n);
    const places = generator.layOut(choice);
    this.#ports = ([0, 1] as const).map((port) =>
      stack.use(
        new PortLink(
          { path: sockets[port], foreign },
          file,
          port,
          choice,
          places.slice(2 * port, 2 * port + 2),
        ),
      )
    );
    stack.move();
  }

  /**
   * Kicks the rings of a set. Does not allocate.
   *
   * @param kicks A bit for each ring: receive and transmit ring of port 0, of port 1.
   */
  kick(kicks: number): void {
    for (let ring = 0; ring < 4; ring++) {
      if ((kicks >> ring & 1) !== 0) this.#ports[ring >> 1]!.kick(ring & 1);
    }
  }

  /** Stops all rings, hangs up and closes every descriptor. */
  [Symbol.dispose](): void {
    for (const port of this.#ports) port[Symbol.dispose]();
  }
}

/** One of the ports. */
class PortLink implements Disposable {
  readonly #socket: Fd;
  readonly #kicks: readonly EventFd[];
  readonly #calls: readonly EventFd[];
  readonly #frontend = new VhostUserFrontend();

  constructor(
    { path, foreign }: { readonly path: string; readonly foreign: ForeignDescriptors },
    file: Fd,
    port: PortNumber,
    choice: RingChoice,
    places: readonly RingPlaces[],
  ) {
    using stack = new DisposableStack();
    this.#socket = stack.use(connect(path, foreign));
    this.#kicks = places.map(() => stack.use(EventFd.create()));
    // Nobody waits for calls, but some back-ends do not start a ring without.
    this.#calls = places.map(() => stack.use(EventFd.create()));
    const needed = [VIRTIO_F_VERSION_1, ...choice.isPacked ? [VIRTIO_F_RING_PACKED] : []];
    const region = {
      guestAddress: BigInt(portStart(port)),
      sizeBytes: BigInt(PORT_BYTES),
      frontendAddress: BigInt(portStart(port)),
      offsetBytes: BigInt(port * PORT_BYTES),
      fd: file,
    };
    // Mergeable buffers, because guests have them; any frame fits into one.
    const wish = { features: featureSet(...needed, VIRTIO_NET_F_MRG_RXBUF) };
    const { features } = firstContact(path, this.#socket, this.#frontend.negotiate(wish));
    for (const feature of needed) {
      if (!hasFeature(features, feature)) throw new FeatureMissing(path, feature);
    }
    converse(
      this.#socket,
      this.#frontend.start([region], places.map((place, i) => this.#ring(choice, place, i))),
    );
    stack.move();
  }

  kick(ring: number): void {
    this.#kicks[ring]!.signal();
  }

  [Symbol.dispose](): void {
    try {
      for (const index of this.#kicks.keys()) {
        converse(this.#socket, this.#frontend.stopRing(index));
      }
    } catch {
      // The back-end has gone away first, and its use of the rings with it.
    }
    for (const event of [...this.#kicks, ...this.#calls]) event.close();
    this.#socket.close();
  }

  #ring(choice: RingChoice, { desc, avail, used }: RingPlaces, index: number): FrontendRing {
    return {
      size: choice.size,
      base: choice.isPacked ? PACKED_BASE : 0,
      descAddress: BigInt(desc),
      availAddress: BigInt(avail),
      usedAddress: BigInt(used),
      kick: this.#kicks[index]!.fd,
      call: this.#calls[index]!.fd,
    };
  }
}

function connect(path: string, foreign: ForeignDescriptors): Fd {
  try {
    return foreign.adopt(connectUnix(path).release());
  } catch (error) {
    if (!(error instanceof OsError)) throw error;
    throw new NobodyListens(cannotConnect(path, error).message);
  }
}

function firstContact<T>(path: string, socket: Fd, conversation: Conversation<T>): T {
  try {
    return converse(socket, conversation);
  } catch (error) {
    throw cannotTalk(error, `the back-end at ${path}`) ?? error;
  }
}

/** There is no back-end at a socket. */
export class NobodyListens extends Error {
  override readonly name = "NobodyListens";

  /** @param reason Why it cannot be connected to. */
  constructor(reason: string) {
    super(`${reason}; start the switch that listens there, or correct the path`);
  }
}

/** A back-end lacks a feature that the generator cannot do without. */
export class FeatureMissing extends Error {
  override readonly name = "FeatureMissing";

  /**
   * @param path The back-end's socket.
   * @param feature The feature's bit.
   */
  constructor(path: string, feature: number) {
    super(
      feature === VIRTIO_F_RING_PACKED
        ? `the back-end at ${path} has no packed rings; leave --packed out`
        : `the back-end at ${path} does not follow VIRTIO 1.0; use a newer one`,
    );
  }
}
