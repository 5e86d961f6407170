import { ok, rejects, strictEqual } from "node:assert/strict";
import { ConsoleProcess, findProgram, runToEnd } from "../../support/console_process.ts";

/** Long enough for a shell to answer on a busy machine. */
const TIMEOUT_MS = 10_000;

Deno.test("ConsoleProcess.awaitOutput waits for the answer to a line", async () => {
  await using cat = new ConsoleProcess("cat", []);
  await cat.writeLine("hello");
  const found = await cat.awaitOutput("the echo", (text) => /he(l+)o/.exec(text)?.[1], TIMEOUT_MS);
  strictEqual(found, "ll");
});

Deno.test("ConsoleProcess.awaitOutput rejects with the output when the program ends", async () => {
  await using shell = new ConsoleProcess("sh", ["-c", "echo no such port >&2; exit 3"]);
  await rejects(
    shell.awaitOutput("the prompt", () => undefined, TIMEOUT_MS),
    /the prompt of sh: the program ended; .*\nno such port/s,
  );
  strictEqual(await shell.awaitEnd(), 3);
});

Deno.test("ConsoleProcess keeps standard error apart where that is wanted, and quotes it", async () => {
  const options = { errorsApart: true };
  await using shell = new ConsoleProcess("sh", ["-c", "echo odd >&2; echo even"], options);
  await rejects(
    shell.awaitOutput("the prompt", () => undefined, TIMEOUT_MS),
    /its output ends:\neven\n\nits standard error ends:\nodd/,
  );
  strictEqual(shell.output, "even\n");
});

Deno.test("ConsoleProcess.awaitOutput rejects when the time is over", async () => {
  await using cat = new ConsoleProcess("cat", []);
  await rejects(cat.awaitOutput("anything", () => undefined, 10), /nothing after 10 ms/);
});

Deno.test("ConsoleProcess.stop kills a program that ignores SIGTERM", async () => {
  const script = "trap '' TERM; echo trapped; while :; do read line; done";
  await using shell = new ConsoleProcess("sh", ["-c", script]);
  await shell.awaitOutput("the trap", (text) => text.includes("trapped") || undefined, TIMEOUT_MS);
  strictEqual(await shell.stop(50), 128 + 9);
});

Deno.test("ConsoleProcess pins all threads to the given core", async () => {
  const allowed = "/proc/self/status";
  await using grep = new ConsoleProcess("grep", ["Cpus_allowed_list", allowed], { core: 0 });
  strictEqual(await grep.awaitEnd(), 0);
  ok(/Cpus_allowed_list:\s+0\n/.test(grep.output));
});

Deno.test("runToEnd rejects with standard error when the exit code is not 0", async () => {
  strictEqual(await runToEnd("echo", ["fine"]), "fine\n");
  await rejects(runToEnd("sh", ["-c", "echo broken >&2; exit 4"]), /exit code 4: broken/);
});

Deno.test("findProgram finds names and absolute paths, and nothing else", () => {
  ok(findProgram("sh")?.endsWith("/sh"));
  strictEqual(findProgram("/bin/sh"), "/bin/sh");
  strictEqual(findProgram("no-such-program-here"), undefined);
});
