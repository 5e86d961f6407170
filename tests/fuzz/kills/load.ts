/**
 * What keeps frames moving while the switch is killed and started again.
 *
 * @module
 */
import type { Labswitch } from "../../support/labswitch.ts";

/** Counts what was lost for good; all must stay 0. */
export interface Losses {
  /** Front-ends that ended or do not answer. */
  readonly guests: number;
  /** TCP connections that ended. */
  readonly connections: number;
}

/** Frames on their way through a switch, for ever. Disposing ends them. */
export interface Load extends AsyncDisposable {
  /** Frames that have reached a receiver, all together; grows only while the switch works. */
  received(): Promise<number>;
  /** A counter of each queue, by its name. */
  queues(): Promise<ReadonlyMap<string, number>>;
  /** How far a counter of a queue can go without a switch. */
  readonly slack: number;
  /** What was lost so far. */
  losses(): Promise<Losses>;
  /**
   * Ends the traffic in good order.
   *
   * @throws {Error} When something that arrived is not what was sent.
   */
  finish(): Promise<void>;
}

/** A kind of load. */
export interface LoadKind {
  /** What it is, for a report. */
  readonly name: string;
  /** The topology file of the switch. */
  readonly topology: string;
  /** Whether the switch may also die while it talks to the front-ends. */
  readonly bearsEarlyKills: boolean;
  /** Says what is missing to run it here; `undefined` if nothing is. */
  missing(): string | undefined;
  /**
   * Starts it and waits until frames flow.
   *
   * @param lab A switch with the topology.
   * @param folder The folder of the switch; the caller owns and removes it.
   */
  start(lab: Labswitch, folder: string): Promise<Load>;
}
