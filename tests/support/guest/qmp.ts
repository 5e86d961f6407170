/**
 * Commands to a running QEMU over its machine protocol: one JSON object per line.
 *
 * Source: QEMU, docs/interop/qmp-spec.rst.
 *
 * @module
 */

/** One connection to a QEMU. */
export class Qmp implements Disposable {
  readonly #connection: Deno.UnixConn;
  readonly #decoder = new TextDecoder();
  #text = "";

  private constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  /**
   * Connects.
   *
   * @param path The socket; QEMU listens there.
   */
  static async connect(path: string): Promise<Qmp> {
    const qmp = new Qmp(await Deno.connect({ transport: "unix", path }));
    try {
      await qmp.#line();
      await qmp.execute("qmp_capabilities");
      return qmp;
    } catch (error) {
      qmp[Symbol.dispose]();
      throw error;
    }
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
