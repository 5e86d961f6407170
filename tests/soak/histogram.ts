/**
 * Durations counted in buckets that grow with them: 16 buckets for each doubling, so a quantile is
 * right to 5 %. Counts are plain numbers in an array, which may lie in shared memory.
 *
 * @module
 */

/** Buckets of a doubling. */
const STEPS = 16;
/** Doublings: the last bucket holds what is longer than a minute. */
const DOUBLINGS = 36;

/** How many buckets a histogram has. */
export const BUCKETS: number = STEPS * DOUBLINGS;

/** Counts by bucket. */
export type Counts = Uint32Array;

/** The bucket of a duration in nanoseconds. */
export function bucketOf(ns: number): number {
  if (ns <= 1) return 0;
  return Math.min(BUCKETS - 1, Math.floor(Math.log2(ns) * STEPS));
}

/** The duration in the middle of a bucket, in nanoseconds. */
export function middleOf(bucket: number): number {
  return 2 ** ((bucket + 0.5) / STEPS);
}

/**
 * The duration that a share of all durations does not exceed.
 *
 * @param counts Counts by bucket.
 * @param share From 0 to 1.
 * @returns Nanoseconds, or null when nothing was counted.
 */
export function quantile(counts: Counts, share: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = Math.ceil(share * total);
  for (let bucket = 0; bucket < counts.length; bucket++) {
    left -= counts[bucket]!;
    if (left <= 0) return middleOf(bucket);
  }
  return middleOf(counts.length - 1);
}

/** What was counted between two looks at the same histogram. */
export function difference(later: Counts, earlier: Counts): Counts {
  return later.map((count, bucket) => count - earlier[bucket]!);
}
