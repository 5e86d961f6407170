import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { callSlowly } from "../../../ffi/slow_calls.ts";
import { nextTurn } from "../../support/eventually.ts";

/** More than run at a time. */
const MANY = 40;
/** What Deno's pool has; some must be left for others. */
const POOL_THREADS = 32;

Deno.test("callSlowly returns what the call returns, and passes its failure on", async () => {
  strictEqual(await callSlowly(() => Promise.resolve(7)), 7);
  await rejects(callSlowly(() => Promise.reject(new Error("no"))), /no/);
});

Deno.test("callSlowly runs some calls at a time and the others in their order", async () => {
  const calls = Array.from({ length: MANY }, () => Promise.withResolvers<void>());
  const started: number[] = [];
  const all = calls.map(({ promise }, i) =>
    callSlowly(() => {
      started.push(i);
      return promise;
    })
  );
  await nextTurn();
  const atOnce = started.length;
  ok(atOnce >= 1 && atOnce <= POOL_THREADS / 2, `${atOnce} at once`);
  calls[3]!.resolve();
  await all[3];
  await nextTurn();
  strictEqual(started.length, atOnce + 1);
  // A failure gives its place back, too.
  const failure = rejects(all[5]!, /no/);
  calls[5]!.reject(new Error("no"));
  await failure;
  await nextTurn();
  strictEqual(started.length, atOnce + 2);
  for (const { resolve } of calls) resolve();
  await Promise.allSettled(all);
  deepStrictEqual(started, Array.from({ length: MANY }, (_, i) => i));
  // All places are free again.
  strictEqual(await callSlowly(() => Promise.resolve(1)), 1);
});
