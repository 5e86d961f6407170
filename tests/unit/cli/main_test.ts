/**
 * The command line as a user sees it: output, error output and exit code.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { main } from "../../../src/cli/main.ts";
import { MemoryIo, TemporaryFolder } from "./memory_io.ts";

const PROGRAM = fileURLToPath(new URL("../../../mod.ts", import.meta.url));
const EXAMPLE = fileURLToPath(new URL("../../../config/examples/two-vms.yaml", import.meta.url));
const HINT = "Run with --help to see what is possible.\n";
const PORTS = `version: 1
ports:
  vm1: { type: vhost-user, socket: vm1.sock }
  "router": { type: vhost-user, socket: "my lab,1.sock", role: client, queues: 2 }
`;

/** What a command leaves behind. */
interface Result {
  code: number;
  out: string;
  err: string;
}

async function labswitch(...args: string[]): Promise<Result> {
  const io = new MemoryIo();
  const code = await main(args, io);
  return { code, out: io.stdout, err: io.stderr };
}

Deno.test("main explains itself on standard output with --help, -h and help", async () => {
  const { code, out, err } = await labswitch("--help");
  deepStrictEqual([code, err], [0, ""]);
  for (const command of ["run", "validate", "qemu-args", "schema", "demo", "probe", "bench"]) {
    match(out, new RegExp(`^ {2}${command} `, "m"));
  }
  deepStrictEqual(await labswitch("-h"), { code, out, err });
  deepStrictEqual(await labswitch("help"), { code, out, err });
});

Deno.test("main explains its exit codes in its help", async () => {
  const { out } = await labswitch("--help");
  match(out, /^Exit codes: 0 done, 1 .*, 2 .*, 3 wrong topology file,\n {2}70 .*$/m);
});

Deno.test("main explains a command", async () => {
  const { code, out } = await labswitch("qemu-args", "--help");
  strictEqual(code, 0);
  match(out, /^Usage: labswitch qemu-args \[options\] <port>$/m);
  match(out, /--memory <size>/);
  strictEqual((await labswitch("help", "qemu-args")).out, out);
});

Deno.test("main explains the supervisor in the help of run", async () => {
  const { code, out } = await labswitch("run", "--help");
  strictEqual(code, 0);
  match(out, /^ +--supervise +run it in a process of its own, and start it again when it dies$/m);
});

Deno.test("main explains in the help of probe how long it waits, and what it returns", async () => {
  const { code, out } = await labswitch("probe", "--help");
  strictEqual(code, 0);
  match(out, /^Usage: labswitch probe \[options\] <socket>$/m);
  match(out, /^ +--timeout <seconds> +how long each answer may take \(default: 3\)$/m);
  match(out.replaceAll(/\s+/g, " "), /exit 0 when nothing deviates, 1 otherwise/);
});

Deno.test("main shows in the help of qemu-args the default memory as a user writes it", async () => {
  const { out } = await labswitch("qemu-args", "--help");
  match(out, /default: "?256M/);
});

Deno.test("main without arguments shows its help as an error", async () => {
  const { code, out, err } = await labswitch();
  deepStrictEqual([code, out], [2, ""]);
  strictEqual(err, (await labswitch("--help")).out);
});

Deno.test("main prints the version", async () => {
  const { code, out } = await labswitch("--version");
  strictEqual(code, 0);
  match(out, /^labswitch \d+\.\d+\.\d+\n$/);
  strictEqual((await labswitch("-V")).out, out);
});

Deno.test("main suggests the command or option that was meant", async () => {
  deepStrictEqual(await labswitch("validat", "lab.yaml"), {
    code: 2,
    out: "",
    err: `error: unknown command 'validat'\n(Did you mean validate?)\n${HINT}`,
  });
  deepStrictEqual(await labswitch("qemu-args", "vm1", "-f", EXAMPLE, "--memroy", "1G"), {
    code: 2,
    out: "",
    err: `error: unknown option '--memroy'\n(Did you mean --memory?)\n${HINT}`,
  });
});

Deno.test("main suggests nothing where nothing is close", async () => {
  const { code, err } = await labswitch("frobnicate");
  deepStrictEqual([code, err], [2, `error: unknown command 'frobnicate'\n${HINT}`]);
});

Deno.test("main refuses missing and superfluous arguments", async () => {
  for (
    const args of [
      ["validate"],
      ["validate", "a", "b"],
      ["qemu-args", "vm1"],
      ["qemu-args", "-f", EXAMPLE],
      ["qemu-args", "vm1", "-f"],
      ["schema", "a"],
      ["run"],
    ]
  ) {
    const { code, out, err } = await labswitch(...args);
    deepStrictEqual([code, out], [2, ""], args.join(" "));
    match(err, /^error: .+\n/);
  }
});

Deno.test("main validate counts what a good file has", async () => {
  deepStrictEqual(await labswitch("validate", EXAMPLE), {
    code: 0,
    out: `${EXAMPLE}: good: 2 ports, 1 bridge\n`,
    err: "",
  });
});

Deno.test("main validate explains a bad file and returns 3", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("lab.yaml", PORTS.replace("role:", "roel:"));
  const { code, out, err } = await labswitch("validate", path);
  deepStrictEqual([code, out], [3, ""]);
  ok(err.startsWith(`${path}:4:58: error: the key "roel" is not known here\n`), err);
  ok(err.endsWith('  fix: did you mean "role"?\n'), err);
});

Deno.test("main returns 1 when the file is missing, whatever the command", async () => {
  const reason = "it does not exist; config/examples has files to start from";
  const want = { code: 1, out: "", err: `error: cannot read no.yaml: ${reason}\n` };
  deepStrictEqual(await labswitch("validate", "no.yaml"), want);
  deepStrictEqual(await labswitch("qemu-args", "vm1", "-f", "no.yaml"), want);
  deepStrictEqual(await labswitch("run", "no.yaml"), want);
});

Deno.test("main qemu-args prints the arguments for a port", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("lab.yaml", PORTS);
  const { code, out } = await labswitch("qemu-args", "vm1", "-f", path);
  strictEqual(code, 0);
  match(out, /^-m 256M\n/);
  match(out, new RegExp(`path=${folder.path}/vm1\\.sock,reconnect`));
  match(out, /mac=52:54:00:00:00:01\n$/);
});

Deno.test("main qemu-args prints what a client port with an unusual path needs", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("lab.yaml", PORTS);
  const { code, out, err } = await labswitch("qemu-args", "router", "-m", "1G", "--file", path);
  strictEqual(code, 0);
  match(err, /^a path has characters that need quotes; write eval "qemu-system-… \$\(…\)"$/m);
  match(out, /^-m 1024M\n/);
  match(out, /'socket,id=labswitch-socket,path=.*\/my lab,,1\.sock,server=on,wait=off'\n/);
  match(out, /queues=2\n.*mac=52:54:00:00:00:02,mq=on,vectors=6\n$/);
});

Deno.test("main qemu-args says that no guest can be connected to a host port", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("lab.yaml", `${PORTS}  gw: { type: host, address: 10.0.0.1/24 }\n`);
  deepStrictEqual(await labswitch("qemu-args", "gw", "-f", path), {
    code: 2,
    out: "",
    err: 'error: port "gw" is of type host: no guest can be connected to it\n',
  });
});

Deno.test("main qemu-args suggests the port that was meant, or lists the ports", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("lab.yaml", PORTS);
  const close = 'error: there is no port "vm2"; did you mean "vm1"?\n';
  deepStrictEqual(await labswitch("qemu-args", "vm2", "-f", path), {
    code: 2,
    out: "",
    err: close,
  });
  const far = 'error: there is no port "database"; the ports are vm1, router\n';
  const got = await labswitch("qemu-args", "database", "-f", path);
  deepStrictEqual(got, { code: 2, out: "", err: far });
});

Deno.test("main qemu-args refuses a size of memory that is none", async () => {
  for (const size of ["lots", "0M", "256", "-1G", ""]) {
    const { code, out, err } = await labswitch("qemu-args", "vm1", "-f", EXAMPLE, "--memory", size);
    deepStrictEqual([code, out], [2, ""], size);
    ok(err.includes("Write a size like 256M or 1G."), err);
  }
});

Deno.test("main qemu-args refuses more memory than a port can map", async () => {
  for (const size of ["17G", "999999999G"]) {
    const { code, out } = await labswitch("qemu-args", "vm1", "-f", EXAMPLE, "--memory", size);
    deepStrictEqual([code, out], [2, ""], size);
  }
});

Deno.test("main schema prints JSON that ends with a line end", async () => {
  const { code, out, err } = await labswitch("schema");
  deepStrictEqual([code, err], [0, ""]);
  ok(out.endsWith("}\n"));
  strictEqual(JSON.parse(out).$schema, "http://json-schema.org/draft-07/schema#");
});

Deno.test("main demo refuses a time that is none", async () => {
  for (const time of ["0", "abc", "3601", "-1"]) {
    const { code, err } = await labswitch("demo", `--seconds=${time}`);
    strictEqual(code, 2, time);
    ok(err.includes("Write a number up to 3600."), err);
  }
});

/** Runs the program with fewer permissions, in a process of its own. */
async function withPermissions(
  permissions: string[],
  args: string[],
  env: Record<string, string> = {},
): Promise<Result> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", ...permissions, PROGRAM, ...args],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("main names the permission without which a file cannot be read", async () => {
  const { code, err } = await withPermissions([], ["validate", EXAMPLE]);
  const reason = "run with --allow-read, or -A for everything";
  deepStrictEqual([code, err], [1, `error: cannot read ${EXAMPLE}: ${reason}\n`]);
});

Deno.test("main does not ask for a permission that it has", async () => {
  const { code, err } = await withPermissions(["--allow-read"], ["validate", EXAMPLE]);
  ok(!err.includes("--allow-read"), err);
  if (code !== 0) match(err, /-A/);
});

Deno.test("main qemu-args does not say that QEMU is missing when it may not be run", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-main-" });
  try {
    const qemu = `${folder}/qemu-system-${Deno.build.arch}`;
    await Deno.writeTextFile(qemu, "#!/bin/sh\n", { mode: 0o755 });
    const permissions = ["--allow-read", "--allow-env"];
    const args = ["qemu-args", "vm1", "-f", EXAMPLE];
    const { err } = await withPermissions(permissions, args, { PATH: folder });
    ok(!err.includes("no QEMU found"), err);
    match(err, /--allow-run|-A/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("main run does not start when its supervisor is gone", async () => {
  const env = { LABSWITCH_SUPERVISOR: `${Deno.ppid}` };
  const err = `error: Cannot run: the supervisor, process ${Deno.ppid}, is gone\n`;
  deepStrictEqual(await withPermissions(["-A"], ["run", EXAMPLE], env), { code: 1, out: "", err });
});

Deno.test("main run --supervise names the permissions that it needs", async () => {
  const permissions = ["--allow-read", "--allow-env", "--allow-ffi"];
  const { code, err } = await withPermissions(permissions, ["run", "--supervise", EXAMPLE]);
  strictEqual(code, 1);
  match(err, /^error: .*; run with -A, or see "Permissions" in the README\n$/);
});
