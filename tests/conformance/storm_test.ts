/**
 * Floods that do not end: a port that broadcasts as fast as it can (L15), and two ports that a guest
 * bridges with each other (L09).
 *
 * The switch is a neutral wire without a spanning tree. What it promises is the round of the poll
 * loop: whatever one ring brings, each other ring gets its burst of 64 in the same turn.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { BURST } from "../../src/dataplane/state_layout.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { SteadyReceiver, SteadySender } from "../support/steady_rings.ts";

const TURNS = 500;
const FRAME_BYTES = 100;

Deno.test("PollLoop takes a full burst from a sender of unicast in each turn of a broadcast storm (L15)", async () => {
  const one = { buffers: 0, sendBytes: 2 ** 20 };
  const sim = await SwitchSim.create(new Array(8).fill(one));
  const [storm, unicast, ...others] = sim.guests;
  const receivers = others.map((guest) => new SteadyReceiver(guest));
  const to = stationAddress(2);
  others[0]!.send(makeFrame(BROADCAST, to));
  sim.settle();
  for (const receiver of receivers) receiver.receive(() => {});
  const storming = new SteadySender(storm!, [flood(0)]);
  const sending = new SteadySender(unicast!, [makeFrame(to, stationAddress(1), FRAME_BYTES)]);
  let arrived = 0;
  let flooded = 0;
  // Both always have more than a burst to send.
  for (const sender of [storming, sending]) sender.send(2 * BURST);
  for (let turn = 0; turn < TURNS; turn++) {
    sim.turn();
    const returned = storming.takeSent();
    storming.send(returned);
    flooded += returned;
    strictEqual(sending.takeSent(), BURST);
    sending.send(BURST);
    receivers[0]!.receive(({ length }) => length === FRAME_BYTES ? arrived++ : 0);
    for (const receiver of receivers.slice(1)) receiver.receive(() => {});
  }
  strictEqual(arrived, TURNS * BURST);
  ok(flooded <= arrived, `${flooded} frames were flooded`);
  strictEqual(sim.counters(2).drops["no buffer"], 0);
});

/** A frame to everybody, of another length than those of the hosts. */
function flood(station: number): Uint8Array<ArrayBuffer> {
  return makeFrame(BROADCAST, stationAddress(station), FRAME_BYTES + 1);
}

// ── A loop ───────────────────────────────────────────────────────────────────────────────────────

/** Turns between two broadcasts of a host; each goes round for ever, in either direction. */
const TURNS_PER_BROADCAST = 50;
/** Frames of each host in a turn. */
const EXCHANGED = 8;
/** What the others keep at least of what they send. */
const SHARE = 0.9;

Deno.test("Switch carries what others send while two of its ports are looped, and recovers (L09)", async () => {
  const host = { buffers: 256, queueSize: 1024 };
  const loop = { buffers: 128 };
  const sim = await SwitchSim.create([loop, loop, host, host]);
  const hosts = new Hosts(sim, [2, 3]);
  let rounds = 0;
  for (let turn = 0; turn < TURNS; turn++) {
    if (turn % TURNS_PER_BROADCAST === 0) sim.guests[2]!.send(flood(2));
    hosts.exchange();
    rounds += bridge(sim.guests[0]!, sim.guests[1]!);
  }
  ok(rounds > TURNS, `only ${rounds} frames went round`);
  // Frames go round, but the switch makes no more of them: each goes one way or the other.
  const broadcasts = TURNS / TURNS_PER_BROADCAST;
  const strays = 2 * EXCHANGED;
  ok(rounds <= TURNS * (2 * broadcasts + strays), `${rounds} frames went round`);
  const share = hosts.arrived / hosts.sent;
  ok(share >= SHARE, `${(100 * share).toFixed(1)} % arrived`);
  for (const port of sim.guests.keys()) strictEqual(sim.counters(port).ringFaults, 0);

  // The loop is cut: the first frame of each host puts its address right again.
  for (const guest of sim.guests) guest.receive();
  hosts.exchange();
  const { arrived, sent } = hosts;
  for (let turn = 0; turn < TURNS; turn++) hosts.exchange();
  strictEqual(hosts.arrived - arrived, hosts.sent - sent);
  strictEqual(sim.turn(), 0);
});

/** Two hosts that send to each other in each turn. */
class Hosts {
  sent = 0;
  arrived = 0;
  readonly #sim: SwitchSim;
  readonly #ports: readonly [number, number];

  constructor(sim: SwitchSim, ports: readonly [number, number]) {
    this.#sim = sim;
    this.#ports = ports;
    for (const port of ports) sim.guests[port]!.send(makeFrame(BROADCAST, stationAddress(port)));
    sim.settle();
    for (const guest of sim.guests) guest.receive();
  }

  exchange(): void {
    const [one, other] = this.#ports;
    for (const [from, to] of [[one, other], [other, one]] as const) {
      const frame = makeFrame(stationAddress(to), stationAddress(from), FRAME_BYTES);
      for (let i = 0; i < EXCHANGED; i++) this.#sim.guests[from]!.send(frame);
      this.sent += EXCHANGED;
    }
    this.#sim.turn();
    for (const guest of this.#sim.guests) guest.takeSent();
    for (const port of this.#ports) {
      const frames = this.#sim.guests[port]!.receive().map(({ frame }) => frame);
      // The last byte of the destination is the port that it is for.
      this.arrived += frames.filter(({ length, 5: to }) => length === FRAME_BYTES && to === port)
        .length;
    }
  }
}

/** The guest passes everything on that came, as far as there is room; returns how much. */
function bridge(one: GuestSim, other: GuestSim): number {
  let passed = 0;
  for (const [from, to] of [[one, other], [other, one]] as const) {
    for (const { frame } of from.receive()) {
      to.send(frame);
      passed++;
    }
  }
  return passed;
}
