/**
 * How a port gets its connection: it listens (server role), connects (client role), or is given one (a
 * host of this process).
 *
 * Either way one connection at a time is handed over; what it says is not looked at here. A second
 * front-end on a listening port is turned away while the first one lives.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import { acceptUnix, connectUnix, listenUnix } from "../../ffi/unix_socket.ts";
import { OsError } from "../../ffi/errno.ts";
import { type Reactor, READABLE_EVENTS } from "./reactor.ts";
import { clearSocketPath } from "./socket_path.ts";

/** What an endpoint tells its port. */
export interface EndpointEvents {
  /** What must be over before another peer is taken; null when nothing is in the way. */
  readonly obstacle: () => Promise<void> | null;
  /**
   * A peer is there; the port owns the socket. Throws an `OsError` when the system has no room for it.
   */
  readonly onPeer: (socket: Fd) => void;
  /** The stale socket at this path was replaced. */
  readonly onStale: (path: string) => void;
  /** A peer cannot be accepted; it is tried again, and this is told once until it works. */
  readonly onExhausted: (reason: OsError) => void;
}

/** Makes connections for one port. */
export interface Endpoint {
  /**
   * Begins.
   *
   * @throws {SocketPathError | OsError} When it cannot listen.
   */
  open(): void;
  /**
   * The connection that was handed over has ended.
   *
   * @param wasUseful Whether it came to anything; if not, the next one takes longer to be made.
   */
  released(wasUseful: boolean): void;
  /** Ends; a socket that was made is removed. */
  close(): void;
}

/** Only the owner may connect: whoever can, hands us memory and gets frames. */
const SOCKET_MODE = 0o600;
/** Enough for a crowd that connects at once; the rest is told to try again. */
const BACKLOG = 16;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 1000;

/** What tells one file from every other that lives at the same time. */
type FileIdentity = Pick<Deno.FileInfo, "dev" | "ino">;

/** Listens on a path. */
export class ServerEndpoint implements Endpoint {
  readonly #path: string;
  readonly #reactor: Reactor;
  readonly #events: EndpointEvents;
  #listener: Fd | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #token = 0;
  #pauseMs = FIRST_RETRY_MS;
  /** The socket's file, as long as nobody has put another one in its place. */
  #file: FileIdentity | null = null;
  #isExhausted = false;

  /**
   * @param path Where to listen, absolute, at most 107 bytes.
   * @param reactor The loop that watches the listener.
   * @param events Where peers go.
   */
  constructor(path: string, reactor: Reactor, events: EndpointEvents) {
    this.#path = path;
    this.#reactor = reactor;
    this.#events = events;
  }

  open(): void {
    if (clearSocketPath(this.#path)) this.#events.onStale(this.#path);
    this.#listener = listenUnix(this.#path, { backlog: BACKLOG, mode: SOCKET_MODE });
    this.#file = identify(this.#path);
    this.#token = this.#reactor.watch(this.#listener.number, () => this.#accept());
  }

  released(wasUseful: boolean): void {
    if (wasUseful) {
      this.#pauseMs = FIRST_RETRY_MS;
      return;
    }
    this.#pause(this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, LAST_RETRY_MS);
  }

  close(): void {
    if (this.#listener === null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#reactor.unwatch(this.#listener.number, this.#token);
    this.#listener.close();
    this.#listener = null;
    this.#removeSocket();
  }

  // Only the file that was made here: by now the path may belong to another switch.
  #removeSocket(): void {
    const found = identify(this.#path);
    if (found === null || found.dev !== this.#file?.dev || found.ino !== this.#file.ino) return;
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Somebody removes it in this moment, or made its folder read-only.
    }
  }

  // One per turn: a crowd on one port must not hold up the others.
  #accept(): void {
    if (this.#listener === null) return;
    const obstacle = this.#events.obstacle();
    if (obstacle !== null) {
      this.#listen(false);
      return void obstacle.then(() => this.#listen(true));
    }
    try {
      const socket = acceptUnix(this.#listener);
      if (socket !== null) this.#events.onPeer(socket);
      this.#isExhausted = false;
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      // No descriptor or memory left, as a rule: who comes stays in the queue until there is.
      if (!this.#isExhausted) this.#events.onExhausted(error);
      this.#isExhausted = true;
      this.#pause(FIRST_RETRY_MS);
    }
  }

  #pause(durationMs: number): void {
    this.#listen(false);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#listen(true), durationMs);
  }

  // Whoever comes meanwhile waits in the listener's queue.
  #listen(isOpen: boolean): void {
    if (this.#listener === null) return;
    this.#reactor.change(this.#listener.number, this.#token, isOpen ? READABLE_EVENTS : 0);
  }
}

function identify(path: string): FileIdentity | null {
  try {
    return Deno.lstatSync(path);
  } catch {
    return null; // not there
  }
}

/** Connects to a path, for ever. */
export class ClientEndpoint implements Endpoint {
  readonly #path: string;
  readonly #events: EndpointEvents;
  #retryMs = FIRST_RETRY_MS;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isExhausted = false;
  #isClosed = false;

  /**
   * @param path Where the front-end listens.
   * @param events Where the peer goes.
   */
  constructor(path: string, events: EndpointEvents) {
    this.#path = path;
    this.#events = events;
  }

  open(): void {
    this.#connect();
  }

  released(wasUseful: boolean): void {
    if (wasUseful) this.#retryMs = FIRST_RETRY_MS;
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #connect(): void {
    this.#timer = null;
    if (this.#events.obstacle() !== null) return this.#schedule();
    let socket: Fd;
    try {
      socket = connectUnix(this.#path);
    } catch {
      // Nobody listens yet: the guest may start in a second or in a year.
      return this.#schedule();
    }
    try {
      this.#events.onPeer(socket);
      this.#isExhausted = false;
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      if (!this.#isExhausted) this.#events.onExhausted(error);
      this.#isExhausted = true;
      this.#schedule();
    }
  }

  #schedule(): void {
    if (this.#isClosed || this.#timer !== null) return;
    this.#timer = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
  }
}

/** Hands over connections to hosts of this process. */
export class PairEndpoint implements Endpoint {
  readonly #events: EndpointEvents;

  /** @param events Where the peer goes. */
  constructor(events: EndpointEvents) {
    this.#events = events;
  }

  /**
   * Hands over a connection.
   *
   * @param socket One end of a socket pair; the port owns it from now on.
   */
  connect(socket: Fd): void {
    this.#events.onPeer(socket);
  }

  open(): void {
    // Connections come when their hosts start.
  }

  released(): void {
    // A host comes again when its thread is replaced.
  }

  close(): void {
    // Nothing is left when the connection is closed.
  }
}
