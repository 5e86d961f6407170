/**
 * Counts latencies in buckets: up to 128 ns one for each nanosecond, then 64 for each doubling.
 */
import { HISTOGRAM, HISTOGRAM_BITS, MAX_LATENCY_NS } from "../memory_layout.ts";

/**
 * Counts a latency.
 *
 * Runs on the generator's thread; does not allocate.
 *
 * @param ns Nanoseconds; what does not fit into 32 bits is counted in the last bucket.
 */
export function record(ns: f64): void {
  if (ns > load<f64>(MAX_LATENCY_NS)) store<f64>(MAX_LATENCY_NS, ns);
  const value = <u32> min<f64>(max<f64>(ns, 0), <f64> u32.MAX_VALUE);
  const shift = <u32> max<i32>(31 - HISTOGRAM_BITS - clz<u32>(value), 0);
  const at = HISTOGRAM + (((shift << HISTOGRAM_BITS) + (value >> shift)) << 2);
  store<u32>(at, load<u32>(at) + 1);
}
