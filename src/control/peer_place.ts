/**
 * The place of a port's peer: one has it at a time, and everything that peers gave belongs to it.
 *
 * Closing what a peer gave may wait for as long as the peer likes, its socket included; see
 * `ForeignDescriptors`. So what waits is bounded: while there is too much of it nobody is let in, and
 * whoever comes stays in the kernel's queue, where it costs this process nothing.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { ForeignDescriptors } from "../../ffi/foreign.ts";
import { hasHungUp, peerCredentials } from "../../ffi/unix_socket.ts";
import type { Peer, PortEvent } from "./events.ts";
import { processName } from "./socket_path.ts";

/** A connection as its place sees it. */
export interface Placed {
  /** The peer's socket. */
  readonly socket: Fd;
  /** Ends it; its port calls {@linkcode PeerPlace.leave} then. */
  close(): void;
}

/** Twice what a message may bring: a guest that left something behind does not keep the next one out. */
const MOST_CLOSING = 64;

/** The place of one port's peer. */
export class PeerPlace<Connection extends Placed> {
  /** What peers gave, their sockets included. */
  readonly foreign: ForeignDescriptors = new ForeignDescriptors();
  readonly #port: string;
  readonly #onEvent: (event: PortEvent) => void;
  #connection: Connection | null = null;

  /**
   * @param port The port's name.
   * @param onEvent Told when somebody is turned away.
   */
  constructor(port: string, onEvent: (event: PortEvent) => void) {
    this.#port = port;
    this.#onEvent = onEvent;
  }

  /** The connection to the peer that has the place, or null. */
  get connection(): Connection | null {
    return this.#connection;
  }

  /** What must be over before anybody else is let in; null when nothing is in the way. */
  get obstacle(): Promise<void> | null {
    return this.foreign.closing > MOST_CLOSING ? this.foreign.closed() : null;
  }

  /**
   * Gives the place to whoever comes, unless somebody has it.
   *
   * @param accepted Its socket, which belongs to the place from now on.
   * @param connect Makes the connection.
   * @returns Who it is, or null when it was turned away.
   * @throws {OsError} When the system has no room for the connection; the socket is closed.
   */
  take(accepted: Fd, connect: (socket: Fd) => Connection): Peer | null {
    const socket = this.foreign.adopt(accepted.release());
    const { pid } = peerCredentials(socket);
    const peer = { pid, name: processName(pid) };
    // A peer that was killed may be noticed only now, because its successor is already here.
    if (this.#connection !== null && hasHungUp(this.#connection.socket)) this.#connection.close();
    if (this.#connection !== null) {
      socket.close();
      this.#onEvent({ kind: "refused", port: this.#port, peer });
      return null;
    }
    try {
      this.#connection = connect(socket);
    } catch (error) {
      socket.close();
      throw error;
    }
    return peer;
  }

  /** The connection has ended. */
  leave(): void {
    this.#connection = null;
  }
}
