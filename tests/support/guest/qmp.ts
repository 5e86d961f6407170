/**
 * Commands to a running QEMU over its machine protocol: one JSON object per line.
 *
 * Source: QEMU, docs/interop/qmp-spec.rst.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";

/** How long a QEMU that was just started may take until it listens. */
const CONNECT_TIMEOUT_MS = 20_000;
/** Between two attempts. */
const CONNECT_INTERVAL_MS = 10;

/** Something that QEMU tells unasked. */
export interface QmpEvent {
  /** Its name, like `STOP`. */
  readonly name: string;
  /** When it happened, in milliseconds since 1970, as `Date.now()` counts them. */
  readonly atMs: number;
}

/** One connection to a QEMU. */
export class Qmp implements Disposable {
  readonly #connection: Deno.UnixConn;
  readonly #decoder = new TextDecoder();
  readonly #events: QmpEvent[] = [];
  #text = "";

  private constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  /**
   * Connects; a QEMU that has only just been started is waited for.
   *
   * @param path The socket; QEMU listens there.
   */
  static async connect(path: string): Promise<Qmp> {
    const qmp = new Qmp(await connectSoon(path));
    try {
      await qmp.#line();
      await qmp.execute("qmp_capabilities");
      return qmp;
    } catch (error) {
      qmp[Symbol.dispose]();
      throw error;
    }
  }

  /** What QEMU told unasked until it answered the last command, oldest first. */
  get events(): readonly QmpEvent[] {
    return this.#events;
  }

  /**
   * Gives a command and waits for its result.
   *
   * @param command Its name.
   * @param args Its arguments.
   * @returns What QEMU returns.
   * @throws {Error} When QEMU refuses or ends.
   */
  async execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const line = `${JSON.stringify({ execute: command, arguments: args })}\n`;
    await this.#connection.write(new TextEncoder().encode(line));
    for (;;) {
      const answer = JSON.parse(await this.#line()) as Record<string, unknown>;
      if ("return" in answer) return answer["return"];
      if ("error" in answer) {
        throw new Error(`QEMU: ${command}: ${JSON.stringify(answer["error"])}`);
      }
      if ("event" in answer) this.#events.push(eventOf(answer));
    }
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.#connection.close();
  }

  async #line(): Promise<string> {
    const chunk = new Uint8Array(4096);
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const length = await this.#connection.read(chunk);
      if (length === null) throw new Error("QEMU closed its control socket");
      this.#text += this.#decoder.decode(chunk.subarray(0, length), { stream: true });
    }
  }
}

async function connectSoon(path: string): Promise<Deno.UnixConn> {
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  for (;;) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      const isEarly = error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.ConnectionRefused;
      if (!isEarly || performance.now() > deadline) throw error;
    }
    await delay(CONNECT_INTERVAL_MS);
  }
}

function eventOf({ event, timestamp }: Record<string, unknown>): QmpEvent {
  const { seconds, microseconds } = timestamp as { seconds: number; microseconds: number };
  return { name: String(event), atMs: seconds * 1000 + microseconds / 1000 };
}
