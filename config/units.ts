/**
 * Values with a unit, as people write them.
 *
 * @module
 */

const SECONDS: Readonly<Record<string, number>> = { s: 1, min: 60, m: 60, h: 3600, d: 86_400 };
const MEBIBYTES: Readonly<Record<string, number>> = { M: 1, MiB: 1, G: 1024, GiB: 1024 };

/**
 * Reads a duration of whole seconds.
 *
 * @param text A whole number and one of `s`, `m`, `min`, `h`, `d`: `300s`, `5min`.
 * @returns Seconds, or null when it is not one.
 */
export function parseSeconds(text: string): number | null {
  return parse(text, SECONDS);
}

/**
 * Reads an amount of memory.
 *
 * @param text A whole number and one of `M`, `MiB`, `G`, `GiB`: `256M`, `1G`.
 * @returns Mebibytes, or null when it is not one.
 */
export function parseMebibytes(text: string): number | null {
  return parse(text, MEBIBYTES);
}

function parse(text: string, units: Readonly<Record<string, number>>): number | null {
  const [, digits, unit] = /^(\d{1,9})\s*([a-zA-Z]+)$/.exec(text) ?? [];
  if (digits === undefined || !Object.hasOwn(units, unit!)) return null;
  return Number(digits) * units[unit!]!;
}
