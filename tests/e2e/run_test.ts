/**
 * The command as a user starts it, in a process of its own.
 *
 * @module
 */
import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert/strict";
import { dirname, join } from "node:path";
import { connectUnix, listenUnix } from "../../ffi/unix_socket.ts";
import { runToEnd } from "../support/console_process.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { Labswitch } from "../support/labswitch.ts";
import { readmePermissions } from "../support/readme.ts";
import { TestGuest } from "../support/test_guest.ts";

const TOPOLOGY = `version: 1
ports:
  vm1: { type: vhost-user, socket: vm1.sock }
  vm2: { type: vhost-user, socket: vm2.sock }
`;
const REPOSITORY = join(import.meta.dirname!, "../..");
/** nobody (Debian's base-passwd). */
const NOBODY = "65534";

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-run-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("run prints one screen and ready, and removes its sockets at the end", () =>
  inFolder(async (folder) => {
    const lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    match(lab.output, /^labswitch \d/);
    match(lab.output, /^ {2}vm1 +vhost-user +server +1 +br0/m);
    match(lab.output, /^ready in \d+ ms$/m);
    for (const name of ["vm1", "vm2"]) ok(Deno.lstatSync(lab.port(name).socket).isSocket);
    await lab.stop();
    match(lab.output, /^ {2}vm1 +waiting +0/m);
    for (const name of ["vm1", "vm2"]) {
      await rejects(Deno.lstat(lab.port(name).socket), Deno.errors.NotFound);
    }
  }));

Deno.test("run shows a host port with its addresses, and says no word about its coming and going", () =>
  inFolder(async (folder) => {
    const gw = "{ type: host, address: [10.0.0.1/24, 'fd00::1/64'], " +
      "dhcp: { range: 10.0.0.9-10.0.0.20 } }";
    const topology = `${TOPOLOGY}  gw: ${gw}\n`;
    await using lab = await Labswitch.start({ folder, topology });
    match(
      lab.output,
      /^ {2}gw +host +- +1 +br0 +10\.0\.0\.1\/24 fd00::1\/64 dhcp 10\.0\.0\.9-10\.0\.0\.20$/m,
    );
    const ready = lab.output.indexOf("\n", lab.output.search(/^ready/m)) + 1;
    await lab.stop();
    match(lab.output.slice(ready), /^\n {2}PORT .*\n {2}vm1 .*\n {2}vm2 .*\n {2}gw +up +0 .*\n$/);
  }));

Deno.test("run lets only its own user connect", () =>
  inFolder(async (folder) => {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    strictEqual(Deno.lstatSync(lab.port("vm1").socket).mode! & 0o777, 0o600);
  }));

Deno.test("run prints a line for each connection, and turns a second front-end away", () =>
  inFolder(async (folder) => {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    const path = lab.port("vm1").socket;
    using _first = connectUnix(path);
    await lab.awaitLine(/^\S+ vm1 {2}connected {2}\S+ \(pid \d+\)$/m);
    using _second = connectUnix(path);
    await lab.awaitLine(/^\S+ vm1 {2}refused {2}.*another front-end is connected/m);
    _first.close();
    await lab.awaitLine(/^\S+ vm1 {2}disconnected$/m);
  }));

Deno.test("run replaces the socket of a switch that was killed, and says so", () =>
  inFolder(async (folder) => {
    const killed = await Labswitch.start({ folder, topology: TOPOLOGY });
    await killed.kill();
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    match(lab.output, /vm1 {2}replaced a stale socket/);
  }));

Deno.test("run refuses a socket on which somebody listens, and names the process", () =>
  inFolder(async (folder) => {
    using _listener = listenUnix(join(folder, "vm2.sock"));
    await rejects(
      Labswitch.start({ folder, topology: TOPOLOGY }),
      new RegExp(`error: .*vm2\\.sock: process ${Deno.pid} \\(\\S+\\) listens there; stop it`),
    );
    await rejects(Deno.lstat(join(folder, "vm1.sock")), Deno.errors.NotFound);
  }));

Deno.test("run refuses a path where a file is, and leaves the file alone (X27)", () =>
  inFolder(async (folder) => {
    const file = join(folder, "vm1.sock");
    await Deno.writeTextFile(file, "precious");
    await rejects(
      Labswitch.start({ folder, topology: TOPOLOGY }),
      /error: .*vm1\.sock: something else than a socket is there; remove it or choose another path/,
    );
    strictEqual(await Deno.readTextFile(file), "precious");
  }));

Deno.test("run refuses a folder that does not exist, and says how to make it (X27)", () =>
  inFolder(async (folder) => {
    const topology = TOPOLOGY.replace("vm1.sock", "missing/vm1.sock");
    await rejects(
      Labswitch.start({ folder, topology }),
      /error: .*create it with mkdir -p \S+missing/,
    );
  }));

Deno.test("run explains a permission that Deno was not given", async () => {
  const program = join(REPOSITORY, "mod.ts");
  const topology = join(REPOSITORY, "config/examples/two-vms.yaml");
  const start = (...flags: string[]) =>
    runToEnd(Deno.execPath(), ["run", "--no-prompt", ...flags, program, "run", topology]);
  await rejects(start("--allow-read", "--allow-env"), /error: .*--allow-ffi/);
  await rejects(start("--allow-ffi", "--allow-env"), /error: .*run with (-A|--allow-read)/);
});

Deno.test("run needs no permission that the README does not name", () =>
  inFolder(async (folder) => {
    const topology = `${TOPOLOGY}  gw: { type: host, address: 10.0.0.1/24 }\n`;
    const permissions = readmePermissions();
    ok(permissions.includes("--allow-ffi"));
    await using lab = await Labswitch.start({ folder, topology, permissions });
    {
      await using from = await TestGuest.attach(lab.port("vm1").socket);
      await using to = await TestGuest.attach(lab.port("vm2").socket);
      await lab.awaitLine(/vm1 {2}connected {2}deno \(pid \d+\)/);
      const frame = makeFrame(BROADCAST, stationAddress(1), 60);
      from.send(frame);
      deepStrictEqual(await to.receive(), frame);
    }
    strictEqual(await lab.process.stop(), 0);
  }));

Deno.test("demo works for a user who is not root", () => inFolder(playAsNobody));

async function playAsNobody(folder: string): Promise<void> {
  const isRoot = Deno.uid() === 0;
  const program = isRoot ? await giveToNobody(folder) : { deno: Deno.execPath(), at: REPOSITORY };
  const output = await runToEnd("env", [
    ...["--chdir", folder, `DENO_DIR=${folder}/cache`, `HOME=${folder}`, `TMPDIR=${folder}`],
    ...isRoot ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"] : [],
    ...[program.deno, "run", "--allow-all", join(program.at, "mod.ts"), "demo"],
  ]);
  match(output, /^ping {4}20 sent, 0 lost/m);
  match(
    output,
    /^flood {3}10\.0\.0\.3, a host port, answers \d+ thousand pings per second; .*; 0 lost$/m,
  );
  match(output, /^Everything worked\.$/m);
}

// An ordinary user sees neither root's files nor root's programs: both are copied and given away.
async function giveToNobody(folder: string): Promise<{ deno: string; at: string }> {
  const files = (await runToEnd("git", ["-C", REPOSITORY, "ls-files"])).trim().split("\n");
  for (const file of files) {
    await Deno.mkdir(join(folder, dirname(file)), { recursive: true });
    await Deno.copyFile(join(REPOSITORY, file), join(folder, file));
  }
  const deno = join(folder, "deno");
  await Deno.copyFile(Deno.execPath(), deno);
  await runToEnd("chown", ["--recursive", `${NOBODY}:${NOBODY}`, folder]);
  return { deno, at: folder };
}
