/**
 * "Did you mean": the known word closest to what was written.
 *
 * @module
 */

/**
 * Finds the closest word.
 *
 * @param written What the user wrote.
 * @param known The words that would have been right.
 * @returns The closest one if it is close enough to be a slip, else null.
 */
export function suggest(written: string, known: readonly string[]): string | null {
  const limit = Math.max(1, Math.floor(written.length / 3));
  let best: string | null = null;
  let least = limit + 1;
  for (const word of known) {
    const distance = editDistance(written.toLowerCase(), word.toLowerCase());
    if (distance < least) [best, least] = [word, distance];
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn one word into the other. */
export function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isEqual = a[i - 1] === b[j - 1];
      const above = rows[i - 1]!;
      let least = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (isEqual ? 0 : 1));
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
