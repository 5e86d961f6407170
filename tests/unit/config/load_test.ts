/**
 * What a good topology file becomes.
 *
 * @module
 */
import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { loadTopology, parseTopology } from "../../../config/load.ts";
import { guestPorts } from "../../../config/topology.ts";
import { SMALLEST, withLines, withPort } from "./mistakes.ts";

Deno.test("parseTopology fills in what the smallest file leaves out", () => {
  const port = { type: "vhost-user", bridge: "br0" };
  deepStrictEqual(parseTopology(SMALLEST, "labs/two.yaml"), {
    name: "two",
    fileName: "labs/two.yaml",
    ports: [
      {
        ...port,
        name: "vm1",
        role: "server",
        socket: "/run/lab/vm1.sock",
        queues: 1,
        mac: "52:54:00:00:00:01",
      },
      {
        ...port,
        name: "vm2",
        role: "client",
        socket: "/run/lab/vm2.sock",
        queues: 2,
        mac: "52:54:00:00:00:02",
      },
    ],
    bridges: [{ name: "br0", ageingSeconds: 300, maxAddresses: 4096 }],
    threads: { workers: 1, poll: "adaptive", pin: [] },
  });
});

Deno.test("parseTopology takes over everything that the file says", () => {
  const topology = parseTopology(
    `version: 1
name: my-lab
bridges:
  lan: { ageing-time: 5min, max-macs: 16384 }
  br0: { ageing-time: 1h }
ports:
  vm1: { type: vhost-user, socket: a, bridge: lan, mac: 52:54:00:AB:CD:EF, queues: 128 }
threads: { workers: 16, poll: busy }
`,
    "lab.yml",
  );
  strictEqual(topology.name, "my-lab");
  deepStrictEqual(topology.bridges, [
    { name: "br0", ageingSeconds: 3600, maxAddresses: 4096 },
    { name: "lan", ageingSeconds: 300, maxAddresses: 16384 },
  ]);
  const { bridge, mac, queues } = guestPorts(topology)[0]!;
  deepStrictEqual([bridge, mac, queues], ["lan", "52:54:00:ab:cd:ef", 128]);
  deepStrictEqual(topology.threads, { workers: 16, poll: "busy", pin: [] });
});

Deno.test("parseTopology leaves one processor free when workers is auto, but has a worker", () => {
  const text = withLines("threads: { workers: auto }");
  const workers = (parallelism: number) =>
    parseTopology(text, "lab.yaml", { parallelism, processors: null }).threads.workers;
  deepStrictEqual([1, 2, 3, 8, 17, 256].map(workers), [1, 1, 2, 7, 16, 16]);
});

Deno.test("parseTopology takes a processor for each worker", () => {
  const machine = { parallelism: 4, processors: new Set([0, 1, 2, 3]) };
  const pin = (threads: string) =>
    parseTopology(withLines(`threads: ${threads}`), "lab.yaml", machine).threads.pin;
  deepStrictEqual(pin("{ workers: 2, pin: [3, 1] }"), [3, 1]);
  deepStrictEqual(pin("{ workers: auto, pin: [1, 2, 3] }"), [1, 2, 3]);
  deepStrictEqual(pin("{ workers: 2, pin: [] }"), []);
});

Deno.test("parseTopology takes a bridge without options", () => {
  const { bridges } = parseTopology(withLines("bridges:\n  lan:\n  wan: {}"), "lab.yaml");
  deepStrictEqual(bridges.map(({ name }) => name), ["br0", "lan", "wan"]);
});

Deno.test("parseTopology names a lab after its file unless it has a name", () => {
  strictEqual(parseTopology(SMALLEST, "/labs/demo.yml").name, "demo");
  strictEqual(parseTopology(SMALLEST, "demo.yaml").name, "demo");
});

Deno.test("parseTopology resolves sockets from the folder of the file", () => {
  const socket = (path: string, fileName: string) =>
    guestPorts(parseTopology(withPort("queues: 1").replace("a.sock", path), fileName))[0]!.socket;
  strictEqual(socket("a.sock", "/labs/lab.yaml"), "/labs/a.sock");
  strictEqual(socket("../run/a.sock", "/labs/lab.yaml"), "/run/a.sock");
  strictEqual(socket("/run/a.sock", "/labs/lab.yaml"), "/run/a.sock");
  strictEqual(socket("a.sock", "labs/lab.yaml"), resolve("labs/a.sock"));
});

Deno.test("parseTopology gives a port without an address one that no other port has", () => {
  const text = `version: 1
ports:
  vm1: { type: vhost-user, socket: a.sock, mac: 52:54:00:00:00:02 }
  vm2: { type: vhost-user, socket: b.sock }
`;
  const macs = guestPorts(parseTopology(text, "lab.yaml")).map(({ mac }) => mac);
  strictEqual(new Set(macs).size, 2);
});

Deno.test("loadTopology loads every example, which runs as it is and whose first line names the schema", async () => {
  const folder = fileURLToPath(new URL("../../../config/examples", import.meta.url));
  let examples = 0;
  for await (const { name } of Deno.readDir(folder)) {
    const path = resolve(folder, name);
    const topology = await loadTopology(path);
    ok(topology.ports.length >= 2, name);
    // Nobody has to make a folder before the first run.
    const listening = guestPorts(topology).filter(({ role }) => role === "server");
    deepStrictEqual([...new Set(listening.map(({ socket }) => dirname(socket)))], [folder], name);
    const [first = ""] = (await Deno.readTextFile(path)).split("\n");
    const schema = /^# yaml-language-server: \$schema=(\S+)$/.exec(first)?.[1];
    ok(schema !== undefined, `${name}: ${first}`);
    const { properties } = schemaPart(await Deno.readTextFile(resolve(dirname(path), schema)));
    ok("ports" in properties);
    examples++;
  }
  ok(examples > 0);
});

/** The part of the schema about the whole file. */
function schemaPart(text: string): { properties: Record<string, unknown> } {
  return JSON.parse(text).definitions.labswitch;
}

Deno.test("loadTopology rejects when there is no file", async () => {
  await rejects(loadTopology("no/such/file.yaml"), Deno.errors.NotFound);
});

Deno.test("parseTopology takes a port to another back-end, which is a client unless told otherwise", () => {
  const text = `version: 1
ports:
  up: { type: vhost-user-frontend, socket: /run/ovs.sock }
  down: { type: vhost-user-frontend, socket: down.sock, role: server, queues: 2, bridge: lan }
bridges: { lan: {} }
`;
  deepStrictEqual(parseTopology(text, "/etc/lab.yaml").ports, [
    {
      ...{ name: "up", type: "vhost-user-frontend", role: "client", socket: "/run/ovs.sock" },
      ...{ queues: 1, bridge: "br0" },
    },
    {
      ...{ name: "down", type: "vhost-user-frontend", role: "server", socket: "/etc/down.sock" },
      ...{ queues: 2, bridge: "lan" },
    },
  ]);
});
