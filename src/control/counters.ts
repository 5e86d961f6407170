/**
 * A port's counters, summed over the Workers.
 *
 * Directions are the switch's: received came from the guest, transmitted went to it.
 *
 * @module
 */
import type { State } from "../dataplane/state.ts";
import {
  C_BAD_RX_CHAIN,
  C_CALLS,
  C_CHECKSUMMED,
  C_CLOSED_CONNECTIONS,
  C_DROP_BAD_CHAIN,
  C_DROP_BAD_OFFLOAD,
  C_DROP_BAD_SEGMENTATION,
  C_DROP_DISABLED,
  C_DROP_NO_BUFFER,
  C_DROP_NOT_READY,
  C_DROP_RUNT,
  C_DROP_SAME_PORT,
  C_DROP_TOO_BIG,
  C_FDB_FULL,
  C_FLOODED,
  C_LEARNED,
  C_MOVED,
  C_RECEIVED_BYTES,
  C_RECEIVED_FRAMES,
  C_REFUSED_REQUESTS,
  C_RING_FAULTS,
  C_SEGMENTED,
  C_TRANSMITTED_BYTES,
  C_TRANSMITTED_FRAMES,
} from "../dataplane/state_layout.ts";

/** A reason to drop a frame. */
export type DropReason =
  | "no buffer"
  | "not ready"
  | "too big"
  | "runt"
  | "bad chain"
  | "bad offload"
  | "cannot be segmented"
  | "queue disabled"
  | "same port";

/** A port's counters. "Received" is what came from the port's peer. */
export interface PortCounters {
  /** Frames that came from the peer. */
  readonly receivedFrames: number;
  /** Bytes of those frames, without virtio-net headers. */
  readonly receivedBytes: number;
  /** Frames given to the peer. */
  readonly transmittedFrames: number;
  /** Bytes of those frames, without virtio-net headers. */
  readonly transmittedBytes: number;
  /** Frames from the peer that went to every port. */
  readonly flooded: number;
  /** Addresses learned on the port, new or moved to it. */
  readonly learned: number;
  /** Addresses moved to the port from another one. */
  readonly moved: number;
  /** Addresses not learned because there was no room. */
  readonly fdbFull: number;
  /** Rings that broke the rules and were quarantined. */
  readonly ringFaults: number;
  /** Connections ended because of what the peer did. */
  readonly closedConnections: number;
  /** Requests of a front-end that were refused. */
  readonly refusedRequests: number;
  /** Receive chains that break a rule of the ring. */
  readonly badReceiveChains: number;
  /** Notifications that the peer asked for. */
  readonly calls: number;
  /** Super-packets that were cut for the peer. */
  readonly segmented: number;
  /** Frames whose checksum was finished for the peer. */
  readonly checksummed: number;
  /** Frames that were dropped. */
  readonly drops: Readonly<Record<DropReason, number>>;
}

/** Where each counter is. */
const PLACES: Readonly<Record<Exclude<keyof PortCounters, "drops">, number>> = {
  receivedFrames: C_RECEIVED_FRAMES,
  receivedBytes: C_RECEIVED_BYTES,
  transmittedFrames: C_TRANSMITTED_FRAMES,
  transmittedBytes: C_TRANSMITTED_BYTES,
  flooded: C_FLOODED,
  learned: C_LEARNED,
  moved: C_MOVED,
  fdbFull: C_FDB_FULL,
  ringFaults: C_RING_FAULTS,
  closedConnections: C_CLOSED_CONNECTIONS,
  refusedRequests: C_REFUSED_REQUESTS,
  badReceiveChains: C_BAD_RX_CHAIN,
  calls: C_CALLS,
  segmented: C_SEGMENTED,
  checksummed: C_CHECKSUMMED,
};

/** Where the drops are counted. */
const DROP_PLACES: Readonly<Record<DropReason, number>> = {
  "no buffer": C_DROP_NO_BUFFER,
  "not ready": C_DROP_NOT_READY,
  "too big": C_DROP_TOO_BIG,
  "runt": C_DROP_RUNT,
  "bad chain": C_DROP_BAD_CHAIN,
  "bad offload": C_DROP_BAD_OFFLOAD,
  "cannot be segmented": C_DROP_BAD_SEGMENTATION,
  "queue disabled": C_DROP_DISABLED,
  "same port": C_DROP_SAME_PORT,
};

/** Reasons that are a mistake of the sender's (answer R1). */
export const MISTAKES = ["bad chain", "bad offload", "cannot be segmented"] as const;

/**
 * Reads a port's counters without stopping anybody.
 *
 * @param state The state memory.
 * @param port The port's number.
 * @param workers How many Workers count.
 * @returns Plain numbers, exact up to 2^53.
 */
export function readCounters(state: State, port: number, workers: number): PortCounters {
  const read = <T extends Record<string, number>>(places: T): { [K in keyof T]: number } => {
    const entries = Object.entries(places).map(([name, place]) =>
      [name, Number(state.counter(port, place, workers))] as const
    );
    return Object.fromEntries(entries) as { [K in keyof T]: number };
  };
  return { ...read(PLACES), drops: read(DROP_PLACES) };
}
