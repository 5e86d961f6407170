/**
 * Which ports of a bridge get flooded frames: those that are up.
 *
 * Workers read the lists at any time. An entry is written before the count that makes it visible, and
 * a port leaves by moving the last entry into its place before the count shrinks. In between a Worker
 * may see one port twice, which a set of destinations forgives.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { State } from "../dataplane/state.ts";
import {
  BRIDGE_AGEING_SECONDS,
  BRIDGE_BYTES,
  BRIDGE_COUNT,
  BRIDGE_PORTS,
  BRIDGES,
} from "../dataplane/state_layout.ts";

/** Keeps the member lists of all bridges. */
export class BridgeMembers {
  readonly #state: State;

  /** @param state The state memory. */
  constructor(state: State) {
    this.#state = state;
  }

  /** Sets how long an address is remembered, in seconds. */
  setAgeing(bridge: number, seconds: number): void {
    this.#state.set32(bridgeAt(bridge) + BRIDGE_AGEING_SECONDS, seconds);
  }

  /** Adds a port that is not a member. */
  add(bridge: number, port: number): void {
    const at = bridgeAt(bridge);
    const members = this.#state.get32(at + BRIDGE_COUNT);
    this.#state.set16(at + BRIDGE_PORTS + members * 2, port);
    this.#state.store32(at + BRIDGE_COUNT, members + 1);
  }

  /** Removes a member. */
  remove(bridge: number, port: number): void {
    const at = bridgeAt(bridge);
    const last = this.#state.get32(at + BRIDGE_COUNT) - 1;
    for (let i = 0; i <= last; i++) {
      if (this.#state.get16(at + BRIDGE_PORTS + i * 2) !== port) continue;
      this.#state.set16(
        at + BRIDGE_PORTS + i * 2,
        this.#state.get16(at + BRIDGE_PORTS + last * 2),
      );
      this.#state.store32(at + BRIDGE_COUNT, last);
      return;
    }
  }
}

function bridgeAt(bridge: number): number {
  return BRIDGES + bridge * BRIDGE_BYTES;
}
