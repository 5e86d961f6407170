/**
 * A line of a file with a mark below it.
 *
 * @module
 */
import { visible } from "./visible.ts";

/** Longer lines are cut. A port with the longest path of a socket fits. */
const MAX_CHARACTERS = 160;
/** How much of a line that is cut is shown before the place. */
const LEAD = 40;
const CUT = "…";

/**
 * Takes the part of a line around a place.
 *
 * @param line The line.
 * @param column The place, from 1.
 * @param length How many characters are meant.
 * @returns The part, and a line with a mark below what is meant.
 */
export function excerpt(
  line: string,
  column: number,
  length: number,
): [source: string, mark: string] {
  const at = column - 1;
  const last = Math.max(0, line.length - MAX_CHARACTERS);
  const from = Math.min(last, Math.max(0, at - LEAD));
  const to = from + MAX_CHARACTERS;
  const before = (from > 0 ? CUT : "") + shown(line.slice(from, at));
  const marked = shown(line.slice(at, Math.min(to, at + length)));
  const after = shown(line.slice(at, to)).slice(marked.length) + (to < line.length ? CUT : "");
  const mark = "^".repeat(Math.max(1, marked.length));
  return [before + marked + after, " ".repeat(before.length) + mark];
}

// A tab is a blank, so that the mark stays below its place.
function shown(text: string): string {
  return visible(text.replaceAll("\t", " "));
}
