/**
 * Says for a guest where it is: sends a broadcast that comes from its port, so that this switch and
 * every other one learn its address there.
 *
 * A front-end asks for it after a migration, for guests that cannot do it themselves (vhost-user,
 * "VHOST_USER_SEND_RARP").
 *
 * Runs on the main thread, which has data plane instances of its own for it.
 *
 * @module
 */
import { signalEventFd } from "../../ffi/eventfd.ts";
import { Dataplane, type DataplaneModules } from "../dataplane/dataplane.ts";
import { type State, workerAt } from "../dataplane/state.ts";
import {
  CONTROL_WORKER,
  FRAME_BYTES,
  FRAME_LENGTH,
  FRAME_SNAPSHOT,
  W_FRAMES,
} from "../dataplane/state_layout.ts";
import { encodeReverseArp } from "../ethernet/arp.ts";
import { Delivery } from "../poll/delivery.ts";

/** The lowest bit of an address's first byte: a group of stations (IEEE 802-2014, 8.2.2). */
const GROUP = 1;

/** Announces stations. */
export class Announcer {
  readonly #state: State;
  readonly #dataplane: Dataplane;
  readonly #delivery: Delivery;

  /**
   * @param state The state memory.
   * @param modules The compiled data plane.
   * @param ports The ports' memories, by port number.
   */
  constructor(state: State, modules: DataplaneModules, ports: readonly WebAssembly.Memory[]) {
    this.#state = state;
    this.#dataplane = new Dataplane(modules, state.memory, ports);
    const dataplane = this.#dataplane;
    const worker = CONTROL_WORKER;
    this.#delivery = new Delivery({ worker, state, dataplane, signal: signalEventFd });
  }

  /**
   * Sends a reverse ARP request from a port. An address that no station can have is ignored.
   *
   * @param port The port's number.
   * @param address The station's MAC address.
   */
  announce(port: number, address: Uint8Array): void {
    if ((address[0]! & GROUP) !== 0 || address.every((byte) => byte === 0)) return;
    const frame = encodeReverseArp(address);
    const at = workerAt(CONTROL_WORKER) + W_FRAMES;
    this.#state.clear(at, FRAME_BYTES);
    this.#state.set32(at + FRAME_LENGTH, frame.length);
    this.#state.write(at + FRAME_SNAPSHOT, frame);
    this.#dataplane.ring(port).announce(CONTROL_WORKER, port);
    this.#delivery.deliver(port, 0);
  }
}
