/**
 * What is wrong with a file, where, why, and how to put it right.
 *
 * @module
 */

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
  const { line, column, length, reason, fix } = found;
  const source = (lines[line - 1] ?? "").replaceAll("\t", " ");
  const gutter = `${line}`;
  const mark = "^".repeat(Math.max(1, Math.min(length, source.length - column + 1)));
  return [
    `${fileName}:${line}:${column}: error: ${reason}`,
    `  ${gutter} | ${source}`,
    `  ${" ".repeat(gutter.length)} | ${" ".repeat(column - 1)}${mark}`,
    `  fix: ${fix}`,
    "",
  ].join("\n");
}
