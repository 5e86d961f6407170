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

/** Every counter of a port, by name, with its place. */
const PLACES = {
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
} as const;

/** Every reason to drop a frame, in words, with its place. */
const DROP_PLACES = {
  "no buffer": C_DROP_NO_BUFFER,
  "not ready": C_DROP_NOT_READY,
  "too big": C_DROP_TOO_BIG,
  "runt": C_DROP_RUNT,
  "bad chain": C_DROP_BAD_CHAIN,
  "bad offload": C_DROP_BAD_OFFLOAD,
  "cannot be segmented": C_DROP_BAD_SEGMENTATION,
  "queue disabled": C_DROP_DISABLED,
  "same port": C_DROP_SAME_PORT,
} as const;

/** A reason to drop a frame. */
export type DropReason = keyof typeof DROP_PLACES;

/** Reasons that are a mistake of the sender's (answer R1). */
export const MISTAKES = ["bad chain", "bad offload", "cannot be segmented"] as const;

/** A port's counters: frames, bytes, addresses, rings; and drops by reason. */
export type PortCounters =
  & { readonly [K in keyof typeof PLACES]: number }
  & { readonly drops: Readonly<Record<DropReason, number>> };

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
