/**
 * A front-end that shrinks its memory file in the very moment in which the switch looks at it. The
 * switch runs in a process of its own, because a mapping behind the end of a file ends the process.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { createMemfd, fileInfo } from "../../ffi/memory.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { eventually } from "../support/eventually.ts";
import { Labswitch } from "../support/labswitch.ts";
import { RawClient } from "../support/raw_client.ts";
import type { RacingFileRole } from "../support/racing_file.ts";
import { memoryTable } from "../support/vhost_messages.ts";

const TOPOLOGY = "version: 1\nports:\n  a: { type: vhost-user, socket: a.sock }\n";
const MEMORY_BYTES = 65536;
/** A switch that looks before it seals loses within the first fifty. */
const RACES = 200;
const SHARED = 0n;

Deno.test("Switch maps no memory file that shrinks while it looks at it (F45)", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-race-" });
  try {
    using racer = new Racer();
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    using client = await (await RawClient.connect(lab.port("a").socket)).negotiate();
    let shared = 0;
    for (let i = 0; i < RACES; i++) {
      using fd = createMemfd("labswitch-race", MEMORY_BYTES);
      await racer.begin(fd.number);
      const table = memoryTable([{ size: BigInt(MEMORY_BYTES) }]);
      const answer = await client.ask(Request.SET_MEM_TABLE, table, [fd]);
      await racer.end();
      if (answer !== SHARED) continue;
      shared++;
      strictEqual(fileInfo(fd).sizeBytes, BigInt(MEMORY_BYTES), `race ${i}`);
    }
    ok(shared > 0, "no file was ever shared");
    await lab.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** The racer, and what it has said since the last race began. */
class Racer implements Disposable {
  readonly #worker = new Worker(new URL("../support/racing_file.ts", import.meta.url), {
    type: "module",
  });
  readonly #words = new SharedArrayBuffer(4);
  #reports: string[] = [];

  constructor() {
    this.#worker.onmessage = ({ data }) => this.#reports.push(data);
  }

  async begin(fd: number): Promise<void> {
    this.#reports = [];
    Atomics.store(new Int32Array(this.#words), 0, 0);
    const role: RacingFileRole = { fd, sizeBytes: MEMORY_BYTES, words: this.#words };
    this.#worker.postMessage(role);
    await eventually("the race begins", () => this.#reports[0] ?? null);
  }

  async end(): Promise<void> {
    Atomics.store(new Int32Array(this.#words), 0, 1);
    await eventually("the race is over", () => this.#reports[1] ?? null);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
