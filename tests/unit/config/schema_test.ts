import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { jsonSchema, topologyFile } from "../../../config/schema.ts";

const COMMITTED = new URL("../../../config/labswitch.schema.json", import.meta.url);

/** What these tests look at in a JSON Schema. */
interface Part {
  readonly $schema?: string;
  readonly description?: string;
  readonly required?: string[];
  readonly additionalProperties?: unknown;
  readonly properties?: Record<string, Part>;
  readonly definitions?: Record<string, Part>;
}

Deno.test("jsonSchema is what config/labswitch.schema.json holds", async () => {
  const again = "deno run -A mod.ts schema > config/labswitch.schema.json";
  strictEqual(
    await Deno.readTextFile(COMMITTED),
    `${JSON.stringify(jsonSchema(), null, 2)}\n`,
    `the file is out of date; make it again with ${again}`,
  );
});

Deno.test("jsonSchema is of draft-07, which editors read", () => {
  strictEqual((jsonSchema() as Part).$schema, "http://json-schema.org/draft-07/schema#");
});

Deno.test("jsonSchema requires only what has no default", () => {
  const { definitions } = jsonSchema() as Part;
  deepStrictEqual(definitions?.labswitch?.required, ["version", "ports"]);
  deepStrictEqual(definitions?.["vhost-user"]?.required, ["type", "socket"]);
});

Deno.test("jsonSchema describes every key, and allows no others", () => {
  let keys = 0;
  const look = (part: unknown, place: string): void => {
    if (typeof part !== "object" || part === null) return;
    const { properties, additionalProperties } = part as Part;
    if (properties !== undefined && !place.endsWith(".properties")) {
      strictEqual(additionalProperties, false, place);
      for (const [key, { description }] of Object.entries(properties)) {
        ok(description !== undefined && description.length > 0, `${place}.${key}`);
        keys++;
      }
    }
    for (const [key, inner] of Object.entries(part)) look(inner, `${place}.${key}`);
  };
  look(jsonSchema(), "schema");
  ok(keys >= 15);
});

Deno.test("topologyFile fills in every default", () => {
  const port = { type: "vhost-user", socket: "a.sock" };
  deepStrictEqual(topologyFile.parse({ version: 1, ports: { vm1: port }, bridges: { lan: {} } }), {
    version: 1,
    bridges: { lan: { "ageing-time": "300s", "max-macs": 4096 } },
    ports: { vm1: { ...port, role: "server", queues: 1, bridge: "br0" } },
    threads: { workers: 1, poll: "adaptive", pin: [] },
  });
});
