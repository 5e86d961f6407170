/**
 * Rows of back-ends that break the rules towards a port of type `vhost-user-frontend` (B). A ring that such a
 * back-end has spoilt ends the connection: the next one begins with fresh rings.
 *
 * @module
 */
import { type Row, rowsOf } from "../row.ts";

/** B01 to B25. */
export const BACKEND_ROWS: readonly Row[] = rowsOf([
  [
    "B01",
    "replies that are short, long, of another request, with wrong flags",
    "R3, tries again later",
  ],
  ["B02", "no reply", "R3 after a time"],
  ["B03", "a reply not marked as one", "R3"],
  ["B04", "unknown features offered", "ignored"],
  ["B05", "0 or 2^64 - 1 queues", "R3, or only one is used"],
  ["B06", "0 memory slots", "OK, one region needs none"],
  ["B07", "descriptors with replies", "closed, R3"],
  ["B08", "a used id behind the ring", "R3, with fresh rings later"],
  ["B09", "a used id that is not in flight", "R3, with fresh rings later"],
  ["B10", "the same id twice", "R3, with fresh rings later"],
  ["B11", "more bytes used than the buffer has", "R1"],
  ["B12", "used index ahead of what is in flight", "R3, with fresh rings later"],
  ["B13", "used index goes back", "R3, with fresh rings later"],
  ["B14", "a buffer count of 0 or more than posted", "R1"],
  ["B15", "lies about offloads", "as from a guest"],
  ["B16", "rewrites the descriptor table", "OK, the driver counts by itself"],
  ["B17", "a storm of calls", "bounded"],
  ["B18", "never takes what is sent", "dropped, counted"],
  ["B19", "never fills receive buffers", "OK"],
  ["B20", "dies in a burst and comes back", "traffic resumes"],
  [
    "B21",
    "unknown requests on the back-end channel, with descriptors",
    "none is offered; closed, R3",
  ],
  ["B22", "garbage as base of a stopped ring", "OK, rings begin anew"],
  ["B23", "accepts and hangs up without end; never accepts", "waits longer each time"],
  ["B24", "the path belongs to another service", "R3 with a clear reason"],
  ["B25", "writes over the whole shared memory", "frames dropped, or R3"],
]);
