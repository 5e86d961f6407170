import { deepStrictEqual, doesNotThrow, notDeepStrictEqual, ok, throws } from "node:assert/strict";
import { HEADER } from "../../../src/vhost_user/layouts.ts";
import { REQUESTS } from "../../../src/vhost_user/requests.ts";
import { Finding } from "../../fuzz/conversation/finding.ts";
import { formatFixture, parseFixture } from "../../fuzz/conversation/fixture.ts";
import { ConversationMaker } from "../../fuzz/conversation/generator.ts";
import { LogWatch } from "../../fuzz/conversation/log_watch.ts";
import { ODD_DESCRIPTORS, type SendStep, type Step } from "../../fuzz/conversation/plan.ts";

const SEED = 7;
const MANY = 2000;

function sends(steps: readonly Step[]): SendStep[] {
  return steps.filter((step) => step.kind === "send");
}

function watchLog(): LogWatch {
  const watch = new LogWatch(["a"]);
  watch.feed("labswitch 0.1.0\nready in 1 ms\n");
  return watch;
}

Deno.test("ConversationMaker draws the same conversation for the same numbers", () => {
  const [one, other] = [new ConversationMaker(), new ConversationMaker()];
  one.draw(SEED, 4);
  deepStrictEqual(one.draw(SEED, 5), other.draw(SEED, 5));
  notDeepStrictEqual(one.draw(SEED, 5), other.draw(SEED, 6));
  notDeepStrictEqual(one.draw(SEED, 5), other.draw(SEED + 1, 5));
});

Deno.test("ConversationMaker uses every request, odd descriptor and kind of step", () => {
  const maker = new ConversationMaker();
  const [requests, descriptors, kinds] = [new Set(), new Set(), new Set()];
  for (let number = 0; number < MANY; number++) {
    const { steps } = maker.draw(SEED, number);
    for (const { kind } of steps) kinds.add(kind);
    for (const { data, fds } of sends(steps)) {
      for (const name of fds) descriptors.add(name);
      if (data.length < HEADER.size) continue;
      requests.add(HEADER.read(new DataView(data.buffer)).request);
    }
  }
  for (const [number, { name }] of Object.entries(REQUESTS)) ok(requests.has(Number(number)), name);
  for (const name of [...ODD_DESCRIPTORS, "memory", "itself"]) ok(descriptors.has(name), name);
  const all = ["send", "sync", "kick", "poke", "rest", "intrude", "reconnect"];
  for (const kind of all) ok(kinds.has(kind), kind);
});

Deno.test("ConversationMaker never cuts a message outside of its bytes", () => {
  const maker = new ConversationMaker();
  for (let number = 0; number < MANY; number++) {
    for (const { data, cuts, fdsWith } of sends(maker.draw(SEED, number).steps)) {
      deepStrictEqual(cuts, cuts.toSorted((a, b) => a - b));
      ok(cuts.every((cut) => cut >= 0 && cut <= data.length));
      ok(fdsWith <= cuts.length);
    }
  }
});

Deno.test("formatFixture and parseFixture keep a conversation word by word", () => {
  const maker = new ConversationMaker();
  const conversations = [3, 4].map((number) => ({
    number,
    conversation: maker.draw(SEED, number),
  }));
  const fixture = { showed: "something", conversations };
  deepStrictEqual(parseFixture(formatFixture(fixture)), fixture);
});

Deno.test("LogWatch accepts lines about ports, cut anywhere", () => {
  const watch = watchLog();
  watch.feed("2026-01-01T00:00:00.000Z a  conn");
  watch.feed("ected  deno (pid 1)\n2026-01-01T00:00:00.000Z a  disconnected\n");
  doesNotThrow(() => watch.check());
  deepStrictEqual([watch.lines, watch.kinds], [2, 2]);
});

for (
  const line of [
    "    at Backend.handle (backend.ts:1:1)",
    "error: Uncaught (in promise) TypeError: x is not a function",
    "2026-01-01T00:00:00.000Z worker 0  replaced  it failed",
    "2026-01-01T00:00:00.000Z a  disconnected  Cannot read properties of undefined",
    "2026-01-01T00:00:00.000Z b  disconnected",
  ]
) {
  Deno.test(`LogWatch reports the line: ${line.trim()}`, () => {
    const watch = watchLog();
    watch.feed(`${line}\n`);
    throws(() => watch.check(), Finding);
  });
}

Deno.test("LogWatch reports a port that goes on talking (F99)", () => {
  const watch = watchLog();
  const line = "2026-01-01T00:00:00.000Z a  down  the guest stopped its queues\n";
  watch.feed(line.repeat(100));
  doesNotThrow(() => watch.check());
  watch.feed(line.repeat(20));
  throws(() => watch.check(), Finding);
  doesNotThrow(() => watch.check(performance.now() + 10_000));
});
