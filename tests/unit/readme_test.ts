import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import project from "../../deno.json" with { type: "json" };
import { parseTopology } from "../../config/load.ts";
import { guestPorts } from "../../config/topology.ts";
import { main } from "../../src/cli/main.ts";
import { withOwnSwitch } from "../../src/cli/own_switch.ts";
import { Switch } from "../../src/control/switch.ts";
import { readmeBlocks, readmeCommands } from "../support/readme.ts";
import { MemoryIo, TemporaryFolder } from "./cli/memory_io.ts";

const RUNNER = "npx -y deno@2.9.6 task test";
const CI = new URL("../../.ci/run", import.meta.url);

Deno.test("README has topologies that are good", () => {
  const files = readmeBlocks("yaml");
  strictEqual(files.length, 4);
  for (const text of files) ok(parseTopology(text, "lab.yaml").ports.length > 0);
});

Deno.test("README shows the defaults of the topology file", () => {
  const [, full] = readmeBlocks("yaml");
  const { bridges, threads, ports } = parseTopology(full!, "two-rooms.yaml");
  const least = parseTopology(
    "version: 1\nports: { vm1: { type: vhost-user, socket: /run/lab/vm1.sock } }",
    "two-rooms.yaml",
  );
  deepStrictEqual(ports[0], least.ports[0]);
  deepStrictEqual(bridges[0], least.bridges[0]);
  deepStrictEqual(threads, least.threads);
});

Deno.test("README shows the defaults of a host port", () => {
  const [, , hosts] = readmeBlocks("yaml");
  const gw = parseTopology(hosts!, "lab.yaml").ports[1];
  const least = parseTopology(hosts!.replace(/^ +lease:.*\n/m, ""), "lab.yaml").ports[1];
  deepStrictEqual(gw, least);
});

Deno.test("README names tasks that exist", () => {
  const tasks = readmeCommands().flatMap((line) => /\btask (\S+)/.exec(line)?.[1] ?? []);
  deepStrictEqual(tasks, ["demo", "test", "guest", "guest"]);
  for (const task of tasks) ok(Object.hasOwn(project.tasks, task), task);
});

Deno.test("README and CI run the tests with the same command", () => {
  ok(readmeCommands().includes(RUNNER));
  match(Deno.readTextFileSync(CI), new RegExp(`^exec ${RUNNER}$`, "m"));
});

Deno.test("README has commands that do what it says", async () => {
  using folder = new TemporaryFolder();
  const file = folder.write("lab.yaml", readmeBlocks("yaml")[0]!);
  const commands = readmeCommands()
    .flatMap((line) => /deno run -A mod\.ts ([^)]*)\)?/.exec(line)?.[1] ?? [])
    .map((line) => line.trim().split(" ").map((word) => word === "lab.yaml" ? file : word));
  // The e2e tests play the lab, and the next tests probe and measure it.
  const played = ["run", "probe", "bench"];
  const runnable = commands.filter(([name]) => !played.includes(name!));
  deepStrictEqual(runnable.map(([name]) => name), ["qemu-args", "qemu-args", "validate"]);
  for (const command of runnable) {
    const io = new MemoryIo();
    strictEqual(await main(command, io), 0, `${command.join(" ")}: ${io.stderr}`);
    match(io.stdout, command[0] === "validate" ? /good: 2 ports/ : /-m 1024M/);
  }
});

Deno.test("README has a probe that finds nothing that deviates in its lab", async () => {
  using folder = new TemporaryFolder();
  const [probe] = readmeCommands().flatMap((line) => /mod\.ts (probe .*)/.exec(line)?.[1] ?? []);
  const [name, socket] = probe!.split(" ");
  const events = { onPortEvent: () => {}, onWorkerEvent: () => {}, onFailure: () => {} };
  const topology = parseTopology(readmeBlocks("yaml")[0]!, join(folder.path, "lab.yaml"));
  const lab = new Switch(topology, events);
  await lab.open();
  try {
    const io = new MemoryIo();
    strictEqual(await main([name!, join(folder.path, socket!)], io), 0, io.stdout + io.stderr);
    match(io.stdout, / 0 deviates, /);
  } finally {
    await lab.close();
  }
});

Deno.test("README has commands that measure", async () => {
  const commands = readmeCommands()
    .flatMap((line) => /deno run -A mod\.ts bench ?(.*)/.exec(line)?.slice(1) ?? []);
  deepStrictEqual(commands.map((line) => line.replace(/ .*/, "")), ["", "--rate", "--socket"]);
  await withOwnSwitch("readme", readmeBlocks("yaml")[0]!, async ({ topology }) => {
    for (const command of commands) {
      const args = command.split(" ").filter((word) => word !== "").map((word) =>
        guestPorts(topology).find(({ socket }) => socket.endsWith(`/${word}`))?.socket ?? word
      );
      const io = new MemoryIo();
      const code = await main(["bench", ...args, "--seconds", "0.1", "--rounds", "1"], io);
      strictEqual(code, 0, `bench ${command}: ${io.stderr}${io.stdout}`);
      match(io.stdout, /\n +64 B /);
    }
  });
});

Deno.test("README names folders that exist", () => {
  const [map] = readmeBlocks("text");
  for (const line of map!.trimEnd().split("\n")) {
    ok(Deno.statSync(join(import.meta.dirname!, "../..", line.split(" ")[0]!)));
  }
});
