/**
 * What happens to a switch that a person wants to read, as data; the command line makes lines of it.
 *
 * @module
 */

import type { DhcpEvent } from "../dhcp/server.ts";

/** The process at the other end of a socket. */
export interface Peer {
  /** Its process number. */
  readonly pid: number;
  /** Its name as the kernel shows it. */
  readonly name: string;
}

/** An event of one port. */
export type PortEvent =
  /** A front-end connected. */
  | { readonly kind: "connected"; readonly port: string; readonly peer: Peer }
  /** A second front-end was turned away. */
  | { readonly kind: "refused"; readonly port: string; readonly peer: Peer }
  /** A front-end waits to be accepted, because the switch has no room for it. */
  | { readonly kind: "exhausted"; readonly port: string; readonly reason: string }
  /** The front-end hung up (`reason` null), or was disconnected because of what it did. */
  | { readonly kind: "disconnected"; readonly port: string; readonly reason: string | null }
  /** The guest's driver is ready: frames flow. */
  | {
    readonly kind: "up";
    readonly port: string;
    readonly features: bigint;
    readonly memoryBytes: bigint;
    readonly regions: number;
  }
  /** The guest's driver stopped its queues; the front-end is still there. */
  | { readonly kind: "down"; readonly port: string }
  /** The guest's driver is ready, but the front-end shares no memory. */
  | { readonly kind: "no-memory"; readonly port: string }
  /** A request of the front-end was refused. */
  | {
    readonly kind: "request-refused";
    readonly port: string;
    readonly request: string;
    readonly reason: string;
  }
  /** Chains of the guest were dropped because they break a rule; said once for each connection. */
  | { readonly kind: "chains-dropped"; readonly port: string; readonly text: string }
  /** A ring broke the rules and is quarantined. */
  | {
    readonly kind: "ring-fault";
    readonly port: string;
    readonly index: number;
    readonly text: string;
  }
  /** A socket that nobody listens on any more was replaced. */
  | { readonly kind: "stale-socket"; readonly port: string; readonly path: string }
  /** The DHCP server of a host port did something. */
  | DhcpEvent & { readonly port: string };

/** An event of a thread. */
export type WorkerEvent =
  /** A poll Worker's died of a fault of the switch's own, and another one goes on with its rings. */
  | { readonly kind: "worker-replaced"; readonly worker: number; readonly reason: string }
  /** That of the host ports died of a fault of the switch's own, and another one took its place. */
  | { readonly kind: "hosts-replaced"; readonly reason: string };

/**
 * Whether an event of a port is news when what it leads to is in this process, comes with the switch
 * and leaves with it.
 */
export function isInnerNews({ kind }: PortEvent): boolean {
  return kind !== "connected" && kind !== "up" && kind !== "down";
}
