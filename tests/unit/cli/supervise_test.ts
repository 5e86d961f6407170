import { strictEqual } from "node:assert/strict";
import { deathLine, isFinal } from "../../../src/cli/supervise.ts";

const crash = { code: 70, signal: null };
const killed = { code: 137, signal: "SIGKILL" };

Deno.test("isFinal lets a switch end that ended as it should", () => {
  for (const isFirst of [true, false]) {
    strictEqual(isFinal({ code: 0, signal: null }, isFirst), true);
  }
});

Deno.test("isFinal lets a user's mistake end the first start only", () => {
  for (const code of [69, 2, 3]) {
    strictEqual(isFinal({ code, signal: null }, true), true);
    strictEqual(isFinal({ code, signal: null }, false), false);
  }
});

Deno.test("isFinal never accepts a crash or a signal", () => {
  const panic = { code: 1, signal: null };
  const signalWithoutCode = { code: 0, signal: "SIGKILL" };
  for (const end of [crash, panic, killed, signalWithoutCode]) {
    for (const isFirst of [true, false]) strictEqual(isFinal(end, isFirst), false);
  }
});

Deno.test("deathLine says what happened, after how long, and what follows", () => {
  strictEqual(
    deathLine(killed, 61_250, 0),
    "supervisor  the switch died  SIGKILL after 61.3 s; it starts again at once",
  );
  strictEqual(
    deathLine(crash, 40, 200),
    "supervisor  the switch died  exit code 70 after 0.0 s; it starts again in 200 ms",
  );
});

Deno.test("deathLine names the usual reason of a SIGBUS", () => {
  strictEqual(
    deathLine({ code: 135, signal: "SIGBUS" }, 1000, 0),
    "supervisor  the switch died  SIGBUS after 1.0 s; a front-end may have shortened its memory file; " +
      "it starts again at once",
  );
});
