/**
 * Memory regions out of the messages that carry them.
 *
 * @module
 */
import type { DirtyLog, MemoryRegion, SharedPart } from "./device.ts";
import { ProtocolError, RequestRefused } from "./errors.ts";
import { LOG, MEMORY_REGION, MEMORY_TABLE_HEAD, SINGLE_REGION } from "./layouts.ts";
import { type Descriptor, type Message, read } from "./message.ts";
import { Request } from "./numbers.ts";

/**
 * What a message brings to map.
 *
 * @param message The message; its descriptors stay its own.
 * @returns The parts of files; none for a message about something else.
 * @throws {ProtocolError | RequestRefused} As {@linkcode tableRegions}.
 */
export function sharedParts(message: Message): readonly SharedPart[] {
  switch (message.request) {
    case Request.SET_MEM_TABLE:
      return tableRegions(message);
    case Request.ADD_MEM_REG:
      return [singleRegion(message)];
    case Request.SET_LOG_BASE:
      return [dirtyLog(message)];
    default:
      return [];
  }
}

/** Reads SET_LOG_BASE, which has one descriptor. */
export function dirtyLog(message: Message): DirtyLog {
  const { mmap_size, mmap_offset } = read(LOG, message);
  return { sizeBytes: mmap_size, offsetBytes: mmap_offset, fd: message.fds[0]! };
}

/**
 * Reads SET_MEM_TABLE.
 *
 * @param message The message, as long as its rule allows; its descriptors stay its own.
 * @returns The regions, each with its descriptor, in the table's order.
 * @throws {ProtocolError} When the number of regions, the length and the descriptors disagree.
 * @throws {RequestRefused} When there is no region.
 */
export function tableRegions(message: Message): MemoryRegion[] {
  const { nregions } = read(MEMORY_TABLE_HEAD, message);
  const want = MEMORY_TABLE_HEAD.size + nregions * MEMORY_REGION.size;
  if (message.payload.length !== want) {
    throw new ProtocolError(`a table of ${nregions} regions has ${message.payload.length} bytes`);
  }
  if (message.fds.length !== nregions) {
    throw new ProtocolError(`${nregions} regions came with ${message.fds.length} descriptors`);
  }
  if (nregions === 0) throw new RequestRefused("the memory table has no regions");
  return message.fds.map((fd, i) =>
    regionOf(read(MEMORY_REGION, message, MEMORY_TABLE_HEAD.size + i * MEMORY_REGION.size), fd)
  );
}

/** Reads ADD_MEM_REG, which has one descriptor, or REM_MEM_REG, where nobody asks for it. */
export function singleRegion(message: Message): MemoryRegion {
  return regionOf(read(SINGLE_REGION, message), message.fds[0]!);
}

function regionOf(
  region: Omit<ReturnType<typeof SINGLE_REGION.read>, "padding">,
  fd: Descriptor,
): MemoryRegion {
  return {
    guestAddress: region.guest_phys_addr,
    sizeBytes: region.memory_size,
    frontendAddress: region.userspace_addr,
    offsetBytes: region.mmap_offset,
    fd,
  };
}
