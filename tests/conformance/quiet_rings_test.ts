/**
 * Rings that have long been silent while others are busy are left alone until their guest kicks, and
 * are not forgotten.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { ringNumber, workerAt } from "../../src/dataplane/state.ts";
import { BURST, W_POLLS } from "../../src/dataplane/state_layout.ts";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import { eventually } from "../support/eventually.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { GivenKicks } from "../support/kicks.ts";

const PORTS = 20;
/** Busy turns after which silent rings are left alone, and more than that. */
const TURNS_TO_QUIET = 5000;
/** A whole number of the turns between two writes of the statistics. */
const COUNTED_TURNS = 8 * 1024;

/** A switch with one busy guest; all the others are silent. */
class Lab {
  private constructor(readonly sim: SwitchSim, readonly kicks: GivenKicks) {}

  static async create(features = featureSet(VIRTIO_F_VERSION_1)): Promise<Lab> {
    const kicks = new GivenKicks();
    const guests = Array.from({ length: PORTS }, () => ({ features }));
    const lab = new Lab(await SwitchSim.create(guests, { kicks }), kicks);
    lab.guest(1).send(makeFrame(stationAddress(0), stationAddress(1)));
    lab.sim.settle();
    for (let i = 0; i < TURNS_TO_QUIET; i++) lab.turn(1);
    return lab;
  }

  guest(port: number): GuestSim {
    return this.sim.guests[port]!;
  }

  /** A turn in which the busy guest has sent so much. */
  turn(frames: number): void {
    const [busy, receiver] = [this.guest(0), this.guest(1)];
    for (let i = 0; i < frames; i++) busy.send(makeFrame(stationAddress(1), stationAddress(0)));
    this.sim.turn();
    busy.takeSent();
    receiver.receive();
  }

  /** Sends a frame; returns whether the guest has to kick. */
  send(port: number): boolean {
    return this.guest(port).send(makeFrame(stationAddress(1), stationAddress(port)));
  }

  /** Busy turns until a guest's frame was taken; returns how often kicks were looked for. */
  async untilServed(port: number): Promise<number> {
    const before = this.kicks.waits;
    await eventually(`the frame of port ${port}`, () => {
      this.turn(BURST);
      return this.guest(port).takeSent().length > 0 || null;
    });
    return this.kicks.waits - before;
  }
}

for (
  const [name, ...features] of [
    ["split"],
    ["split, event index", VIRTIO_F_EVENT_IDX],
    ["packed", VIRTIO_F_RING_PACKED],
    ["packed, event index", VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX],
  ] as const
) {
  Deno.test(`PollLoop asks for kicks of a quiet ring and serves it on one (${name})`, async () => {
    const lab = await Lab.create(featureSet(VIRTIO_F_VERSION_1, ...features));
    for (let port = 2; port < PORTS; port++) {
      strictEqual(lab.send(port), true);
      lab.kicks.pending.push(ringNumber(port, 1));
      strictEqual(await lab.untilServed(port), 1);
      strictEqual(lab.send(port), false);
      strictEqual(await lab.untilServed(port), 0);
    }
  });
}

Deno.test("PollLoop leaves quiet rings alone while others are busy", async () => {
  const lab = await Lab.create();
  const polls = () => lab.sim.state.getFloat(workerAt(0) + W_POLLS);
  // The statistics were just written when it begins and when it ends.
  for (const start = polls(); polls() === start;) lab.turn(1);
  const [pollsBefore, looksBefore] = [polls(), lab.kicks.waits];
  for (let i = 0; i < COUNTED_TURNS; i++) lab.turn(1);
  // With each look for kicks goes one at a ring that was not kicked.
  const looks = lab.kicks.waits - looksBefore;
  ok(polls() - pollsBefore <= COUNTED_TURNS + looks);
});

Deno.test("PollLoop serves a quiet ring whose guest does not kick, in its turn", async () => {
  const lab = await Lab.create();
  for (let port = 2; port < PORTS; port++) {
    lab.send(port);
    ok(await lab.untilServed(port) < PORTS);
  }
});

Deno.test("PollLoop looks at every quiet ring when there is nothing else to do", async () => {
  const lab = await Lab.create();
  lab.sim.turn();
  for (let port = 2; port < PORTS; port++) lab.send(port);
  strictEqual(lab.sim.turn(), PORTS - 2);
});

Deno.test("PollLoop is not misled by kicks for rings that it does not poll, or no longer", async () => {
  const lab = await Lab.create();
  lab.kicks.pending.push(0, ringNumber(0, 1), ringNumber(3, 0), ringNumber(200, 1));
  lab.send(4);
  ok(await lab.untilServed(4) < PORTS);
});
