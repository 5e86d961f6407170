/**
 * Loads the topology that a command was given, and tells the user when it cannot.
 *
 * @module
 */
import { TopologyError } from "../../config/diagnostics.ts";
import { loadTopology } from "../../config/load.ts";
import type { Topology } from "../../config/topology.ts";
import { EXIT_FAILURE, EXIT_TOPOLOGY } from "./exit_codes.ts";
import type { Io } from "./io.ts";

/**
 * Loads a topology.
 *
 * @param path The file.
 * @param io Where the mistakes are explained.
 * @returns The topology, or an exit code.
 */
export async function readTopology(path: string, io: Pick<Io, "err">): Promise<Topology | number> {
  try {
    return await loadTopology(path);
  } catch (error) {
    if (error instanceof TopologyError) {
      io.err(error.message);
      return EXIT_TOPOLOGY;
    }
    const reason = reasonOf(error);
    if (reason === null) throw error;
    io.err(`error: cannot read ${path}: ${reason}\n`);
    return EXIT_FAILURE;
  }
}

function reasonOf(error: unknown): string | null {
  if (error instanceof Deno.errors.NotFound) {
    return "it does not exist; config/examples has files to start from";
  }
  if (error instanceof Deno.errors.PermissionDenied) return "its permissions do not allow it";
  if (error instanceof Deno.errors.NotCapable) {
    // What is missing need not be the file: libraries look at the environment.
    const flag = /--allow-[a-z]+/.exec(error.message)?.[0] ?? "the permission";
    return `run with ${flag}, or -A for everything`;
  }
  if (error instanceof Deno.errors.IsADirectory) return "it is a folder";
  if (error instanceof Deno.errors.NotADirectory) return "a part of its path is a file";
  if (error instanceof Deno.errors.FilesystemLoop) return "its links lead in a circle";
  return null;
}
