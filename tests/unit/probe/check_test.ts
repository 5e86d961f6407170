import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { type Check, runCheck, type Target } from "../../../src/probe/check.ts";
import { CHECKS } from "../../../src/probe/checks/all.ts";
import {
  Deviation,
  HungUp,
  isClean,
  NoAnswer,
  NotOffered,
  Unreachable,
} from "../../../src/probe/verdict.ts";
import { UsedRingError } from "../../../src/virtio/driver_virtqueue.ts";
import { ProtocolError } from "../../../src/vhost_user/errors.ts";

const NOBODY: Target = { open: () => Promise.reject(new Unreachable("nobody is there")) };

async function verdictOf(run: Check["run"]): Promise<[verdict: string, detail: string]> {
  const { verdict, detail } = await runCheck({ id: "i", title: "t", clause: "c", run }, NOBODY);
  return [verdict, detail];
}

Deno.test("runCheck has a verdict for every way in which a check can end", async () => {
  const throwing = (error: Error) => verdictOf(() => Promise.reject(error));
  deepStrictEqual(await verdictOf(() => Promise.resolve("seen")), ["ok", "seen"]);
  deepStrictEqual(await throwing(new Deviation("no")), ["deviates", "no"]);
  deepStrictEqual(await throwing(new HungUp("X")), ["deviates", "it hung up at X"]);
  deepStrictEqual(await throwing(new ProtocolError("no")), ["deviates", "no"]);
  deepStrictEqual(await throwing(new UsedRingError("no")), ["deviates", "no"]);
  deepStrictEqual(await throwing(new NotOffered("no")), ["not offered", "no"]);
  deepStrictEqual(await throwing(new NoAnswer("X", 5)), ["no answer", "no answer to X in 5 ms"]);
  deepStrictEqual(await verdictOf(async (target) => (await target.open(), "seen")), [
    "no answer",
    "nobody is there",
  ]);
});

Deno.test("runCheck throws what is not about the back-end", async () => {
  await rejects(verdictOf(() => Promise.reject(new TypeError("a slip"))), TypeError);
});

Deno.test("isClean wants nothing that deviates and no silence", () => {
  const clean = (...verdicts: ("ok" | "deviates" | "not offered" | "no answer")[]) =>
    isClean(verdicts.map((verdict) => ({ verdict })));
  deepStrictEqual([clean(), clean("ok", "not offered")], [true, true]);
  deepStrictEqual([clean("ok", "deviates"), clean("ok", "no answer")], [false, false]);
});

Deno.test("CHECKS has a different id and title for each check, and a clause", () => {
  strictEqual(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  strictEqual(new Set(CHECKS.map(({ title }) => title)).size, CHECKS.length);
  for (const { clause } of CHECKS) strictEqual(/^(vhost-user, |VIRTIO 1\.2, )/.test(clause), true);
});
