import { deepStrictEqual, throws } from "node:assert/strict";
import { parseWorkerStatistics } from "../../bench/systems.ts";

Deno.test("parseWorkerStatistics reads each Worker", () => {
  const worker = { polls: 100, busyPolls: 7, busyNs: 9_000, frames: 32 };
  deepStrictEqual(parseWorkerStatistics(JSON.stringify({ workers: [worker, worker] })), [
    worker,
    worker,
  ]);
});

Deno.test("parseWorkerStatistics refuses another shape", () => {
  throws(() => parseWorkerStatistics("{}"), /no array workers/);
  throws(() => parseWorkerStatistics(`{"workers":[{"polls":1}]}`), /busyPolls is undefined/);
});
