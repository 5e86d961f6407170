/**
 * A switch is stopped at any moment: while it starts, in the middle of handshakes, under traffic. It
 * ends soon, leaves no socket behind, and its peers see the connection end.
 *
 * @module
 */
import { match, ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import { Request } from "../../src/vhost_user/numbers.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { ConsoleProcess } from "../support/console_process.ts";
import { Labswitch } from "../support/labswitch.ts";
import { RawClient } from "../support/raw_client.ts";
import { introduce, SteadyFlow } from "../support/steady_flow.ts";
import { TestGuest } from "../support/test_guest.ts";
import { NOTHING } from "../support/vhost_messages.ts";

const PORTS = ["a", "b", "c", "d", "e"];
const TOPOLOGY = `version: 1
ports:
${PORTS.map((name) => `  ${name}: { type: vhost-user, socket: ${name}.sock }\n`).join("")}`;
const PROGRAM = fileURLToPath(new URL("../../mod.ts", import.meta.url));
const SIGNALS = ["SIGTERM", "SIGINT"] as const;
/** What a shell shows of a program that a signal ended: 128 and the signal's number. */
const ENDED_BY: Readonly<Record<string, number>> = { SIGTERM: 143, SIGINT: 130 };
/** Starts that are interrupted, each a little later than the one before. */
const STARTS = 16;
/** Starts that are interrupted as soon as the first socket is there. */
const HALF_OPEN_STARTS = 4;
/** How long after its usual moment of readiness a start is interrupted at last. */
const LAST_DELAY = 1.5;
/** How often a folder is looked at. */
const LOOK_MS = 1;
const READY_MS = 20_000;
/** It takes a few hundredths of a second. A busy machine needs more, but no timeout of ours may pass. */
const STOP_LIMIT_MS = 4000;

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-stop-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function socketsIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => /sock/.test(name));
}

/** Starts a switch, interrupts it at some moment, and looks at what it leaves; returns its exit code. */
async function interrupt(
  folder: string,
  signal: typeof SIGNALS[number],
  moment: (child: ConsoleProcess) => Promise<void>,
): Promise<number> {
  const file = join(folder, "topology.yaml");
  await using child = new ConsoleProcess(Deno.execPath(), [
    ...["run", "--allow-all", PROGRAM, "run", file],
  ]);
  await moment(child);
  const wasListening = socketsIn(folder).length > 0;
  const start = performance.now();
  Deno.kill(child.pid, signal);
  const code = await child.awaitEnd();
  const ms = performance.now() - start;
  ok(ms < STOP_LIMIT_MS, `it took ${ms} ms`);
  // Before it listens to signals it has made nothing, and ends like any program.
  ok(code === 0 || (!wasListening && code === ENDED_BY[signal]), `${code}: ${child.output}`);
  strictEqual(socketsIn(folder).length, 0);
  return code;
}

Deno.test("Switch that is stopped while it starts leaves nothing behind (X31)", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "topology.yaml"), TOPOLOGY);
    const began = performance.now();
    const isReady = (output: string) => /^ready/m.test(output) || undefined;
    strictEqual(
      await interrupt(folder, "SIGTERM", async (child) => {
        await child.awaitOutput("ready", isReady, READY_MS);
      }),
      0,
    );
    const usualMs = performance.now() - began;
    const codes = new Set<number>();
    for (let i = 0; i < STARTS; i++) {
      const waitMs = i / (STARTS - 1) * LAST_DELAY * usualMs;
      codes.add(await interrupt(folder, SIGNALS[i % 2]!, () => delay(waitMs)));
    }
    console.log(`interrupted ${STARTS} starts, exit codes ${[...codes]}`);
  }));

Deno.test("Switch that is stopped while it opens its ports closes them again (X31)", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "topology.yaml"), TOPOLOGY);
    for (let i = 0; i < HALF_OPEN_STARTS; i++) {
      const code = await interrupt(folder, SIGNALS[i % 2]!, async () => {
        while (socketsIn(folder).length === 0) await delay(LOOK_MS);
      });
      strictEqual(code, 0);
    }
  }));

for (const signals of [["SIGTERM"], ["SIGINT"], ["SIGINT", "SIGTERM", "SIGINT"]] as const) {
  Deno.test(`Switch ends at once on ${signals.join(" and ")} whatever its ports are doing (X31)`, () =>
    inFolder(async (folder) => {
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
      using stack = new DisposableStack();
      const attach = async (name: string) => {
        const guest = await TestGuest.attach(lab.port(name).socket);
        stack.defer(() => guest.vanish());
        return guest;
      };
      const [a, b] = [await attach("a"), await attach("b")];
      await introduce([a, b]);
      const busy = await busyPeers(lab, stack);
      const flow = new SteadyFlow(a, b, [1, 2]);
      flow.begin();
      while (flow.frames < 100) await delay(1);
      const start = performance.now();
      for (const signal of signals) Deno.kill(lab.pid, signal);
      await lab.awaitEnd(0);
      const ms = performance.now() - start;
      for (const peer of [a, b, ...busy]) await peer.end();
      await flow.abort();
      strictEqual(socketsIn(folder).length, 0);
      match(lab.output, /^ {2}a +up +\d+/m);
      console.log(`stopped under traffic: ${ms.toFixed(0)} ms`);
      ok(ms < STOP_LIMIT_MS, `it took ${ms} ms`);
    }));
}

/** One peer in the middle of a message, one that has only connected, one that reads no replies. */
async function busyPeers(lab: Labswitch, stack: DisposableStack): Promise<RawClient[]> {
  const connect = async (name: string) => stack.use(await RawClient.connect(lab.port(name).socket));
  const midMessage = await connect("c");
  const message = encode(Request.GET_FEATURES, 0, NOTHING);
  await midMessage.send(message.subarray(0, 5));
  const silent = await connect("d");
  const crowd = await connect("e");
  await crowd.fill(message);
  return [midMessage, silent, crowd];
}
