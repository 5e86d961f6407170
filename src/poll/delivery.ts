/**
 * Brings the frames of a burst from one port's memory into another's: reserve, copy, publish, call.
 *
 * Runs on a poll Worker, under its number; on the main thread under control's own.
 *
 * @module
 */
import type { Dataplane, Dispatcher } from "../dataplane/dataplane.ts";
import { ringAt, type State, workerAt } from "../dataplane/state.ts";
import {
  RING_CALL_FD,
  W_DESTINATION_COUNT,
  W_DESTINATIONS,
  W_MORE,
  W_PLACED_COUNT,
  W_RX_RING,
} from "../dataplane/state_layout.ts";

/** What a delivery needs. */
export interface DeliveryParts {
  /** The number under which frames are kept and counted. */
  readonly worker: number;
  /** The state memory. */
  readonly state: State;
  /** This thread's instances. */
  readonly dataplane: Dataplane;
  /** Signals a guest's call eventfd by number; never blocks. */
  readonly signal: (fd: number) => void;
}

/** Delivers bursts. Does not allocate, except for the first frame between two ports. */
export class Delivery {
  readonly #worker: number;
  readonly #at: number;
  readonly #state: State;
  readonly #dataplane: Dataplane;
  readonly #dispatcher: Dispatcher;
  readonly #signal: (fd: number) => void;

  /** @param parts State, instances and the way to call guests. */
  constructor(parts: DeliveryParts) {
    this.#worker = parts.worker;
    this.#at = workerAt(parts.worker);
    this.#state = parts.state;
    this.#dataplane = parts.dataplane;
    this.#dispatcher = parts.dataplane.dispatcher;
    this.#signal = parts.signal;
  }

  /**
   * Delivers the burst that was taken to all of its destinations.
   *
   * @param source The port that it came from.
   * @param pair The queue pair that it came from.
   */
  deliver(source: number, pair: number): void {
    const destinations = this.#state.get32(this.#at + W_DESTINATION_COUNT);
    for (let i = 0; i < destinations; i++) {
      this.#deliverTo(this.#state.get16(this.#at + W_DESTINATIONS + i * 2), source, pair);
    }
  }

  /** Calls the guest of a ring, if it gave an eventfd for that. */
  call(ring: number): void {
    const fd = this.#state.getSigned32(ringAt(ring) + RING_CALL_FD);
    if (fd >= 0) this.#signal(fd);
  }

  #deliverTo(port: number, source: number, pair: number): void {
    // Makes the instance when it is the first frame for this port.
    this.#dataplane.ring(port);
    do {
      if (this.#dispatcher.reserve(port, this.#worker, pair) === 0) continue;
      if (this.#state.get32(this.#at + W_PLACED_COUNT) > 0) {
        this.#dispatcher.copyPlaced(this.#dataplane.copier(source, port), this.#worker);
      }
      if (this.#dispatcher.publish(port, this.#worker) !== 0) {
        this.call(this.#state.get32(this.#at + W_RX_RING));
      }
    } while (this.#state.get32(this.#at + W_MORE) !== 0);
  }
}
