/**
 * What a driver does with a virtqueue of either format.
 *
 * @module
 */
import type { Buffer, UsedChain } from "./driver_virtqueue.ts";

/** A virtqueue as its driver sees it: `DriverVirtqueue` or `PackedDriverVirtqueue`. */
export interface DriverRing {
  /** Entries. */
  readonly size: number;
  /** Free descriptors. */
  readonly free: number;
  /** Chains that the device has not used yet. */
  readonly outstanding: number;
  /** Whether a used chain waits. */
  readonly hasUsed: boolean;
  /** Adds a chain, which the device sees after `publish`; returns whether there was room. */
  add(buffers: readonly Buffer[], token: number): boolean;
  /** Adds a chain as one descriptor that points to a table; returns whether there was room. */
  addIndirect(buffers: readonly Buffer[], token: number, table: number): boolean;
  /** Makes added chains visible; returns whether the device must be kicked. */
  publish(): boolean;
  /** Takes the next chain that the device has used, or null. */
  take(): UsedChain | null;
  /** Asks for a call when the next chain is used; returns whether one is used already. */
  enableCalls(): boolean;
  /** Tells the device not to call. */
  disableCalls(): void;
}
