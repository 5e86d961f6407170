/**
 * The catalogue of bad input and faults: every row of every group.
 *
 * @module
 */
import type { Row } from "./row.ts";
import { BACKEND_ROWS } from "./rows/backends.ts";
import { FAULT_ROWS } from "./rows/faults.ts";
import { FRAME_ROWS } from "./rows/frames.ts";
import { FRONTEND_ROWS } from "./rows/frontends.ts";
import { GUEST_ROWS } from "./rows/guests.ts";

/** All rows, in the order of the table. */
export const CATALOGUE: readonly Row[] = [
  ...GUEST_ROWS,
  ...FRONTEND_ROWS,
  ...BACKEND_ROWS,
  ...FRAME_ROWS,
  ...FAULT_ROWS,
];
