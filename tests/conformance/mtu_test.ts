/**
 * The MTU that a front-end sets (VHOST_USER_NET_SET_MTU): no larger frame reaches its guest, except
 * super-packets, which the guest takes whole. First on a running switch, then in the data plane alone.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { portAt } from "../../src/dataplane/state.ts";
import { PORT_MAX_FRAME } from "../../src/dataplane/state_layout.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";
import {
  checkFrames,
  expectedFrames,
  RECEIVERS,
  RINGS,
  SENDER_FEATURES,
  takesWhole,
} from "../support/offload_guests.ts";
import { build, offloadHeader, type Packet, TCP_ACK } from "../support/packets.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import { u64 } from "../support/vhost_messages.ts";

/** Ethernet header and one tag (IEEE 802.3, 3.2.7). */
const OVERHEAD_BYTES = 14 + 4;
const MTU = 1500;
const LARGEST = MTU + OVERHEAD_BYTES;
/** Ethernet, IPv4 and TCP headers of a packet of the tests. */
const HEADERS_BYTES = 14 + 20 + 20;

async function setMtu(guest: TestGuest, mtu: number): Promise<void> {
  const client = await guest.client.negotiateAll();
  strictEqual(await client.ask(Request.NET_SET_MTU, u64(mtu)), 0n);
}

/** Sends frames of some lengths to everybody; the receiver must get those that are `wanted`. */
async function check(
  sender: TestGuest,
  receiver: TestGuest,
  lengths: readonly number[],
  wanted: readonly number[],
): Promise<void> {
  const frames = lengths.map((length) => makeFrame(BROADCAST, stationAddress(1), length, length));
  for (const frame of frames) {
    sender.send(frame);
    if (wanted.includes(frame.length)) deepStrictEqual(await receiver.receive(), frame);
    else await taken(sender);
  }
}

// The switch gives a buffer back when it is done with it.
async function taken(sender: TestGuest): Promise<void> {
  await eventually("the frame is taken", () => sender.hasSentAll() || null);
}

function tooBig(lab: TestLab): number {
  return lab.report("b").counters.drops["too big"];
}

testAttack(
  "Switch gives a guest no frame that is larger than its MTU, and counts it (VHOST_USER_NET_SET_MTU)",
  async (lab) => {
    await using sender = await TestGuest.attach(lab.path("a"));
    await using receiver = await TestGuest.attach(lab.path("b"));
    await setMtu(receiver, MTU);
    await check(sender, receiver, [60, LARGEST, LARGEST + 1, 61, LARGEST + 2, LARGEST], [
      60,
      61,
      LARGEST,
    ]);
    strictEqual(tooBig(lab), 2);
  },
);

testAttack("Switch takes another MTU while rings run (VHOST_USER_NET_SET_MTU)", async (lab) => {
  await using sender = await TestGuest.attach(lab.path("a"));
  await using receiver = await TestGuest.attach(lab.path("b"));
  await setMtu(receiver, 68);
  await check(sender, receiver, [68 + OVERHEAD_BYTES, 69 + OVERHEAD_BYTES], [68 + OVERHEAD_BYTES]);
  await setMtu(receiver, MTU);
  await check(sender, receiver, [69 + OVERHEAD_BYTES, LARGEST, LARGEST + 1], [
    69 + OVERHEAD_BYTES,
    LARGEST,
  ]);
  await setMtu(receiver, 65535);
  await check(sender, receiver, [LARGEST + 1], [LARGEST + 1]);
  strictEqual(tooBig(lab), 2);
});

testAttack(
  "Switch forgets an MTU with the front-end that set it (VHOST_USER_NET_SET_MTU)",
  async (lab) => {
    await using sender = await TestGuest.attach(lab.path("a"));
    {
      await using receiver = await TestGuest.attach(lab.path("b"));
      await setMtu(receiver, 68);
    }
    await lab.idle("b");
    await using receiver = await TestGuest.attach(lab.path("b"));
    await check(sender, receiver, [60, LARGEST + 1], [60, LARGEST + 1]);
    strictEqual(tooBig(lab), 0);
  },
);

testAttack(
  "Switch limits what a guest gets, not what it sends (VHOST_USER_NET_SET_MTU)",
  async (lab) => {
    await using sender = await TestGuest.attach(lab.path("a"));
    await using receiver = await TestGuest.attach(lab.path("b"));
    await setMtu(sender, 68);
    await check(sender, receiver, [LARGEST + 1], [LARGEST + 1]);
  },
);

/** A TCP packet with a payload of so many bytes. */
function packetOf(bytes: number): Packet {
  return {
    ...{ to: stationAddress(2), from: stationAddress(1), tags: [], version: 4, transport: "tcp" },
    ...{ networkOptions: 0, transportOptions: 0, identification: 1, sequence: 1, flags: TCP_ACK },
    ports: [1, 2],
    payload: Uint8Array.from({ length: bytes }, (_, i) => i * 13 + (i >> 8)),
  };
}

/** A sender with every offload and a receiver with an MTU. */
async function pairWith(features: bigint, mtu: number) {
  const sim = await SwitchSim.create([
    { features: SENDER_FEATURES, sendBytes: 1 << 20, buffers: 0 },
    { features, buffers: 64, bufferBytes: 8192 },
  ]);
  sim.state.set32(portAt(1) + PORT_MAX_FRAME, mtu + OVERHEAD_BYTES);
  const send = (packet: Packet, gsoSize: number) => {
    const header = offloadHeader(packet, gsoSize);
    sim.guests[0]!.send(build(packet, true).frame, { header });
    sim.turn();
    return sim.guests[1]!.receive();
  };
  return { sim, send };
}

for (const [ring, ringFeatures] of Object.entries(RINGS)) {
  for (const [offloads, offloadFeatures] of Object.entries(RECEIVERS)) {
    const features = ringFeatures | offloadFeatures;
    const suffix = `${ring}, ${offloads}`;

    Deno.test(`SwitchSim gives super-packets whole and pieces up to the MTU: ${suffix} (VHOST_USER_NET_SET_MTU)`, async () => {
      const { sim, send } = await pairWith(features, MTU);
      const most = LARGEST - HEADERS_BYTES;
      const packet = packetOf(3 * most + 1);
      checkFrames(send(packet, most), expectedFrames(features, packet, most), suffix);
      // One byte more for each piece.
      const isWhole = takesWhole(features, packet);
      const received = send(packet, most + 1);
      const expected = isWhole ? expectedFrames(features, packet, most + 1) : [];
      checkFrames(received, expected, suffix);
      strictEqual(sim.counters(1).drops["too big"], isWhole ? 0 : 1);
      // A single frame with an open checksum is no super-packet.
      const [fits, large] = [packetOf(most), packetOf(most + 1)];
      checkFrames(send(fits, 0), expectedFrames(features, fits, 0), suffix);
      checkFrames(send(large, 0), [], suffix);
      strictEqual(sim.counters(1).drops["too big"], isWhole ? 1 : 2);
    });
  }
}

Deno.test("SwitchSim drops a super-packet whose last piece alone would fit (VHOST_USER_NET_SET_MTU)", async () => {
  const { sim, send } = await pairWith(RINGS["split"]!, 100);
  const packet = packetOf(500);
  deepStrictEqual(send(packet, 499), []);
  const { segmented, transmittedFrames, drops } = sim.counters(1);
  deepStrictEqual([segmented, transmittedFrames, drops["too big"]], [0, 0, 1]);
  // No buffer was lost on the way.
  checkFrames(send(packet, 50), expectedFrames(RINGS["split"]!, packet, 50), "pieces of 50 bytes");
});
