/**
 * How the probe gets connections: it connects to a back-end, or a back-end connects to it.
 *
 * @module
 */
import { Epoll, EPOLLIN } from "../../ffi/epoll.ts";
import { EAGAIN, OsError } from "../../ffi/errno.ts";
import type { Fd } from "../../ffi/fd.ts";
import { acceptUnix, connectUnix, listenUnix } from "../../ffi/unix_socket.ts";
import { clearSocketPath, SocketPathError } from "../control/socket_path.ts";
import { cannotConnect } from "./first_contact.ts";
import { Unreachable } from "./verdict.ts";
import { pause } from "./waiting.ts";

/** Between two attempts to connect to somebody who is busy. */
const RETRY_MS = 20;

/** Makes connections to one back-end. */
export interface Connector extends Disposable {
  /**
   * Makes the next connection; the one before must be closed.
   *
   * @param timeoutMs How long it may take.
   * @returns The socket; the caller owns it.
   * @throws {Unreachable} When there is nobody.
   */
  connect(timeoutMs: number): Promise<Fd>;
}

/** Connects to a back-end that listens. */
export class ClientConnector implements Connector {
  readonly #path: string;

  /** @param path Where the back-end listens. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Connects, again and again while the back-end's queue of connections is full. */
  async connect(timeoutMs: number): Promise<Fd> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      try {
        return connectUnix(this.#path);
      } catch (error) {
        if (!(error instanceof OsError)) throw error;
        const isWorthWaiting = error.errno === EAGAIN && performance.now() <= deadline;
        if (!isWorthWaiting) throw cannotConnect(this.#path, error);
      }
      await pause(RETRY_MS);
    }
  }

  /** Nothing stays open between connections. */
  [Symbol.dispose](): void {}
}

/** Listens for a back-end that connects, again after each connection. */
export class ServerConnector implements Connector {
  readonly #path: string;
  readonly #listener: Fd;
  readonly #epoll: Epoll;

  /**
   * Listens from now on; a socket that nobody listens on is replaced.
   *
   * @param path Where.
   * @throws {Unreachable} When the path cannot be used.
   */
  constructor(path: string) {
    this.#path = path;
    this.#listener = listen(path);
    this.#epoll = Epoll.create();
    this.#epoll.add(this.#listener.number, EPOLLIN, 0);
  }

  /** Waits for the back-end. */
  async connect(timeoutMs: number): Promise<Fd> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const socket = acceptUnix(this.#listener);
      if (socket !== null) return socket;
      if (attempt === 0) await this.#epoll.waitAsync(timeoutMs);
    }
    throw new Unreachable(`no back-end has connected to ${this.#path} in ${timeoutMs} ms`);
  }

  /** Stops listening and removes the socket. */
  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
    this.#listener.close();
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Somebody else has removed it.
    }
  }
}

function listen(path: string): Fd {
  try {
    clearSocketPath(path);
    return listenUnix(path);
  } catch (error) {
    if (!(error instanceof OsError || error instanceof SocketPathError)) throw error;
    throw new Unreachable(error.message);
  }
}
