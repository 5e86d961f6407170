/**
 * A front-end in a process of its own that sends as fast as it can until it is killed. Its frames are
 * for itself, so that nobody else is bothered.
 *
 *     sending_frontend.ts SOCKET STATION
 *
 * It prints `sending` when its frames flow.
 *
 * @module
 */
import { Nic } from "../../src/host/nic.ts";
import { makeFrame, stationAddress } from "./frames.ts";

/** Frames before it says so. */
const FIRST_FRAMES = 1000;

const [path, station] = Deno.args;
using nic = Nic.connect(path!);
const address = stationAddress(Number(station));
const frame = makeFrame(address, address);
for (let sent = 0;;) {
  const before = sent;
  while (nic.send(frame)) sent++;
  nic.flush();
  if (before < FIRST_FRAMES && sent >= FIRST_FRAMES) console.log("sending");
}
