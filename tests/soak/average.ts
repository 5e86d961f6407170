/**
 * Numbers that stand for many.
 *
 * @module
 */

/** The middle number; the mean of the two middle ones of an even count. */
export function median(values: readonly number[]): number {
  return rank(values, 0.5);
}

/** The number that three quarters of all do not exceed. */
export function upperQuartile(values: readonly number[]): number {
  return rank(values, 0.75);
}

// Between two numbers it is taken in proportion.
function rank(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError("Cannot average: there are no numbers");
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at));
}
