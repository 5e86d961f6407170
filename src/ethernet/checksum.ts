/**
 * The Internet checksum (RFC 1071).
 *
 * @module
 */

/**
 * Sums data up.
 *
 * @param data Any length; an odd last byte counts as the high half of a word.
 * @param initial A sum to begin with, as {@linkcode pseudoHeaderSum} makes it.
 * @returns The checksum to store, in host order; over data that holds its own checksum, 0.
 */
export function internetChecksum(data: Uint8Array, initial = 0): number {
  return ~fold(sum(data) + initial) & 0xffff;
}

/**
 * Sums up what a transport checksum covers beside the packet itself (RFC 768; RFC 8200, 8.1).
 *
 * @param source Sender's address, 4 or 16 bytes.
 * @param destination Receiver's address, of the same length.
 * @param protocol Of the packet.
 * @param length Bytes of the packet.
 */
export function pseudoHeaderSum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): number {
  return sum(source) + sum(destination) + protocol + length;
}

/**
 * Corrects a checksum for one word that changes (RFC 1624, equation 3).
 *
 * @param checksum As it is stored.
 * @param before The word that the checksum covers, 16 bits.
 * @param after The word that takes its place.
 * @returns The checksum to store.
 */
export function adjustChecksum(checksum: number, before: number, after: number): number {
  return ~fold((~checksum & 0xffff) + (~before & 0xffff) + after) & 0xffff;
}

function sum(data: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < data.length; i += 2) total += data[i]! << 8 | (data[i + 1] ?? 0);
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.trunc(folded / 0x10000);
  return folded;
}
