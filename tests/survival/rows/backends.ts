/**
 * Rows of back-ends that break the rules towards us (B).
 *
 * @module
 */
import { type Row, rowsOf } from "../row.ts";

/** The front-end role exists for the demo and the tests, which talk to this switch alone. */
const NO_ROLE = "no port has the front-end role yet";

/** B01 to B25. */
export const BACKEND_ROWS: readonly Row[] = rowsOf([
  [
    "B01",
    "replies that are short, long, of another request, with wrong flags",
    "R3, tries again",
    NO_ROLE,
  ],
  ["B02", "no reply", "R3 after a time", NO_ROLE],
  ["B03", "a reply not marked as one", "R3", NO_ROLE],
  ["B04", "unknown features offered", "ignored", NO_ROLE],
  ["B05", "0 or 2^64 - 1 queues", "refused or limited", NO_ROLE],
  ["B06", "0 memory slots", "refused", NO_ROLE],
  ["B07", "descriptors with replies", "closed", NO_ROLE],
  ["B08", "a used id behind the ring", "ring reset", NO_ROLE],
  ["B09", "a used id that is not in flight", "ring reset", NO_ROLE],
  ["B10", "the same id twice", "ring reset", NO_ROLE],
  ["B11", "more bytes used than the buffer has", "limited, counted", NO_ROLE],
  ["B12", "used index ahead of what is in flight", "ring reset", NO_ROLE],
  ["B13", "used index goes back", "ring reset", NO_ROLE],
  ["B14", "a buffer count of 0 or more than posted", "dropped", NO_ROLE],
  ["B15", "lies about offloads", "as from a guest", NO_ROLE],
  ["B16", "rewrites the descriptor table", "OK, the driver counts by itself", NO_ROLE],
  ["B17", "a storm of calls", "bounded", NO_ROLE],
  ["B18", "never takes what is sent", "dropped, counted", NO_ROLE],
  ["B19", "never fills receive buffers", "OK", NO_ROLE],
  ["B20", "dies in a burst and comes back", "traffic resumes", NO_ROLE],
  ["B21", "unknown requests on the back-end channel, with descriptors", "refused, closed", NO_ROLE],
  ["B22", "garbage as base of a stopped ring", "bounded", NO_ROLE],
  ["B23", "accepts and hangs up without end; never accepts", "waits longer each time", NO_ROLE],
  ["B24", "the path belongs to another service", "a clear error", NO_ROLE],
  ["B25", "writes over the whole shared memory", "frames dropped", NO_ROLE],
]);
