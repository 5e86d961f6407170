import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import type { VhostUserConfig } from "../../../config/topology.ts";
import { parseQemuVersion, qemuArguments, shellLines } from "../../../src/cli/qemu_args.ts";

const port: VhostUserConfig = {
  name: "vm1",
  type: "vhost-user",
  role: "server",
  socket: "/run/lab/vm1.sock",
  queues: 1,
  bridge: "br0",
  mac: "52:54:00:00:00:01",
};

/** The value of the last `option` among the arguments. */
function valueOf(option: string, args: readonly string[]): string | undefined {
  return args[args.lastIndexOf(option) + 1];
}

Deno.test("qemuArguments connects to a port that listens, and shares the guest's memory", () => {
  deepStrictEqual(qemuArguments(port, 256), [
    ...["-m", "256M"],
    ...["-object", "memory-backend-memfd,id=labswitch-memory,size=256M,share=on"],
    ...["-machine", "q35,memory-backend=labswitch-memory"],
    ...["-chardev", "socket,id=labswitch-socket,path=/run/lab/vm1.sock,reconnect=1"],
    ...["-netdev", "vhost-user,id=labswitch-net,chardev=labswitch-socket,queues=1"],
    ...["-device", "virtio-net-pci,netdev=labswitch-net,mac=52:54:00:00:00:01"],
  ]);
});

Deno.test("qemuArguments listens without waiting where the port is the client", () => {
  const args = qemuArguments({ ...port, role: "client" }, 256);
  const chardev = "socket,id=labswitch-socket,path=/run/lab/vm1.sock,server=on,wait=off";
  strictEqual(valueOf("-chardev", args), chardev);
});

Deno.test("qemuArguments gives a multiqueue device a vector for each ring and two more", () => {
  const args = qemuArguments({ ...port, queues: 4 }, 256);
  ok(valueOf("-netdev", args)?.endsWith(",queues=4"));
  ok(valueOf("-device", args)?.endsWith(",mq=on,vectors=10"));
});

Deno.test("qemuArguments gives the same size to -m and to the memory object", () => {
  const args = qemuArguments(port, 1024);
  strictEqual(valueOf("-m", args), "1024M");
  ok(valueOf("-object", args)?.includes(",size=1024M,"));
});

Deno.test("qemuArguments doubles commas in the socket's path", () => {
  const args = qemuArguments({ ...port, socket: "/run/a,b,,c.sock" }, 256);
  ok(valueOf("-chardev", args)?.includes(",path=/run/a,,b,,,,c.sock,reconnect"));
});

Deno.test("qemuArguments uses the reconnect option that the version has", () => {
  const option = (major: number, minor: number) =>
    valueOf("-chardev", qemuArguments(port, 256, { major, minor }))?.split(",").at(-1);
  strictEqual(option(7, 2), "reconnect=1");
  strictEqual(option(9, 1), "reconnect=1");
  strictEqual(option(8, 9), "reconnect=1");
  strictEqual(option(9, 2), "reconnect-ms=1000");
  strictEqual(option(10, 0), "reconnect-ms=1000");
});

Deno.test("parseQemuVersion reads what QEMU prints", () => {
  const debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c)";
  deepStrictEqual(parseQemuVersion(debian), { major: 7, minor: 2 });
  deepStrictEqual(parseQemuVersion("QEMU emulator version 10.0.2"), { major: 10, minor: 0 });
  deepStrictEqual(parseQemuVersion("QEMU emulator version 9.2.50 (v9.2.0-1-gabc)"), {
    major: 9,
    minor: 2,
  });
});

Deno.test("parseQemuVersion returns null for another program's output", () => {
  strictEqual(parseQemuVersion(""), null);
  strictEqual(parseQemuVersion("command not found"), null);
  strictEqual(parseQemuVersion("version ten"), null);
});

Deno.test("shellLines writes an option and its value per line, joined for a shell", () => {
  const lines = "-m 256M \\\n-machine q35,memory-backend=m\n";
  strictEqual(shellLines(["-m", "256M", "-machine", "q35,memory-backend=m"], true), lines);
});

Deno.test("shellLines writes plain words for the substitution of a command", async () => {
  const args = qemuArguments(port, 256);
  const script = `printf '%s\\0' $(cat)`;
  const shell = new Deno.Command("sh", { args: ["-c", script], stdin: "piped", stdout: "piped" });
  const child = shell.spawn();
  await new Blob([shellLines(args, false)]).stream().pipeTo(child.stdin);
  const { stdout } = await child.output();
  deepStrictEqual(new TextDecoder().decode(stdout).split("\0").slice(0, -1), args);
});

Deno.test("qemuArguments gives an emulated guest no vectors where QEMU crashes with them", () => {
  for (const queues of [1, 4]) {
    const of = (major: number) =>
      qemuArguments({ ...port, queues }, 256, { major, minor: 0 }, true).join(" ");
    match(of(7), /vectors=0/);
    doesNotMatch(of(10), /vectors=0/);
  }
});

Deno.test("shellLines quotes what a shell would take apart", () => {
  strictEqual(shellLines(["-x", "a b"], true), "-x 'a b'\n");
  strictEqual(shellLines(["-x", "it's"], true), `-x 'it'\\''s'\n`);
  strictEqual(shellLines(["-x", "$(id);*"], true), "-x '$(id);*'\n");
  strictEqual(shellLines(["-x", ""], true), "-x ''\n");
});

Deno.test("shellLines gives a shell exactly the arguments that it was given", async () => {
  const args = qemuArguments({ ...port, socket: "/run/my lab/it's $HOME, `id` \"é\\.sock" }, 256);
  const script = `printf '%s\\0' ${shellLines(args, true)}`;
  const { stdout } = await new Deno.Command("sh", { args: ["-c", script] }).output();
  deepStrictEqual(new TextDecoder().decode(stdout).split("\0").slice(0, -1), args);
});
