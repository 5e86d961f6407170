/**
 * A switch that does not get its processor: it shares one with a program that never rests, or is
 * stopped for a while.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Request } from "../../src/vhost_user/numbers.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { ConsoleProcess, findProgram } from "../support/console_process.ts";
import { eventually } from "../support/eventually.ts";
import { exchangeFrames } from "../support/exchange.ts";
import { Labswitch } from "../support/labswitch.ts";
import { isStopped } from "../support/processes.ts";
import { RawClient } from "../support/raw_client.ts";
import { introduce, SteadyFlow } from "../support/steady_flow.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testWith } from "../support/test_with.ts";
import { NOTHING } from "../support/vhost_messages.ts";

const PORTS = ["a", "b", "c", "d", "e"];
const topology = (threads: string) =>
  `version: 1
ports:
${PORTS.map((name) => `  ${name}: { type: vhost-user, socket: ${name}.sock }\n`).join("")}
threads: ${threads}
`;
/** The processor that everything has to share. */
const CORE = 0;
const FRAMES = 100;
const STOPPED_MS = 2000;
const SPINNER = "echo spinning; while :; do :; done";
const noTaskset = () => findProgram("taskset") === undefined ? "taskset" : undefined;

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-processor-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const poll of ["adaptive", "busy"]) {
  testWith(
    noTaskset,
    `Switch that polls ${poll} beside a spinner on its only core goes on (X24)`,
    () =>
      inFolder(async (folder) => {
        const options = { folder, topology: topology(`{ workers: 2, poll: ${poll} }`), core: CORE };
        await using lab = await Labswitch.start(options);
        await using spinner = new ConsoleProcess("sh", ["-c", SPINNER], { core: CORE });
        await spinner.awaitOutput("the spinner", (text) => text !== "" || undefined, 10_000);
        const path = (name: string) => lab.port(name).socket;
        {
          await using a = await TestGuest.attach(path("a"));
          await using b = await TestGuest.attach(path("b"));
          await introduce([a, b]);
          const flow = new SteadyFlow(a, b, [1, 2]);
          for (let i = 0; i < FRAMES; i++) await flow.pass();
          // Control has to wait for Workers that have to wait for the spinner.
          await using c = await TestGuest.attach(path("c"));
          await using d = await TestGuest.attach(path("d"));
          await introduce([a, b, c, d]);
          await exchangeFrames(a, b);
          console.log(
            `${poll} beside a spinner: a frame took ${flow.longestMs.toFixed(1)} ms at most`,
          );
        }
        strictEqual(/replaced|refused|ring \d+ stopped/.test(lab.output), false, lab.output);
        await lab.stop();
      }),
  );
}

Deno.test("Switch that was stopped for 2 s goes on where it was (X25, X26)", () =>
  inFolder(async (folder) => {
    await using lab = await Labswitch.start({ folder, topology: topology("{ workers: 2 }") });
    const path = (name: string) => lab.port(name).socket;
    {
      await using a = await TestGuest.attach(path("a"));
      await using b = await TestGuest.attach(path("b"));
      await introduce([a, b]);
      const flow = new SteadyFlow(a, b, [1, 2]);
      using midMessage = await RawClient.connect(path("d"));
      const message = encode(Request.GET_FEATURES, 0, NOTHING);
      await midMessage.send(message.subarray(0, 5));
      flow.begin();
      Deno.kill(lab.pid, "SIGSTOP");
      await eventually("the switch stands still", () => isStopped(lab.pid) || null);
      // These come while nobody is there to answer.
      const late = TestGuest.attach(path("c"));
      await delay(STOPPED_MS);
      const before = flow.frames;
      Deno.kill(lab.pid, "SIGCONT");
      await using c = await late;
      await eventually("frames", () => flow.frames > before + FRAMES || null);
      await flow.end();
      ok(flow.longestMs >= STOPPED_MS, `the longest gap was ${flow.longestMs} ms`);
      // The deadline of a message is longer than the standstill.
      await midMessage.send(message.subarray(5));
      ok(await midMessage.number(Request.GET_FEATURES) > 0n);
      await introduce([a, b, c]);
    }
    strictEqual(/replaced|refused|ring \d+ stopped/.test(lab.output), false, lab.output);
    await lab.stop();
  }));
