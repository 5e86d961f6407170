/**
 * The bench comes to a switch and leaves it; nothing is sent.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import type { BenchOrder } from "../../src/bench/order.ts";
import { runBench } from "../../src/bench/thread.ts";
import { TestLab } from "../support/test_lab.ts";

for (const isPacked of [false, true]) {
  Deno.test(`bench leaves its ports to the next front-end, ${isPacked ? "packed" : "split"} rings`, async () => {
    await using lab = await TestLab.open({ ports: ["a", "b"] });
    const order: BenchOrder = {
      ...{ sockets: [lab.path("a"), lab.path("b")], ring: { size: 256, isPacked }, runs: [] },
      stop: new SharedArrayBuffer(4),
    };
    for (let i = 0; i < 3; i++) {
      await runBench(order, () => {});
      for (const port of ["a", "b"]) await lab.idle(port);
    }
    const { ringFaults, refusedRequests } = lab.report("a").counters;
    deepStrictEqual([ringFaults, refusedRequests], [0, 0]);
  });
}
