/**
 * The time of day jumps by days in both directions while a switch runs: what it has learned and what
 * it waits for goes by the clock that never jumps.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { connectUnix } from "../../ffi/unix_socket.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { findProgram } from "../support/console_process.ts";
import { Labswitch } from "../support/labswitch.ts";
import { RawClient } from "../support/raw_client.ts";
import { COMPILER, ShiftedClock } from "../support/shifted_clock.ts";
import { introduce, SteadyFlow } from "../support/steady_flow.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testWith } from "../support/test_with.ts";
import { NOTHING } from "../support/vhost_messages.ts";

const TOPOLOGY = `version: 1
bridges: { br0: { ageing-time: 1h } }
ports:
  a: { type: vhost-user, socket: a.sock }
  b: { type: vhost-user, socket: b.sock }
  c: { type: vhost-user, socket: c.sock }
  d: { type: vhost-user, socket: d.sock }
`;
const DAY_S = 86_400;
/** Longer than the switch's own clock takes to move on, several times. */
const SETTLE_MS = 600;
/** A message must be finished within 5 s of its first byte. */
const DEADLINE_MS = 5000;
const END_MS = 20_000;
const FRAMES = 100;

const noCompiler = () => findProgram(COMPILER) === undefined ? "a C compiler" : undefined;

testWith(
  noCompiler,
  "Switch keeps addresses and deadlines when its clock jumps (X26, L17)",
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-clock-" });
    try {
      const clock = await ShiftedClock.create(folder);
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, env: clock.env });
      const path = (name: string) => lab.port(name).socket;
      {
        await using a = await TestGuest.attach(path("a"));
        await using b = await TestGuest.attach(path("b"));
        await using c = await TestGuest.attach(path("c"));
        await introduce([a, b, c]);
        const flow = new SteadyFlow(a, b, [1, 2]);
        using midMessage = await RawClient.connect(path("d"));
        const began = performance.now();
        await midMessage.send(encode(Request.GET_FEATURES, 0, NOTHING).subarray(0, 5));
        for (const seconds of [2 * DAY_S, -2 * DAY_S, 0]) {
          await clock.set(seconds);
          await delay(SETTLE_MS);
          await expectTimeOfDay(lab, seconds);
          for (let i = 0; i < FRAMES; i++) await flow.pass();
          // Flooded frames, those to forgotten addresses, would have come here as well.
          strictEqual(c.tryReceive(), null);
          const isCut = / d {2}disconnected/.test(lab.output);
          ok(!isCut || performance.now() - began >= DEADLINE_MS, lab.output);
        }
        await midMessage.end(END_MS);
        const ms = performance.now() - began;
        ok(ms >= DEADLINE_MS, `the deadline came after ${ms} ms`);
        await lab.awaitLine(/ d {2}disconnected {2}a message was begun but not finished in time/);
      }
      await lab.stop();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

/** Makes the switch write a line, refusing a second front-end, and looks at its time stamp. */
async function expectTimeOfDay(lab: Labswitch, shiftS: number): Promise<void> {
  const from = lab.output.length;
  connectUnix(lab.port("a").socket).close();
  await lab.awaitLine(/ a {2}refused/, from);
  const stamp = /^(\S+) a {2}refused/m.exec(lab.output.slice(from))![1]!;
  const seen = (Date.parse(stamp) - Date.now()) / 1000;
  ok(Math.abs(seen - shiftS) < DAY_S / 2, `${stamp} is ${seen} s from now, want ${shiftS}`);
}
