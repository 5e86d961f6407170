/**
 * The log of dirty pages: while a guest is migrated, its front-end learns from it which pages to send
 * once more.
 *
 * One bit per 4 KiB of guest-physical memory (vhost-user, "Migration"). The front-end takes bits away
 * at any time, so each is set atomically, and after the write that it stands for: taken away too
 * early, it would hide that write. Only the guest's own log can be written here, because it is mapped
 * in the port's memory.
 */
import {
  LOG_PAGE_BYTES,
  PORT_LOG,
  PORT_LOG_BYTES,
  PORT_REGION_COUNT,
  PORT_REGIONS,
  REGION_BYTES,
  REGION_GUEST,
  REGION_LOCAL,
  REGION_SIZE,
} from "../state_layout.ts";
import * as guest from "./guest.ts";

/** Whether writes to a guest's memory are logged. */
export function isLogged(port: u32): bool {
  return load<u64>(port + PORT_LOG) !== 0;
}

/**
 * Marks the pages of a range that was written.
 *
 * Runs on a poll Worker in the instance of the port; does not allocate.
 *
 * @param port Address of the port's record.
 * @param local Where the range starts in the port's memory; it lies in one region.
 * @param length Bytes, at least 1.
 */
export function markDirty(port: u32, local: u64, length: u64): void {
  const end = port + PORT_REGIONS + load<u32>(port + PORT_REGION_COUNT) * REGION_BYTES;
  for (let region = port + PORT_REGIONS; region < end; region += REGION_BYTES) {
    const offset = local - load<u64>(region + REGION_LOCAL);
    if (offset >= load<u64>(region + REGION_SIZE)) continue;
    markPages(port, load<u64>(region + REGION_GUEST) + offset, length);
    return;
  }
}

function markPages(port: u32, address: u64, length: u64): void {
  const log = load<u64>(port + PORT_LOG);
  const bytes = load<u64>(port + PORT_LOG_BYTES);
  const last = (address + length - 1) / LOG_PAGE_BYTES;
  for (let page = address / LOG_PAGE_BYTES; page <= last; page++) {
    // The front-end made the log: what it has no bit for, it does not want to know.
    if (page >> 3 >= bytes) return;
    guest.orAtomic8(log + (page >> 3), 1 << (<u32> page & 7));
  }
}
