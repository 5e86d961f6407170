/**
 * The attacker's end of a connection. It never waits: who uses it looks again later.
 *
 * @module
 */
import { EAGAIN, ECONNRESET, EPIPE, OsError } from "../../../ffi/errno.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { connectUnix, receive, send, WOULD_BLOCK } from "../../../ffi/unix_socket.ts";
import { HEADER } from "../../../src/vhost_user/layouts.ts";
import {
  FLAG_REPLY,
  MAX_PAYLOAD_BYTES,
  Request,
  VERSION,
} from "../../../src/vhost_user/numbers.ts";
import { Finding } from "./finding.ts";

/** Bytes of replies that are read at once: more than the longest that the switch may send. */
const BUFFER_BYTES = HEADER.size + MAX_PAYLOAD_BYTES;

/** A connection to a port. */
export class FrontEnd implements Disposable {
  /** The socket; this object owns it. */
  readonly socket: Fd;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  #filled = 0;
  #answers = 0;
  #isOver = false;

  private constructor(socket: Fd) {
    this.socket = socket;
  }

  /**
   * Connects.
   *
   * @param path The port's socket.
   * @returns The connection, or null when the port's queue is full.
   * @throws {Finding} When nobody listens any more.
   */
  static connect(path: string): FrontEnd | null {
    try {
      return new FrontEnd(connectUnix(path));
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      if (error.errno === EAGAIN) return null;
      throw new Finding(`the switch does not listen any more: ${error.message}`);
    }
  }

  /** Whether the switch has hung up, as far as was noticed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Questions for features that were answered. */
  get answers(): number {
    return this.#answers;
  }

  /**
   * Sends bytes.
   *
   * @returns How many were taken; all of them when the switch has hung up, because then it is over.
   */
  send(data: Uint8Array, fds: readonly Fd[]): number {
    if (this.#isOver || data.length === 0) return data.length;
    try {
      const sent = send(this.socket, data, fds);
      return sent === WOULD_BLOCK ? 0 : sent;
    } catch (error) {
      if (!isEnd(error)) throw error;
      this.#isOver = true;
      return data.length;
    }
  }

  /**
   * Reads what is there.
   *
   * @throws {Finding} When it is no reply.
   */
  read(): void {
    while (!this.#isOver) {
      const length = this.#receive();
      if (length === WOULD_BLOCK) return;
      if (length === 0) this.#isOver = true;
      this.#filled += length;
      this.#takeReplies();
    }
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    this.socket.close();
  }

  #receive(): number {
    try {
      return receive(this.socket, this.#buffer.subarray(this.#filled), []);
    } catch (error) {
      if (isEnd(error)) return 0;
      throw error;
    }
  }

  #takeReplies(): void {
    let at = 0;
    while (this.#filled - at >= HEADER.size) {
      const { request, flags, size } = HEADER.read(this.#view, at);
      if (flags !== (VERSION | FLAG_REPLY) || size > MAX_PAYLOAD_BYTES) {
        throw new Finding(`the switch sent what is no reply: ${request}, ${flags}, ${size} bytes`);
      }
      if (this.#filled - at < HEADER.size + size) break;
      if (request === Request.GET_FEATURES) this.#answers++;
      at += HEADER.size + size;
    }
    this.#buffer.copyWithin(0, at, this.#filled);
    this.#filled -= at;
  }
}

function isEnd(error: unknown): boolean {
  return error instanceof OsError && (error.errno === EPIPE || error.errno === ECONNRESET);
}
