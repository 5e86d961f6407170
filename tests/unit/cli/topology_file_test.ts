import { ok, strictEqual } from "node:assert/strict";
import { guestPorts } from "../../../config/topology.ts";
import { readTopology } from "../../../src/cli/topology_file.ts";
import { MemoryIo, TemporaryFolder } from "./memory_io.ts";

const GOOD = "version: 1\nports:\n  vm1: { type: vhost-user, socket: vm1.sock }\n";

Deno.test("readTopology returns the topology and writes nothing", async () => {
  using folder = new TemporaryFolder();
  const io = new MemoryIo();
  const topology = await readTopology(folder.write("lab.yaml", GOOD), io);
  ok(typeof topology === "object");
  strictEqual(guestPorts(topology)[0]?.socket, `${folder.path}/vm1.sock`);
  strictEqual(io.stdout + io.stderr, "");
});

Deno.test("readTopology returns 3 and explains the mistakes of a wrong file", async () => {
  using folder = new TemporaryFolder();
  const io = new MemoryIo();
  const path = folder.write("lab.yaml", GOOD.replace("vhost-user", "vhostuser"));
  strictEqual(await readTopology(path, io), 3);
  strictEqual(
    io.stderr,
    `${path}:3:16: error: "vhostuser" is not known here\n` +
      "  3 |   vm1: { type: vhostuser, socket: vm1.sock }\n" +
      "    |                ^^^^^^^^^\n" +
      '  fix: did you mean "vhost-user"?\n',
  );
  strictEqual(io.stdout, "");
});

Deno.test("readTopology returns 1 and points to the examples when there is no file", async () => {
  const io = new MemoryIo();
  strictEqual(await readTopology("no/such.yaml", io), 1);
  strictEqual(
    io.stderr,
    "error: cannot read no/such.yaml: it does not exist; config/examples has files to start from\n",
  );
});

Deno.test("readTopology returns 1 for a folder", async () => {
  using folder = new TemporaryFolder();
  const io = new MemoryIo();
  strictEqual(await readTopology(folder.path, io), 1);
  strictEqual(io.stderr, `error: cannot read ${folder.path}: it is a folder\n`);
});

Deno.test("readTopology returns 1 when a part of the path is a file", async () => {
  using folder = new TemporaryFolder();
  const io = new MemoryIo();
  const path = `${folder.write("lab.yaml", GOOD)}/more.yaml`;
  strictEqual(await readTopology(path, io), 1);
  ok(io.stderr.startsWith(`error: cannot read ${path}: `));
});

Deno.test("readTopology returns 1 for a link to itself", async () => {
  using folder = new TemporaryFolder();
  const io = new MemoryIo();
  const path = `${folder.path}/lab.yaml`;
  Deno.symlinkSync(path, path);
  strictEqual(await readTopology(path, io), 1);
  ok(io.stderr.startsWith(`error: cannot read ${path}: `));
});

/** A text as Windows saves it. */
function utf16(text: string): Uint8Array {
  return Uint8Array.from([...text].flatMap((character) => [character.charCodeAt(0), 0]));
}

Deno.test("readTopology returns 3 for a file that is not text, and marks its beginning", async () => {
  using folder = new TemporaryFolder();
  const binary = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0xff, 0xfe, 0);
  const latin1 = Uint8Array.of(...new TextEncoder().encode(`${GOOD}# `), 0xe9);
  const marked = Uint8Array.of(0xff, 0xfe, ...utf16(GOOD));
  for (const data of [binary, latin1, utf16(GOOD), marked]) {
    const io = new MemoryIo();
    const path = folder.write("lab.yaml", data);
    strictEqual(await readTopology(path, io), 3);
    ok(io.stderr.startsWith(`${path}:1:1: error: this is not text in UTF-8\n  1 | `), io.stderr);
    ok(io.stderr.endsWith("fix: save it as UTF-8, or name the file that was meant\n"), io.stderr);
  }
});
