/**
 * The clock on the wall is set forward and back by a day (L17): addresses age by a clock that nobody
 * sets.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { CLOCK_SECONDS } from "../../src/dataplane/state_layout.ts";
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab } from "../support/test_lab.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const SOURCES = new URL("../../src/", import.meta.url);
/** Everything that tells the time of day. */
const WALL_CLOCK = /\bDate\b|\bTemporal\b|performance\.timeOrigin/;

/** Runs `body` while the wall clock is wrong. */
async function withClockSetBy(offsetMs: number, body: () => Promise<void>): Promise<void> {
  const { now } = Date;
  Date.now = () => now() + offsetMs;
  try {
    await body();
  } finally {
    Date.now = now;
  }
}

for (const [what, offset] of [["forward", DAY_MS], ["back", -DAY_MS]] as const) {
  Deno.test(`Switch forgets no address when the clock is set ${what} by a day (L17)`, async () => {
    await using lab = await TestLab.open();
    await using one = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    await using third = await TestGuest.attach(lab.path("c"));
    other.send(makeFrame(BROADCAST, stationAddress(2)));
    for (const guest of [one, third]) await guest.receive();
    const before = lab.state.load32(CLOCK_SECONDS);
    const start = performance.now();
    await withClockSetBy(offset, async () => {
      // The switch's clock goes on, and no faster.
      await eventually("the next second", () => lab.state.load32(CLOCK_SECONDS) > before || null);
      const frame = makeFrame(stationAddress(2), stationAddress(1));
      one.send(frame);
      deepStrictEqual(await other.receive(), frame);
    });
    const seconds = lab.state.load32(CLOCK_SECONDS) - before;
    ok(seconds <= 1 + (performance.now() - start) / 1000, `${seconds} seconds have passed`);
    // An address that is not known any more is flooded to.
    strictEqual(lab.report("a").counters.flooded, 0);
    strictEqual(lab.report("c").counters.transmittedFrames, 1);
  });
}

Deno.test("No source of the switch looks at the time of day (L17)", async () => {
  const found: string[] = [];
  for await (const path of filesIn(SOURCES)) {
    if (!path.pathname.endsWith(".ts") || path.pathname.includes("/cli/")) continue;
    const lines = (await Deno.readTextFile(path)).split("\n");
    lines.forEach((line, i) => {
      if (WALL_CLOCK.test(line)) found.push(`${path.pathname}:${i + 1}`);
    });
  }
  deepStrictEqual(found, []);
});

async function* filesIn(folder: URL): AsyncGenerator<URL> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) yield* filesIn(new URL(`${name}/`, folder));
    else yield new URL(name, folder);
  }
}
