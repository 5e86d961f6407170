/**
 * The table of ports and what passed through them.
 *
 * @module
 */
import type { PortReport } from "../control/switch.ts";
import { columns } from "./columns.ts";

const HEADING = ["PORT", "STATE", "RECEIVED", "BYTES", "TRANSMITTED", "BYTES", "DROPS", "FAULTS"];
const NUMBERS = [2, 3, 4, 5];

/**
 * Makes the table. Received is what came from the guest, transmitted what went to it.
 *
 * @param ports What every port is doing.
 * @returns Lines with a heading.
 */
export function portTable(ports: readonly PortReport[]): string {
  const rows = ports.map(({ name, state, counters }) => [
    name,
    state,
    `${counters.receivedFrames}`,
    `${counters.receivedBytes}`,
    `${counters.transmittedFrames}`,
    `${counters.transmittedBytes}`,
    list(counters.drops),
    list({
      "rings stopped": counters.ringFaults,
      "requests refused": counters.refusedRequests,
      "connections closed": counters.closedConnections,
    }),
  ]);
  return `${columns([HEADING, ...rows], NUMBERS).join("\n")}\n`;
}

function list(counts: Readonly<Record<string, number>>): string {
  const found = Object.entries(counts).filter(([, count]) => count > 0);
  return found.length === 0 ? "none" : found.map(([why, n]) => `${n} ${why}`).join(", ");
}
