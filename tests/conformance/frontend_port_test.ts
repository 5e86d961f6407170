/**
 * A port that leads to another back-end: here to a port of the same switch, on another bridge.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { ringAt, ringNumber } from "../../src/dataplane/state.ts";
import { FAULT_CHAIN, RING_FAULT } from "../../src/dataplane/state_layout.ts";
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

const PATCHED: TestLabOptions = {
  ports: ["a", "c"],
  more: {
    bridges: "{ far: {} }",
    ports: [
      "p1: { type: patch, peer: p2 }",
      "p2: { type: patch, peer: p1, bridge: far }",
      "b: { type: vhost-user, socket: b.sock, bridge: far }",
    ],
  },
};

Deno.test("Patch ports join two bridges, and come up with the switch", async () => {
  await using lab = await TestLab.open(PATCHED);
  const isUp = () => ["p1", "p2"].every((port) => lab.report(port).state === "up") || null;
  await eventually("both ends are up", isUp);
  await lab.exchange("a", "b");
  await lab.exchange("a", "c");
  deepStrictEqual(lab.events.filter(({ port }) => port.startsWith("p")), []);
});

Deno.test("Patch ports meet again when one end gave the other up", async () => {
  await using lab = await TestLab.open(PATCHED);
  const isUp = () => ["p1", "p2"].every((port) => lab.report(port).state === "up") || null;
  await eventually("both ends are up", isUp);
  // A ring of the front-end's end is found to be broken.
  const p2 = ringNumber(3, 0);
  lab.state.store32(ringAt(p2) + RING_FAULT, FAULT_CHAIN);
  const isBroken = () => lab.report("p2").counters.closedConnections === 1 || null;
  await eventually("the front-end's end leaves", isBroken);
  await eventually("both ends are up again", isUp);
  await lab.exchange("a", "b");
});
