/**
 * The hub: a guest that sends every frame for it back to where it came from, and floods the bridge
 * with broadcasts now and then. Beside it a guest that is silent and never looks at what it gets.
 *
 * @module
 */
import { parseMac } from "../../src/ethernet/frame.ts";
import { Nic } from "../../src/host/nic.ts";
import { BROADCAST, makeFrame } from "../support/frames.ts";
import { HUB } from "./addresses.ts";
import type { Board } from "./board.ts";
import { serveLoad } from "./load_scope.ts";

/** From one flood to the next. */
const FLOOD_EVERY_MS = 3000;
/** A flood: so many batches of so many frames, a moment apart. */
const BATCHES = 8;
const BATCH = 32;
const BATCH_PACE_MS = 1;
const FLOOD_FRAME_BYTES = 200;
/** How long the hub sleeps when nobody wants anything. */
const WAIT_MS = 20;
const ADDRESS_BYTES = 6;
const HUB_BYTES = parseMac(HUB);

serveLoad(({ board, sockets, ready }) => {
  using hub = Nic.connect(sockets[0]!);
  using _silent = Nic.connect(sockets[1]!);
  ready();
  play(board, hub);
  return {};
});

function play(board: Board, hub: Nic): void {
  let nextFlood = performance.now() + FLOOD_EVERY_MS;
  while (!board.isStopped) {
    echo(board, hub);
    hub.wait(WAIT_MS);
    if (performance.now() < nextFlood) continue;
    nextFlood = performance.now() + FLOOD_EVERY_MS;
    flood(board, hub);
  }
}

function flood(board: Board, hub: Nic): void {
  const frame = makeFrame(BROADCAST, HUB, FLOOD_FRAME_BYTES);
  for (let batch = 0; batch < BATCHES; batch++) {
    for (let i = 0; i < BATCH; i++) if (hub.send(frame)) board.add("floods");
    hub.flush();
    board.pause(BATCH_PACE_MS);
    echo(board, hub);
  }
}

function echo(board: Board, hub: Nic): void {
  const frames = hub.poll((frame) => {
    if (!isForHub(frame)) return;
    const answer = frame.slice();
    answer.set(frame.subarray(ADDRESS_BYTES, 2 * ADDRESS_BYTES), 0);
    answer.set(frame.subarray(0, ADDRESS_BYTES), ADDRESS_BYTES);
    if (hub.send(answer)) board.add("echoes");
  });
  if (frames > 0) hub.flush();
}

function isForHub(frame: Uint8Array): boolean {
  return HUB_BYTES.every((byte, i) => frame[i] === byte);
}
