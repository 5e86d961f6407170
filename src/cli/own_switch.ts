/**
 * A switch of a command's own, in this process, with its sockets in a temporary folder.
 *
 * @module
 */
import { join } from "node:path";
import { parseTopology } from "../../config/load.ts";
import type { Topology } from "../../config/topology.ts";
import { Switch } from "../control/switch.ts";

/** A running switch. */
export interface OwnSwitch {
  /** The switch. */
  readonly lab: Switch;
  /** What it was made of; relative sockets lie in the temporary folder. */
  readonly topology: Topology;
  /** How long it took until its sockets listened, in milliseconds. */
  readonly readyMs: number;
  /** Rejects when the switch dies, or survives a fault of ours, which is no better here. */
  readonly failure: Promise<never>;
}

/**
 * Runs a switch for as long as it is used.
 *
 * @param name Its name, and the folder's.
 * @param text Its topology file.
 * @param use What it is used for.
 * @returns What `use` returns.
 * @throws Whatever `use` throws, and when the switch cannot be opened.
 */
export async function withOwnSwitch<T>(
  name: string,
  text: string,
  use: (own: OwnSwitch) => Promise<T>,
): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: `labswitch-${name}-` });
  try {
    const started = performance.now();
    const failure = Promise.withResolvers<never>();
    // Who uses the switch may not look at it, or not any more.
    failure.promise.catch(() => {});
    const topology = parseTopology(text, join(folder, `${name}.yaml`));
    const lab = new Switch(topology, {
      onPortEvent: () => {},
      onWorkerEvent: ({ reason }) => failure.reject(new Error(reason)),
      onFailure: failure.reject,
    });
    await lab.open();
    try {
      const readyMs = performance.now() - started;
      return await use({ lab, topology, readyMs, failure: failure.promise });
    } finally {
      await lab.close();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
