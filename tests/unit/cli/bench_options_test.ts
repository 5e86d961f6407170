/**
 * Wrong options of `labswitch bench`, and what its user is told.
 *
 * @module
 */
import { match, ok, strictEqual } from "node:assert/strict";
import { main } from "../../../src/cli/main.ts";
import { MemoryIo, TemporaryFolder } from "./memory_io.ts";

/** Runs it; wrong options must end it before anything is measured. */
async function wrong(...args: string[]): Promise<string> {
  const io = new MemoryIo();
  strictEqual(await main(["bench", ...args], io), 2, args.join(" "));
  strictEqual(io.stdout, "");
  const errors = io.stderr.split("\n").filter((line) => line.startsWith("error:"));
  strictEqual(errors.length, 1, io.stderr);
  return errors[0]!;
}

Deno.test("bench refuses a rate that is none", async () => {
  for (const rate of ["fast", "0", "-5", "1G", "200M", ""]) {
    match(await wrong("--rate", rate), /'--rate <pps>' argument '.*' is invalid\. Write .* 100k/);
  }
});

Deno.test("bench refuses sizes that no frame has", async () => {
  for (const sizes of ["59", "1515", "64,", "64,big", "64.5", "1e2"]) {
    match(await wrong("--sizes", sizes), /is invalid\. Write sizes from 60 to 1514 bytes/);
  }
});

Deno.test("bench refuses numbers out of bounds", async () => {
  for (const [option, value] of [["--flows", "1025"], ["--window", "0"], ["--rounds", "x"]]) {
    match(await wrong(option!, value!), /is invalid\. Write an integer from 1 to \d+\./);
  }
  match(await wrong("--seconds", "0"), /is invalid\. Write a number up to 3600\./);
});

Deno.test("bench refuses one socket, three, and the same one twice", async () => {
  match(await wrong("--socket", "a.sock"), /^error: 1 socket given: .*; give two sockets, or none/);
  match(await wrong("a", "b", "--socket", "c"), /^error: 3 sockets given: .*; give two sockets/);
  match(
    await wrong("a.sock", "a.sock"),
    /^error: both sockets are a\.sock: .*; give two different/,
  );
});

Deno.test("bench knows one socket by two paths", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("a.sock", "");
  const link = `${folder.path}/link.sock`;
  Deno.symlinkSync(path, link);
  match(
    await wrong(path, link),
    /^error: both sockets are .*a\.sock, which is also .*link\.sock: /,
  );
  match(
    await wrong("none.sock", "./none.sock"),
    /^error: both sockets are none\.sock, which is also/,
  );
});

Deno.test("bench refuses a window beside a rate", async () => {
  const error = await wrong("--rate", "1k", "--window", "8");
  match(error, /^error: --window and --rate exclude each other: .*; leave --window out/);
});

Deno.test("bench refuses an option that it does not know", async () => {
  match(await wrong("--size", "64"), /unknown option '--size'/);
});

Deno.test("bench explains its options with their defaults", async () => {
  const io = new MemoryIo();
  strictEqual(await main(["bench", "--help"], io), 0);
  for (const text of ["default: 64,512,1514", "default: max", "--packed", "--json"]) {
    ok(io.stdout.replaceAll('"', "").includes(text), `${text} in ${io.stdout}`);
  }
});
