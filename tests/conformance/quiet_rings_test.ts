/**
 * Rings that have been silent for long are looked at less often while others are busy, and are not
 * forgotten.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";

const PORTS = 20;
/** Turns of a busy loop after which every quiet ring has had its look, and more than that. */
const TURNS = 64;

Deno.test("PollLoop finds a quiet ring's frame within a few turns of a busy one", async () => {
  const sim = await SwitchSim.create(Array.from({ length: PORTS }, () => ({})));
  const [busy, receiver] = [sim.guests[0]!, sim.guests[1]!];
  const frame = makeFrame(stationAddress(1), stationAddress(0));
  receiver.send(makeFrame(stationAddress(0), stationAddress(1)));
  sim.settle();
  const turn = () => {
    busy.send(frame);
    sim.turn();
    busy.takeSent();
    receiver.receive();
  };
  for (let i = 0; i < 1000; i++) turn();
  for (let port = 2; port < PORTS; port++) {
    const quiet = sim.guests[port]!;
    quiet.send(makeFrame(stationAddress(1), stationAddress(port)));
    let turns = 0;
    for (; quiet.takeSent().length === 0; turns++) {
      ok(turns < TURNS, `port ${port} waited for ${turns} turns`);
      turn();
    }
  }
  strictEqual(sim.counters(2).receivedFrames, 1);
});
