/**
 * The Internet checksum (RFC 1071) as 16-bit words in the order in which memory holds them: the sum
 * does not mind the byte order as long as it is one and the same.
 */

/** Folds a sum to 16 bits. */
export function fold(sum: u64): u32 {
  let folded = (sum & 0xffffffff) + (sum >> 32);
  folded = (folded & 0xffff) + (folded >> 16);
  folded = (folded & 0xffff) + (folded >> 16);
  return <u32> ((folded & 0xffff) + (folded >> 16));
}

/** Adds two folded sums. */
export function add(a: u32, b: u32): u32 {
  const sum = a + b;
  return (sum & 0xffff) + (sum >> 16);
}

/** A folded sum of words that begin at an odd byte of the whole. */
export function swap(sum: u32): u32 {
  return (sum >> 8) | ((sum & 0xff) << 8);
}

/** The checksum to store: never zero, which in UDP means that there is none (RFC 768). */
export function finish(sum: u32): u32 {
  const checksum = ~sum & 0xffff;
  return checksum === 0 ? 0xffff : checksum;
}

/** Sums bytes of state memory up, for headers and other short pieces. */
export function sumState(at: u32, length: u32): u32 {
  let sum: u64 = 0;
  let done: u32 = 0;
  for (; done + 4 <= length; done += 4) sum += load<u32>(at + done);
  for (; done < length; done++) sum += <u64> load<u8>(at + done) << ((done & 1) * 8);
  return fold(sum);
}
