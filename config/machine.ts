/**
 * What a topology needs to know of the machine that it is for: its processors.
 *
 * @module
 */

/** A machine. */
export interface Machine {
  /** How many processors this process may keep busy, at least 1. */
  readonly parallelism: number;
  /** The numbers of the processors that are there; null when nobody knows. */
  readonly processors: ReadonlySet<number> | null;
}

/** Linux lists here which processors work (Documentation/admin-guide/cputopology.rst). */
const ONLINE = "/sys/devices/system/cpu/online";

/** The machine that this runs on. */
export function thisMachine(): Machine {
  return { parallelism: navigator.hardwareConcurrency, processors: onlineProcessors() };
}

/**
 * Reads a list of processors as Linux writes it.
 *
 * @param text Numbers and ranges: `0-3,8`.
 * @returns Their numbers.
 */
export function parseProcessors(text: string): Set<number> {
  const found = new Set<number>();
  for (const part of text.trim().split(",")) {
    const [first = 0, last = first] = part.split("-").map(Number);
    for (let number = first; number <= last; number++) found.add(number);
  }
  return found;
}

function onlineProcessors(): Set<number> | null {
  try {
    return parseProcessors(Deno.readTextFileSync(ONLINE));
  } catch {
    // Not mounted, or not ours to read: a Worker that cannot be pinned will say so.
    return null;
  }
}
