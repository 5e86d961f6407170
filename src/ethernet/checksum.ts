/**
 * The Internet checksum (RFC 1071).
 *
 * @module
 */

/**
 * Sums data up.
 *
 * @param data Any length; an odd last byte counts as the high half of a word.
 * @returns The checksum to store, in host order; over data that holds its own checksum, 0.
 */
export function internetChecksum(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += data[i]! << 8 | (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.trunc(sum / 0x10000);
  return ~sum & 0xffff;
}
