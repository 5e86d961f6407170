/**
 * Unix stream sockets with descriptor passing, non-blocking throughout.
 *
 * @module
 */
import { check, EAGAIN, EINTR, ENAMETOOLONG, errno, OsError } from "./errno.ts";
import { Fd } from "./fd.ts";
import { POLLFD, SOCKADDR_UN, UCRED } from "./layouts.ts";
import { libc } from "./libc.ts";
import { SOL_SOCKET, Transfer } from "./transfer.ts";

/** Longest path of a socket: sun_path holds 108 bytes with the final zero (sys/un.h). */
export const MAX_PATH_BYTES = 107;
/** What {@linkcode receive} and {@linkcode send} answer when they would have to wait. */
export const WOULD_BLOCK = -1;
/** Descriptors that one call can receive; more are closed and reported. */
export const MAX_DESCRIPTORS = 32;

// bits/socket.h, bits/socket_type.h, asm-generic/socket.h, poll.h
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SO_PEERCRED = 17;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const POLLIN = 1;
const POLLRDHUP = 0x2000;

/** What every transfer of this thread uses, one after the other. */
let transfer: Transfer | null = null;

/** More descriptors came with a message than fit; those that came were closed. */
export class ControlTruncated extends Error {
  override readonly name = "ControlTruncated";
}

/** Who is at the other end of a socket. */
export interface PeerCredentials {
  /** Process number; 0 when it is outside our namespace. */
  readonly pid: number;
  /** User number. */
  readonly uid: number;
  /** Group number. */
  readonly gid: number;
}

/**
 * Listens on a path.
 *
 * @param path Absolute or relative, at most 107 bytes; nothing is there yet.
 * @param options Queue of connections not yet accepted, and permissions of the socket file.
 * @returns The listening socket.
 * @throws {OsError} When the path is taken, too long or not permitted; the message names it.
 */
export function listenUnix(
  path: string,
  options: { readonly backlog?: number; readonly mode?: number } = {},
): Fd {
  const socket = createSocket();
  try {
    const address = socketAddress(path, "listen on");
    // The mode of the unbound socket becomes the file's: no moment with wider permissions.
    check(libc().fchmod(socket.number, options.mode ?? 0o600), `set the mode of ${path}`);
    check(libc().bind(socket.number, address, address.length), `listen on ${path}`);
    check(libc().listen(socket.number, options.backlog ?? 16), `listen on ${path}`);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/**
 * Connects to a path.
 *
 * @param path Where somebody listens.
 * @returns The connected socket.
 * @throws {OsError} ENOENT, ECONNREFUSED (nobody listens), EAGAIN (its queue is full), EACCES.
 */
export function connectUnix(path: string): Fd {
  const socket = createSocket();
  try {
    const address = socketAddress(path, "connect to");
    check(libc().connect(socket.number, address, address.length), `connect to ${path}`);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/**
 * Accepts a connection.
 *
 * @param listener A listening socket; stays the caller's.
 * @returns The connected socket, or null when none waits.
 * @throws {OsError} EMFILE and the like.
 */
export function acceptUnix(listener: Fd): Fd | null {
  const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  const result = libc().accept4(listener.number, null, null, flags);
  if (result >= 0) return Fd.adopt(result);
  const number = errno();
  if (number === EAGAIN || number === EINTR) return null;
  throw new OsError("accept a connection", number);
}

/** Two sockets connected to each other. */
export function unixSocketPair(): [Fd, Fd] {
  const pair = new Int32Array(2);
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  check(libc().socketpair(AF_UNIX, type, 0, new Uint8Array(pair.buffer)), "create a socket pair");
  return [Fd.adopt(pair[0]!), Fd.adopt(pair[1]!)];
}

/** Who connected; `socket` stays the caller's. */
export function peerCredentials(socket: Fd): PeerCredentials {
  const buffer = new Uint8Array(UCRED.size);
  const length = new Uint8Array(new Uint32Array([UCRED.size]).buffer);
  const result = libc().getsockopt(socket.number, SOL_SOCKET, SO_PEERCRED, buffer, length);
  check(result, "ask who connected");
  return UCRED.read(new DataView(buffer.buffer));
}

/**
 * Receives bytes, and descriptors that came with them.
 *
 * @param socket The socket; stays the caller's.
 * @param into Where the bytes go; not more than its length are taken, and not more than 65,536.
 * @param fds Descriptors are appended; the caller owns them.
 * @param adopt Takes ownership of each; they are closed in this thread unless told otherwise.
 * @returns How many bytes; 0 at the end of the stream; WOULD_BLOCK when there is nothing.
 * @throws {ControlTruncated} When more than 32 descriptors came.
 * @throws {OsError} When the connection broke.
 */
export function receive(
  socket: Fd,
  into: Uint8Array,
  fds: Fd[],
  adopt: (number: number) => Fd = (number) => Fd.adopt(number),
): number {
  transfer ??= new Transfer();
  transfer.prepareToReceive(into.length);
  const flags = MSG_CMSG_CLOEXEC | MSG_DONTWAIT;
  const result = Number(libc().recvmsg(socket.number, transfer.header, flags));
  if (result < 0) return failedTransfer("receive from a socket");
  into.set(transfer.received(result));
  const came = transfer.descriptors(adopt);
  if (transfer.isTruncated || came.length > MAX_DESCRIPTORS) {
    for (const fd of came) fd.close();
    throw new ControlTruncated("Cannot receive a message: too many descriptors came with it");
  }
  fds.push(...came);
  return result;
}

/**
 * Sends bytes, and descriptors with them.
 *
 * @param socket The socket; stays the caller's.
 * @param data The bytes; of more than 65,536 the rest is left.
 * @param fds Descriptors to duplicate into the peer, at most 253; stay the caller's.
 * @returns How many bytes were taken; WOULD_BLOCK when none can be.
 * @throws {OsError} EPIPE when the peer is gone, never a signal; EINVAL when there are too many
 * descriptors.
 */
export function send(socket: Fd, data: Uint8Array, fds: readonly Fd[] = []): number {
  transfer ??= new Transfer();
  transfer.prepareToSend(data, fds);
  const flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  const result = Number(libc().sendmsg(socket.number, transfer.header, flags));
  return result < 0 ? failedTransfer("send to a socket") : result;
}

/** Whether the peer has hung up, even if something that it sent is left to read. */
export function hasHungUp(socket: Fd): boolean {
  const entry = new Uint8Array(POLLFD.size);
  POLLFD.write(new DataView(entry.buffer), 0, { fd: socket.number, events: POLLRDHUP, revents: 0 });
  return libc().poll(entry, 1n, 0) > 0;
}

/** Waits in this thread until a socket is readable or hung up; returns whether it is. */
export function waitReadable(socket: Fd, timeoutMs: number): boolean {
  const entry = new Uint8Array(POLLFD.size);
  POLLFD.write(new DataView(entry.buffer), 0, { fd: socket.number, events: POLLIN, revents: 0 });
  return libc().poll(entry, 1n, Math.ceil(timeoutMs)) > 0;
}

function createSocket(): Fd {
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  return Fd.adopt(check(libc().socket(AF_UNIX, type, 0), "create a socket"));
}

function socketAddress(path: string, action: string): Uint8Array<ArrayBuffer> {
  const sun_path = new TextEncoder().encode(path);
  if (sun_path.length > MAX_PATH_BYTES) {
    throw new OsError(`${action} ${path}`, ENAMETOOLONG);
  }
  const address = new Uint8Array(SOCKADDR_UN.size);
  SOCKADDR_UN.write(new DataView(address.buffer), 0, { sun_family: AF_UNIX, sun_path });
  return address;
}

function failedTransfer(action: string): number {
  const number = errno();
  if (number === EAGAIN || number === EINTR) return WOULD_BLOCK;
  throw new OsError(action, number);
}
