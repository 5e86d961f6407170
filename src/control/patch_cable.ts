/**
 * A cable between two ports of the same switch: one end is a back-end's, the other a front-end's, and
 * what joins them is a socket pair. So two bridges are joined by what joins two switches.
 *
 * When a connection ends, both ends are free after a while, and get another one.
 *
 * Runs on the main thread.
 *
 * @module
 */
import { OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import { unixSocketPair } from "../../ffi/unix_socket.ts";
import type { Endpoint, EndpointEvents } from "./endpoint.ts";

/** How long the ends stay free after a connection ended: both must have noticed. */
const RETRY_MS = 100;

/** Joins the two ends that are plugged in. */
export class PatchCable {
  readonly #free = new Set<PatchEnd>();

  /**
   * Makes an end; there are two.
   *
   * @param events Where its connections go.
   */
  plug(events: EndpointEvents): Endpoint {
    return new PatchEnd(events, this);
  }

  /** An end has no connection and wants one. */
  offer(end: PatchEnd): void {
    this.#free.add(end);
    const [first, second] = this.#free;
    if (first === undefined || second === undefined) return;
    this.#free.clear();
    let sockets: Fd[] = [];
    try {
      sockets = unixSocketPair();
      for (const { events } of [first, second]) events.onPeer(sockets.shift()!);
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      for (const socket of sockets) socket.close();
      end.events.onExhausted(error);
      for (const one of [first, second]) one.released();
    }
  }

  /** An end wants no connection any more. */
  withdraw(end: PatchEnd): void {
    this.#free.delete(end);
  }
}

/** One end. */
class PatchEnd implements Endpoint {
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isClosed = false;

  constructor(readonly events: EndpointEvents, readonly cable: PatchCable) {}

  open(): void {
    this.cable.offer(this);
  }

  released(): void {
    if (this.#isClosed || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.cable.offer(this);
    }, RETRY_MS);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.cable.withdraw(this);
  }
}
