/**
 * Structs of vhost-user messages ("Message Specification"), in host byte order: little-endian on
 * every machine that labswitch runs on.
 *
 * @module
 */
import { struct, u32le, u64le } from "../layout/struct.ts";

/** In front of every message ("Header"). */
export const HEADER = struct("struct header", 12, { request: u32le, flags: u32le, size: u32le });

/** A single 64-bit integer ("A single 64-bit integer"). */
export const U64 = struct("u64", 8, { value: u64le });

/** A ring's index and a number ("A vring state description"). */
export const VRING_STATE = struct("struct vhost_vring_state", 8, { index: u32le, num: u32le });

/** Where a ring lies, in front-end addresses ("A vring address description"). */
export const VRING_ADDRESS = struct("struct vhost_vring_addr", 40, {
  index: u32le,
  flags: u32le,
  desc_user_addr: u64le,
  used_user_addr: u64le,
  avail_user_addr: u64le,
  log_guest_addr: u64le,
});

/** In front of a memory table ("Memory regions description"). */
export const MEMORY_TABLE_HEAD = struct("struct memory_table_head", 8, {
  nregions: u32le,
  padding: u32le,
});

/** One region ("Memory region description"). */
export const MEMORY_REGION = struct("struct memory_region", 32, {
  guest_phys_addr: u64le,
  memory_size: u64le,
  userspace_addr: u64le,
  mmap_offset: u64le,
});

/** One region in a message of its own ("Single memory region description"). */
export const SINGLE_REGION = struct("struct vhost_user_mem_reg_msg", 40, {
  padding: u64le,
  guest_phys_addr: u64le,
  memory_size: u64le,
  userspace_addr: u64le,
  mmap_offset: u64le,
});

/** Where the log of dirty pages lies in its file ("Log description"). */
export const LOG = struct("struct vhost_user_log", 16, { mmap_size: u64le, mmap_offset: u64le });
