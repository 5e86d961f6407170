/**
 * Plain text tables.
 *
 * @module
 */
import { visible } from "../../config/visible.ts";

/**
 * Aligns rows in columns, two spaces apart and two from the left.
 *
 * @param rows Rows of cells, from whatever source; the first is the heading.
 * @param right The indexes of columns that are aligned to the right.
 * @returns Lines without trailing blanks.
 */
export function columns(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string[] {
  const shown = rows.map((row) => row.map(visible));
  const widths: number[] = [];
  for (const row of shown) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  }
  return shown.map((row) => {
    const cells = row.map((cell, i) =>
      right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)
    );
    return `  ${cells.join("  ")}`.trimEnd();
  });
}
