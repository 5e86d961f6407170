/**
 * The time in front of a line about an event.
 *
 * @module
 */
import type { Io } from "./io.ts";

/**
 * Says what time it is.
 *
 * @param io Who reads it.
 * @returns RFC 3339 where a program reads along, the time of day where a person does.
 */
export function timeStamp(io: Pick<Io, "isTerminal">): string {
  const now = new Date();
  return io.isTerminal ? now.toTimeString().slice(0, 8) : now.toISOString();
}
