/**
 * Guest addresses to addresses in the port's WebAssembly memory.
 *
 * A range is translated, never an address alone: the caller gets the part that lies in one region
 * and asks again for the rest, because a buffer may straddle regions (vhost-user, "Memory regions
 * description").
 */
import {
  PORT_REGION_COUNT,
  PORT_REGIONS,
  REGION_BYTES,
  REGION_GUEST,
  REGION_LOCAL,
  REGION_SIZE,
} from "../state_layout.ts";

/** Bytes of the range that {@linkcode translate} found in one region. */
export let contiguous: u64 = 0;

/** Offset of the region that held the last address: most buffers lie in the same one. */
let hint: u32 = 0;

/**
 * The region that held the last address: where loops over many buffers begin, which then compare
 * addresses with it by themselves.
 *
 * @param port Address of the port's record.
 * @returns Address of the region's record; its size is 0 when there is none.
 */
export function likelyRegion(port: u32): u32 {
  return port + PORT_REGIONS + hint;
}

/**
 * Translates the start of a range of guest addresses.
 *
 * @param port Address of the port's record.
 * @param address Guest address; any 64-bit value.
 * @param length Bytes, at least 1.
 * @returns The address in the port's memory, with `contiguous` set; 0 when no region holds it (no
 * region is ever mapped at 0).
 */
export function translate(port: u32, address: u64, length: u64): u64 {
  let region = port + PORT_REGIONS + hint;
  // Unsigned: an address below the region wraps to a huge offset and fails the same comparison.
  let offset = address - load<u64>(region + REGION_GUEST);
  if (offset >= load<u64>(region + REGION_SIZE)) {
    region = findRegion(port, address);
    if (region === 0) return 0;
    hint = region - port - PORT_REGIONS;
    offset = address - load<u64>(region + REGION_GUEST);
  }
  contiguous = min<u64>(load<u64>(region + REGION_SIZE) - offset, length);
  return load<u64>(region + REGION_LOCAL) + offset;
}

// Control clears the records behind the count, so that a stale hint finds a region of size 0.
function findRegion(port: u32, address: u64): u32 {
  const end = port + PORT_REGIONS + load<u32>(port + PORT_REGION_COUNT) * REGION_BYTES;
  for (let region = port + PORT_REGIONS; region < end; region += REGION_BYTES) {
    if (address - load<u64>(region + REGION_GUEST) < load<u64>(region + REGION_SIZE)) return region;
  }
  return 0;
}
