/**
 * What the switch needs of a port, whatever it leads to.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import type { EndpointEvents } from "./endpoint.ts";
import type { PortEvent } from "./events.ts";
import type { PeerPlace, Placed } from "./peer_place.ts";

/** What a port is doing. */
export type PortState = "waiting" | "connected" | "up";

/** One port of a switch. Belongs to the main thread. */
export interface SwitchPort {
  /** Its name in the topology. */
  readonly name: string;
  /** Its number. */
  readonly number: number;
  /** What it is doing. */
  readonly state: PortState;
  /** Begins to listen or to connect. */
  open(): void;
  /** Ends the connection and the endpoint. */
  close(): void;
  /** Waits until everything is closed that peers gave; may take for ever. */
  settled(): Promise<void>;
  /** Looks for what a person should know; called by the switch's clock, several times a second. */
  check(): void;
  /** Ends the wait of a Worker that is stuck in calling this port's peer. */
  relieveCalls(): void;
  /** Writes the records of this port's rings anew, after a Worker died. */
  restoreRings(): void;
}

/**
 * What a port's endpoint tells it: a peer is the port's affair, the rest is for a person to read.
 *
 * @param port Its name, and where events go.
 * @param place Where a peer would be.
 * @param onPeer Takes a peer's socket, and owns it.
 */
export function endpointEvents(
  { name, onEvent }: { readonly name: string; readonly onEvent: (event: PortEvent) => void },
  place: PeerPlace<Placed>,
  onPeer: (socket: Fd) => void,
): EndpointEvents {
  return {
    obstacle: () => place.obstacle,
    onPeer,
    onExhausted: ({ message }) => onEvent({ kind: "exhausted", port: name, reason: message }),
    onStale: (path) => onEvent({ kind: "stale-socket", port: name, path }),
  };
}
