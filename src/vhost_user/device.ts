/**
 * What the back-end's state machine needs from whatever is behind it.
 *
 * @module
 */
import type { Descriptor } from "./message.ts";

/** What a back-end offers; the same for every connection of a port. */
export interface BackendOffer {
  /** Virtio features, bit 30 included. */
  readonly features: bigint;
  /** Protocol features. */
  readonly protocolFeatures: bigint;
  /** Queue pairs. */
  readonly queuePairs: number;
  /** Most entries of a ring. */
  readonly maxQueueSize: number;
}

/** A part of a file that is shared with the front-end. */
export interface SharedPart {
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** Where it starts in its file. */
  readonly offsetBytes: bigint;
  /** The file. */
  readonly fd: Descriptor;
}

/** A part of the guest's memory ("Memory region description"). */
export interface MemoryRegion extends SharedPart {
  /** Guest-physical address of its first byte. */
  readonly guestAddress: bigint;
  /** The same byte as the front-end addresses it. */
  readonly frontendAddress: bigint;
}

/** The log of dirty pages: one bit for each 4 KiB of guest memory ("Log description"). */
export type DirtyLog = SharedPart;

/** What a ring needs to start. */
export interface RingSetup {
  /** Entries; a power of two unless the ring is packed. */
  readonly size: number;
  /** Next available index, or a packed ring's positions, as the front-end remembers it. */
  readonly base: number;
  /** Front-end address of the descriptor table. */
  readonly descAddress: bigint;
  /** Front-end address of the available ring. */
  readonly availAddress: bigint;
  /** Front-end address of the used ring. */
  readonly usedAddress: bigint;
  /** Eventfd that the guest kicks, or null when it does not; stays the back-end's. */
  readonly kick: Descriptor | null;
  /** Eventfd that calls the guest, or null when it polls; stays the back-end's. */
  readonly call: Descriptor | null;
}

/** The device behind a back-end. Its methods throw {@linkcode RequestRefused} to say no. */
export interface BackendDevice {
  /** Takes over negotiated features. */
  setFeatures(features: bigint): void;
  /**
   * Runs a change of what rings work on while none of the port's rings is touched by anybody.
   *
   * @param change The change.
   * @returns What it returns.
   */
  whileQuiet<T>(change: () => T): T;
  /**
   * Makes sure that memory can be used once it is mapped.
   *
   * @param parts What is to be mapped; the descriptors stay the caller's, and open meanwhile.
   * @returns Null when there is nothing to wait for; else a promise that is rejected with a
   * {@linkcode RequestRefused} when there is too little memory.
   */
  prepareMemory(parts: readonly SharedPart[]): Promise<void> | null;
  /** Replaces the memory table; the device owns the regions' descriptors from now on. */
  setMemoryTable(regions: MemoryRegion[]): void;
  /** Adds a region; the device owns its descriptor from now on. */
  addMemoryRegion(region: MemoryRegion): void;
  /** Removes the region with these addresses and this size; a ring in it is quarantined. */
  removeMemoryRegion(region: Omit<MemoryRegion, "fd">): void;
  /** Logs dirty pages there from now on, if the features say so; the descriptor stays the caller's. */
  setLog(log: DirtyLog): void;
  /** Takes over the largest packet. */
  setMtu(mtu: number): void;
  /** Tells every port that the station with this MAC address is here now. */
  announce(address: Uint8Array): void;
  /** Starts a ring that is stopped. */
  startRing(index: number, setup: RingSetup): void;
  /** Stops a ring; when it returns nothing touches it. Returns its next available index. */
  stopRing(index: number): number;
  /** Sets a ring's enabled bit, started or not. */
  setRingEnabled(index: number, isEnabled: boolean): void;
  /** Makes sure that a descriptor of a ring is an eventfd that can be written without waiting. */
  requireEventFd(fd: Descriptor): void;
  /** Swaps a started ring's call eventfd; when it returns the old one is not used any more. */
  setCall(index: number, call: Descriptor | null): void;
}
