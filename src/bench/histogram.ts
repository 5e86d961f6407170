/**
 * Reads the generator's histogram of latencies. Its buckets are log-linear, as those of an HDR
 * histogram: one for each nanosecond at first, then 64 for each doubling.
 *
 * @module
 */
import { HISTOGRAM_BITS } from "./memory_layout.ts";

const STEPS = 1 << HISTOGRAM_BITS;

/** The longest latency that is counted in a bucket, in nanoseconds. */
export function upperBound(bucket: number): number {
  const shift = Math.max(0, (bucket >> HISTOGRAM_BITS) - 1);
  return (bucket - shift * STEPS + 1) * 2 ** shift - 1;
}

/**
 * The latency that a share of all does not exceed.
 *
 * @param counts Counts by bucket.
 * @param share Above 0, up to 1.
 * @returns Nanoseconds, at most 1.6 % too long, or null when nothing was counted.
 */
export function quantile(counts: Uint32Array, share: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let left = Math.ceil(share * total);
  for (const [bucket, count] of counts.entries()) {
    left -= count;
    if (count > 0 && left <= 0) return upperBound(bucket);
  }
  return null;
}
