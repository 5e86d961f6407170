/**
 * A descriptor whose last close waits: a TCP socket that lingers, because nobody reads what was sent
 * through it.
 *
 * @module
 */
import { errno, OsError } from "../../ffi/errno.ts";
import { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import { struct, u16be, u16le, u32be, u32le } from "../../src/layout/struct.ts";

/** struct sockaddr_in (netinet/in.h). */
const SOCKADDR_IN = struct("sockaddr_in", 16, {
  sin_family: u16le,
  sin_port: u16be,
  sin_addr: u32be,
  pad0: u32le,
  pad1: u32le,
});
/** struct linger (bits/socket.h). */
const LINGER = struct("linger", 8, { l_onoff: u32le, l_linger: u32le });
// bits/socket.h, bits/socket_type.h, asm-generic/socket.h, asm-generic/errno.h
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const EINPROGRESS = 115;
const LOOPBACK = 0x7f000001;
const CHUNK_BYTES = 65536;
/** The kernel moves what was sent to the other side in the meantime, and then there is room again. */
const FILL_ROUNDS = 5;
const FILL_PAUSE_MS = 2;

/** A socket of this kind. */
export interface LingeringSocket {
  /** The socket; the caller owns it. */
  readonly socket: Fd;
  /** The other end; closing it ends every wait. The caller owns it. */
  readonly peer: Deno.TcpConn;
}

/**
 * Makes one.
 *
 * @param seconds How long its last close waits at most.
 */
export async function connectLingering(seconds: number): Promise<LingeringSocket> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const socket = Fd.adopt(libc().socket(AF_INET, type, 0));
  const address = new Uint8Array(SOCKADDR_IN.size);
  SOCKADDR_IN.write(new DataView(address.buffer), 0, {
    ...{ sin_family: AF_INET, sin_port: listener.addr.port, sin_addr: LOOPBACK, pad0: 0, pad1: 0 },
  });
  const connected = libc().connect(socket.number, address, address.length);
  if (connected < 0 && errno() !== EINPROGRESS) throw new OsError("connect to a TCP port");
  const peer = await listener.accept();
  for (let round = 0; round < FILL_ROUNDS; round++) {
    fill(socket);
    await new Promise((resolve) => setTimeout(resolve, FILL_PAUSE_MS));
  }
  const linger = new Uint8Array(LINGER.size);
  LINGER.write(new DataView(linger.buffer), 0, { l_onoff: 1, l_linger: seconds });
  const result = libc().setsockopt(socket.number, SOL_SOCKET, SO_LINGER, linger, linger.length);
  if (result < 0) throw new OsError("let a socket linger");
  return { socket, peer };
}

// Sends until neither side's kernel has room for more.
function fill(socket: Fd): void {
  const chunk = new Uint8Array(CHUNK_BYTES);
  while (libc().write(socket.number, chunk, BigInt(chunk.length)) > 0n);
}
