/**
 * Plays the README's first lab with the README's own commands.
 *
 * @module
 */
import { join } from "node:path";
import { ConsoleProcess } from "../support/console_process.ts";
import { missingForGuests } from "../support/guest/guest.ts";
import { readmeBlocks, readmeCommands } from "../support/readme.ts";
import { testWith } from "../support/test_with.ts";

const REPOSITORY = join(import.meta.dirname!, "../..");
const START_MS = 60_000;
/** The prompt of busybox's shell. */
const PROMPT = " # ";
const KEY_INTERVAL_MS = 200;

testWith(missingForGuests, "README has a first lab in which two guests talk", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-readme-" });
  try {
    const file = join(folder, "lab.yaml");
    await Deno.writeTextFile(file, readmeBlocks("yaml")[0]!);
    const [run, ...guests] = readmeCommands()
      .filter((line) => /mod\.ts run |task guest /.test(line))
      .map((line) => line.replace("deno", Deno.execPath()).replace("lab.yaml", file).split(" "));
    await using lab = start(run!);
    await lab.awaitOutput("ready", (output) => /^ready/m.test(output) || undefined, START_MS);
    await using vm1 = start(guests[0]!);
    await using vm2 = start(guests[1]!);
    await Promise.all([vm1, vm2].map(awaitShell));
    await vm1.writeLine("ping -c 3 10.0.0.2");
    await vm1.awaitOutput("the answers", (output) => /3 packets received/.exec(output), START_MS);
    for (const guest of [vm1, vm2]) {
      await guest.writeLine("poweroff -f");
      await guest.awaitEnd(START_MS);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

// A shell that has just opened its terminal drops what comes at once: like a person, type until it
// answers.
async function awaitShell(guest: ConsoleProcess): Promise<void> {
  const keys = setInterval(() => guest.writeLine(""), KEY_INTERVAL_MS);
  try {
    const isAnswered = (output: string) => output.split(PROMPT).length > 2 || undefined;
    await guest.awaitOutput("the shell", isAnswered, START_MS);
  } finally {
    clearInterval(keys);
  }
}

function start(command: readonly string[]): ConsoleProcess {
  return new ConsoleProcess(command[0]!, command.slice(1), { folder: REPOSITORY });
}
