/**
 * What the switch says of its ports when it stops.
 *
 * @module
 */

/** What passed through a port; directions are the switch's. */
export interface PortTotals {
  /** Frames from the guest. */
  readonly received: number;
  /** Frames to the guest. */
  readonly transmitted: number;
  /** Frames that were dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

// name, state, frames and bytes received, frames and bytes transmitted, drops; faults are left out
const ROW = /^ {2}(\S+) +(?:waiting|connected|up) +(\d+) +\d+ +(\d+) +\d+ {2}(.+?) {2,}.*$/gm;
const HEADING = /^ {2}PORT +STATE +RECEIVED/m;

/**
 * Reads the last table in the switch's output.
 *
 * @throws {Error} When there is none.
 */
export function readPortTable(output: string): Record<string, PortTotals> {
  const start = output.slice(-TABLE_CHARACTERS).search(HEADING);
  if (start < 0) throw new Error("Cannot read the port table: the switch printed none");
  const table = output.slice(-TABLE_CHARACTERS).slice(start);
  const rows = table.matchAll(ROW).map(([, name, received, transmitted, drops]) =>
    [
      name!,
      {
        received: Number(received),
        transmitted: Number(transmitted),
        drops: readDrops(drops!),
      },
    ] as const
  );
  return Object.fromEntries(rows);
}

/** Far more than a table has. */
const TABLE_CHARACTERS = 20_000;

function readDrops(text: string): Record<string, number> {
  if (text === "none") return {};
  return Object.fromEntries(
    text.split(", ").map((part) => {
      const [count, ...reason] = part.split(" ");
      return [reason.join(" "), Number(count)];
    }),
  );
}
