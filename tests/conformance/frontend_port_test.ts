/**
 * A port that leads to another back-end: here to a port of the same switch, on another bridge.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { TestLab, type TestLabOptions } from "../support/test_lab.ts";

const JOINED: TestLabOptions = {
  ports: ["a", "c"],
  more: {
    bridges: "{ far: {} }",
    ports: [
      "up: { type: vhost-user-frontend, socket: down.sock }",
      "down: { type: vhost-user, socket: down.sock, bridge: far }",
      "b: { type: vhost-user, socket: b.sock, bridge: far }",
    ],
  },
};

async function isJoined(lab: TestLab): Promise<void> {
  const isUp = () => ["up", "down"].every((port) => lab.report(port).state === "up") || null;
  await eventually("both ends are up", isUp);
}

Deno.test("FrontendPort joins two bridges through a back-end's socket", async () => {
  await using lab = await TestLab.open(JOINED);
  await isJoined(lab);
  await lab.exchange("a", "b");
  await lab.exchange("a", "c");
  const { counters } = lab.report("up");
  ok(counters.receivedFrames > 0 && counters.transmittedFrames > 0);
  deepStrictEqual(Object.values(counters.drops).filter((count) => count > 0), []);
  strictEqual(counters.ringFaults, 0);
});
