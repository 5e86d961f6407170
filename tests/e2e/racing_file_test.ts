/**
 * A front-end that shrinks its memory file in the very moment in which the switch looks at it.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { createMemfd, fileInfo } from "../../ffi/memory.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { Labswitch } from "../support/labswitch.ts";
import { Racer } from "../support/racer.ts";
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
    using racer = new Racer<RacingFileRole>("racing_file.ts");
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    using client = await (await RawClient.connect(lab.port("a").socket)).negotiate();
    let shared = 0;
    for (let i = 0; i < RACES; i++) {
      using fd = createMemfd("labswitch-race", MEMORY_BYTES);
      await racer.begin({ fd: fd.number, sizeBytes: MEMORY_BYTES });
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
