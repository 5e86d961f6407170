import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, type ReceivedFrame, SwitchSim } from "../support/guest_sim.ts";
import {
  checkFrames,
  type ExpectedFrame,
  expectedFrames,
  RECEIVERS,
  SENDER_FEATURES,
} from "../support/offload_guests.ts";
import {
  build,
  offloadHeader,
  type Packet,
  TCP_ACK,
  TCP_FIN,
  TCP_PSH,
} from "../support/packets.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);
const VERSION_1 = featureSet(VIRTIO_F_VERSION_1);
const MERGEABLE = VERSION_1 | featureSet(VIRTIO_NET_F_MRG_RXBUF);
const PACKED = MERGEABLE | featureSet(VIRTIO_F_RING_PACKED);
const PARTIAL = RECEIVERS["partial checksums"]!;
const ALL = RECEIVERS["all"]!;

/** The largest IPv4 packet: 65,535 bytes with its header. */
const LARGEST = 65_535 - 20 - 20;

function packetOf(bytes: number, more: Partial<Packet> = {}): Packet {
  return {
    ...{ to: TO, from: FROM, tags: [], version: 4, transport: "tcp", networkOptions: 0 },
    ...{ transportOptions: 0, identification: 0xfffe, sequence: 0xffff_ff00 },
    ...{ flags: TCP_ACK | TCP_PSH | TCP_FIN, ports: [1, 2] },
    payload: Uint8Array.from({ length: bytes }, (_, i) => i * 13 + (i >> 8)),
    ...more,
  };
}

interface Pair {
  readonly sim: SwitchSim;
  readonly receive: () => ReceivedFrame[];
  send(packet: Packet, gsoSize: number, pieces?: readonly number[]): void;
}

async function pairWith(receiver: GuestOptions): Promise<Pair> {
  const sender = { features: SENDER_FEATURES, sendBytes: 6 << 20, buffers: 0 };
  const sim = await SwitchSim.create([sender, receiver]);
  return {
    sim,
    receive: () => sim.guests[1]!.receive(),
    send: (packet, gsoSize, pieces = []) => {
      const header = offloadHeader(packet, gsoSize);
      sim.guests[0]!.send(build(packet, true).frame, { header, pieces });
    },
  };
}

for (const features of [VERSION_1, VERSION_1 | PARTIAL, PACKED, PACKED | PARTIAL]) {
  const suffix = `for features ${features.toString(16)}`;
  const many = { features, queueSize: 4096, buffers: 4000, bufferBytes: 200 };

  Deno.test(`SwitchSim cuts into pieces of one byte, 512 at most, ${suffix} (G74)`, async () => {
    const { sim, send, receive } = await pairWith(many);
    const packet = packetOf(512);
    send(packet, 1);
    sim.turn();
    checkFrames(receive(), expectedFrames(features, packet, 1), suffix);
    strictEqual(sim.counters(1).segmented, 1);
    send(packetOf(513), 1);
    sim.turn();
    deepStrictEqual(receive(), []);
    strictEqual(sim.counters(1).drops["cannot be segmented"], 1);
    ok(sim.guests[1]!.isCanaryAlive);
  });

  Deno.test(`SwitchSim makes several reservations for a burst of many pieces ${suffix}`, async () => {
    const { sim, send, receive } = await pairWith(many);
    const expected: ExpectedFrame[] = [];
    // 512 and 512 fill one reservation, 300 the next, then some do not fit in between.
    for (const bytes of [512, 512, 300, 500, 400, 1, 512, 130]) {
      const packet = packetOf(bytes);
      send(packet, 1);
      expected.push(...expectedFrames(features, packet, 1));
      const frame = makeFrame(TO, FROM, 60, bytes & 0xff);
      sim.guests[0]!.send(frame);
      expected.push({ frame, header: new Uint8Array(10) });
    }
    sim.turn();
    checkFrames(receive(), expected, suffix);
    strictEqual(sim.counters(1).segmented, 8);
    ok(sim.guests[1]!.isCanaryAlive);
  });

  Deno.test(`SwitchSim makes reservations until a full burst is cut ${suffix}`, async () => {
    const { sim, send, receive } = await pairWith(many);
    const packet = packetOf(50 * 60 + 7);
    for (let i = 0; i < 64; i++) send(packet, 50);
    sim.turn();
    const one = expectedFrames(features, packet, 50);
    checkFrames(receive(), new Array(64).fill(one).flat(), suffix);
  });

  Deno.test(`SwitchSim cuts the largest super-packets ${suffix} (L13)`, async () => {
    const size = features & MERGEABLE & ~VERSION_1 ? 1000 : 9100;
    const { sim, send, receive } = await pairWith({ ...many, bufferBytes: size, buffers: 200 });
    for (const [version, gsoSize] of [[4, 1448], [6, 9000], [4, 700]] as const) {
      // IPv6 counts the payload alone; its header is beyond the 65,535 bytes that fit in a frame.
      const packet = packetOf(version === 4 ? LARGEST : LARGEST - 20, { version });
      send(packet, gsoSize, [99, 4001, 20_001, 3]);
      sim.turn();
      checkFrames(receive(), expectedFrames(features, packet, gsoSize), `${suffix} ${gsoSize}`);
    }
    ok(sim.guests[1]!.isCanaryAlive);
  });
}

for (const features of [MERGEABLE | ALL, PACKED | ALL]) {
  const name = "SwitchSim passes the largest super-packet on as it is";
  Deno.test(`${name} for features ${features.toString(16)} (L13)`, async () => {
    const { sim, send, receive } = await pairWith({ features, bufferBytes: 1526, buffers: 64 });
    const packet = packetOf(LARGEST);
    send(packet, 1448, [13, 30_001]);
    sim.turn();
    checkFrames(receive(), expectedFrames(features, packet, 1448), "whole");
    strictEqual(sim.counters(1).segmented, 0);
    strictEqual(sim.counters(1).checksummed, 0);
    strictEqual(sim.counters(1).transmittedBytes, 65_549);
  });
}

Deno.test("SwitchSim passes on what needs no cut, however many pieces it would be (G74)", async () => {
  const { sim, send, receive } = await pairWith({ features: MERGEABLE | ALL });
  const packet = packetOf(3000);
  send(packet, 1);
  sim.turn();
  checkFrames(receive(), expectedFrames(MERGEABLE | ALL, packet, 1), "whole");
});

Deno.test("SwitchSim delivers the first pieces when buffers run out, like frames on a wire", async () => {
  const { sim, send, receive } = await pairWith({ features: VERSION_1, buffers: 5 });
  const packet = packetOf(1000);
  send(packet, 100);
  sim.guests[0]!.send(makeFrame(TO, FROM));
  sim.turn();
  checkFrames(receive(), expectedFrames(VERSION_1, packet, 100).slice(0, 5), "first pieces");
  strictEqual(sim.counters(1).drops["no buffer"], 2);
  strictEqual(sim.counters(1).segmented, 0);
  send(packet, 250);
  sim.turn();
  checkFrames(receive(), expectedFrames(VERSION_1, packet, 250), "the next");
});

Deno.test("SwitchSim drops a super-packet whose pieces fit no buffer and keeps the rest (G83)", async () => {
  const { sim, send, receive } = await pairWith({ features: VERSION_1, bufferBytes: 200 });
  send(packetOf(1000), 500);
  const frame = makeFrame(TO, FROM);
  sim.guests[0]!.send(frame);
  sim.turn();
  deepStrictEqual(receive().map((received) => received.frame), [frame]);
  strictEqual(sim.counters(1).drops["too big"], 1);
});

Deno.test("SwitchSim counts what it cut, what it finished and what it could not cut", async () => {
  const { sim, send, receive } = await pairWith({ features: VERSION_1 });
  for (let i = 0; i < 3; i++) send(packetOf(1000), 400);
  for (let i = 0; i < 5; i++) send(packetOf(100 + i), 0);
  send(packetOf(1000, { transport: "udp" }), 400);
  for (let i = 0; i < 2; i++) send(packetOf(0), 400);
  sim.guests[0]!.send(makeFrame(TO, FROM));
  sim.turn();
  strictEqual(receive().length, 3 * 3 + 5 + 3 + 1);
  const { segmented, checksummed, drops } = sim.counters(1);
  deepStrictEqual([segmented, checksummed, drops["cannot be segmented"]], [4, 5, 2]);
});

Deno.test("SwitchSim cuts a super-packet of one piece like any other", async () => {
  const { sim, send, receive } = await pairWith({ features: VERSION_1 });
  for (const bytes of [1, 999, 1000]) {
    const packet = packetOf(bytes);
    send(packet, 1000);
    sim.turn();
    checkFrames(receive(), expectedFrames(VERSION_1, packet, 1000), `${bytes}`);
  }
});
