/**
 * C structs of Linux and libc on 64-bit machines.
 *
 * Sizes and offsets are compared with the C headers by a test.
 *
 * @module
 */
import { bytes, i32le, type Layout, struct, u16le, u32le, u64le } from "../src/layout/struct.ts";

const isX86 = Deno.build.arch === "x86_64";

/** struct iovec (bits/types/struct_iovec.h). */
export const IOVEC = struct("iovec", 16, { iov_base: u64le, iov_len: u64le });

/** struct msghdr (bits/socket.h, glibc on 64 bit). */
export const MSGHDR = struct("msghdr", 56, {
  msg_name: u64le,
  msg_namelen: u32le,
  msg_iov: u64le,
  msg_iovlen: u64le,
  msg_control: u64le,
  msg_controllen: u64le,
  msg_flags: i32le,
});

/** struct cmsghdr (bits/socket.h); data follows, aligned to 8 bytes. */
export const CMSGHDR = struct("cmsghdr", 16, {
  cmsg_len: u64le,
  cmsg_level: i32le,
  cmsg_type: i32le,
});

/** struct sockaddr_un (sys/un.h). */
export const SOCKADDR_UN = struct("sockaddr_un", 110, { sun_family: u16le, sun_path: bytes(108) });

/** struct ucred (sys/socket.h): who connected. */
export const UCRED = struct("ucred", 12, { pid: i32le, uid: u32le, gid: u32le });

/** struct pollfd (poll.h). */
export const POLLFD = struct("pollfd", 8, { fd: i32le, events: u16le, revents: u16le });

/** struct sigaction (bits/sigaction.h). */
export const SIGACTION = struct("sigaction", 152, {
  sa_sigaction: u64le,
  sa_mask: bytes(128),
  sa_flags: i32le,
  sa_restorer: u64le,
});

/** struct iocb (linux/aio_abi.h), on a little-endian machine. */
export const IOCB = struct("iocb", 64, {
  aio_data: u64le,
  aio_key: u32le,
  aio_rw_flags: u32le,
  aio_lio_opcode: u16le,
  aio_reqprio: u16le,
  aio_fildes: u32le,
  aio_buf: u64le,
  aio_nbytes: u64le,
  aio_offset: u64le,
  aio_reserved2: u64le,
  aio_flags: u32le,
  aio_resfd: u32le,
});

/** The head of struct aio_ring (fs/aio.c), which stands where an AIO context's number points. */
export const AIO_RING_HEAD = struct("aio_ring", 16, {
  id: u32le,
  nr: u32le,
  head: u32le,
  tail: u32le,
});

const EPOLL_FIELDS = { events: u32le, data: u64le };

/** struct epoll_event (sys/epoll.h), which is packed on x86-64 only. */
export const EPOLL_EVENT: Layout<typeof EPOLL_FIELDS> = isX86
  ? struct("epoll_event", 12, EPOLL_FIELDS, { packed: true })
  : struct("epoll_event", 16, EPOLL_FIELDS);

/** The head of struct stat (bits/struct_stat.h) up to st_blksize; the whole takes STAT_BYTES. */
export const STAT_HEAD = isX86
  ? struct("stat", 64, {
    st_dev: u64le,
    st_ino: u64le,
    st_nlink: u64le,
    st_mode: u32le,
    st_uid: u32le,
    st_gid: u32le,
    pad0: u32le,
    st_rdev: u64le,
    st_size: u64le,
    st_blksize: u64le,
  })
  : struct("stat", 64, {
    st_dev: u64le,
    st_ino: u64le,
    st_mode: u32le,
    st_nlink: u32le,
    st_uid: u32le,
    st_gid: u32le,
    st_rdev: u64le,
    pad0: u64le,
    st_size: u64le,
    st_blksize: u64le,
  });

/** Bytes of struct stat, rounded up over both architectures. */
export const STAT_BYTES = 144;

/** The head of struct statfs (bits/statfs.h): the file system's magic number and its size in blocks. */
export const STATFS_HEAD = struct("statfs", 24, { f_type: u64le, f_bsize: u64le, f_blocks: u64le });

/** Bytes of struct statfs. */
export const STATFS_BYTES = 120;

/**
 * CMSG_SPACE: bytes that a control message with so much data takes (sys/socket.h).
 *
 * @param dataBytes Bytes of data.
 */
export function controlSpace(dataBytes: number): number {
  return CMSGHDR.size + Math.ceil(dataBytes / 8) * 8;
}

/**
 * CMSG_LEN: what a control message with so much data says in cmsg_len (sys/socket.h).
 *
 * @param dataBytes Bytes of data.
 */
export function controlLength(dataBytes: number): number {
  return CMSGHDR.size + dataBytes;
}
