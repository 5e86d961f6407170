/**
 * Front-ends are killed, again and again, in the middle of their traffic. Guests beside them lose no
 * frame, and the switch gives back everything that the dead ones had brought.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { exchange } from "../support/exchange.ts";
import { startFrontend } from "../support/frontend_process.ts";
import { Labswitch } from "../support/labswitch.ts";
import { countDescriptors, countMappings, residentBytes } from "../support/leaks.ts";
import { introduce, numbered, SteadyFlow } from "../support/steady_flow.ts";
import { TestGuest } from "../support/test_guest.ts";

const TOPOLOGY = `version: 1
ports:
  victim: { type: vhost-user, socket: victim.sock }
  sink: { type: vhost-user, socket: sink.sock }
  c: { type: vhost-user, socket: c.sock }
  d: { type: vhost-user, socket: d.sock }
`;
/** The guests' memory files; a dead one's must not stay mapped. */
const MEMFD = "labswitch-test-guest";
const [SINK, C, D, VICTIM] = [1, 2, 3, 4] as const;
/** Processes that are killed. */
const KILLS = 5;
/** The promise is one second. No timeout of ours is that short, so a busy machine may take a little more. */
const NOTICE_LIMIT_MS = 3000;
/** Front-ends whose connection breaks off, which is all that the switch sees of a kill. */
const BREAKS = 1000;
/** Breaks before the first measurement: code is compiled and pools are filled by then. */
const WARM_UP_BREAKS = 600;
/** A leak of one page per break would be 3.9 MiB; measured are up to 1.5 MiB either way. */
const TOLERANCE_BYTES = 3.5 * 2 ** 20;
/** Without room for 32 MiB of garbage, which V8 fills before it collects, growth is seen early. */
const SMALL_NURSERY = { DENO_V8_FLAGS: "--max-semi-space-size=1" };

/** A switch with a steady flow from `c` to `d`, and a guest on `sink` that takes nothing. */
interface Stage {
  readonly lab: Labswitch;
  readonly victim: string;
  /** How many guests have their memory mapped. */
  readonly mappings: number;
}

function testBeside(name: string, test: (stage: Stage) => Promise<void>): void {
  Deno.test(name, async () => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-frontends-" });
    try {
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, env: SMALL_NURSERY });
      const attach = (port: string) => TestGuest.attach(lab.port(port).socket);
      const victim = lab.port("victim").socket;
      {
        await using sink = await attach("sink");
        await using c = await attach("c");
        await using d = await attach("d");
        await introduce([sink, c, d]);
        const flow = new SteadyFlow(c, d, [C, D]);
        flow.begin();
        await test({ lab, victim, mappings: countMappings(lab.pid, MEMFD) });
        await flow.end();
        console.log(
          `${flow.frames} frames beside it, none lost, ${flow.longestMs.toFixed(0)} ms at most`,
        );
        ok(flow.frames > 0);
      }
      await exchange(victim, lab.port("c").socket);
      await lab.stop();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

testBeside(
  "Switch frees the port of a front-end that was killed in full traffic (X01)",
  async (stage) => {
    const { lab, victim, mappings } = stage;
    const descriptors = countDescriptors(lab.pid);
    let longest = 0;
    for (let i = 0; i < KILLS; i++) {
      await using frontend = await startFrontend(victim, VICTIM, SINK);
      strictEqual(countMappings(lab.pid, MEMFD), mappings + 1);
      const from = lab.output.length;
      const start = performance.now();
      Deno.kill(frontend.pid, "SIGKILL");
      await lab.awaitLine(/ victim {2}disconnected$/m, from);
      longest = Math.max(longest, performance.now() - start);
      await closedAllBut(lab.pid, descriptors);
      strictEqual(countMappings(lab.pid, MEMFD), mappings);
    }
    console.log(`noticed a killed front-end after ${longest.toFixed(1)} ms at most`);
    ok(longest < NOTICE_LIMIT_MS, `it took ${longest} ms`);
  },
);

testBeside(
  "Switch is as it was after 1000 front-ends were killed in their traffic (X02)",
  async (stage) => {
    const { lab, victim, mappings } = stage;
    const descriptors = countDescriptors(lab.pid);
    for (let i = 0; i < WARM_UP_BREAKS; i++) await breakOff(victim);
    await idle(stage);
    const resident = residentBytes(lab.pid);
    for (let i = 0; i < BREAKS; i++) await breakOff(victim);
    await idle(stage);
    await closedAllBut(lab.pid, descriptors);
    strictEqual(countMappings(lab.pid, MEMFD), mappings);
    const grown = residentBytes(lab.pid) - resident;
    console.log(
      `${BREAKS} front-ends later the switch has ${(grown / 2 ** 20).toFixed(1)} MiB more`,
    );
    ok(grown < TOLERANCE_BYTES, `the switch has grown by ${grown} bytes`);
  },
);

/** A front-end that is gone while its frames are under way. */
async function breakOff(path: string): Promise<void> {
  const guest = await TestGuest.attach(path);
  for (let number = 0; number < 4; number++) guest.send(numbered(SINK, VICTIM, number));
  guest.vanish();
}

/** Waits until the last front-end of the port is noticed to be gone. */
async function idle({ lab, mappings }: Stage): Promise<void> {
  await eventually("a free port", () => countMappings(lab.pid, MEMFD) === mappings || null);
}

/**
 * Waits until a process has so many descriptors. What a peer gave is closed on the runtime's thread
 * pool, a moment after its port is free, when it left while an answer was worked out.
 */
async function closedAllBut(pid: number, descriptors: number): Promise<void> {
  await eventually("closed descriptors", () => countDescriptors(pid) === descriptors || null);
}
