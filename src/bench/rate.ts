/**
 * Rates as people write them.
 *
 * @module
 */

/** The highest rate that can be asked for, in frames per second. */
export const MAX_RATE_PPS = 100e6;

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1e3, M: 1e6 };

/**
 * Reads a rate.
 *
 * @param text Like `250`, `100k` or `1.5M`.
 * @returns Frames per second, 1 to 100 million, or null when it is something else.
 */
export function parseRate(text: string): number | null {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([kM]?)$/.exec(text) ?? [];
  if (digits === undefined) return null;
  const rate = Number(digits) * UNITS[unit!]!;
  return rate >= 1 && rate <= MAX_RATE_PPS ? rate : null;
}
