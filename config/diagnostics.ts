/**
 * What is wrong with a file, where, why, and how to put it right.
 *
 * @module
 */

import { excerpt } from "./excerpt.ts";
import { visible } from "./visible.ts";

/** One mistake in a file. */
export interface Diagnostic {
  /** Line, from 1. */
  readonly line: number;
  /** Column, from 1. */
  readonly column: number;
  /** How many characters are meant. */
  readonly length: number;
  /** What is wrong and why. */
  readonly reason: string;
  /** What to write instead. */
  readonly fix: string;
}

/** A file that cannot be used. */
export class TopologyError extends Error {
  /** The name of the class. */
  override readonly name = "TopologyError";

  /**
   * Makes one message of all mistakes.
   *
   * @param fileName The file as the user wrote it.
   * @param text Its text.
   * @param diagnostics Its mistakes, at least one.
   */
  constructor(
    readonly fileName: string,
    text: string,
    readonly diagnostics: readonly Diagnostic[],
  ) {
    const lines = text.split(/\r?\n/);
    super(diagnostics.map((found) => format(fileName, lines, found)).join("\n"));
  }
}

function format(fileName: string, lines: readonly string[], found: Diagnostic): string {
  const { line, column, length } = found;
  const [source, mark] = excerpt(lines[line - 1] ?? "", column, length);
  const gutter = `${line}`;
  return [
    `${visible(fileName)}:${line}:${column}: error: ${sentence(found.reason)}`,
    `  ${gutter} | ${source}`,
    `  ${" ".repeat(gutter.length)} | ${mark}`,
    `  fix: ${sentence(found.fix)}`,
    "",
  ].join("\n");
}

// What the file says is quoted, and may be long.
function sentence(text: string): string {
  return visible(text.replaceAll(/"([^"]{60})[^"]+"/g, '"$1…"'));
}
