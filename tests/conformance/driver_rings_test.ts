/**
 * Rings that we drive, over all formats: frames of every kind cross two joined switches unharmed.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_USO4,
  VIRTIO_NET_F_GUEST_USO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { GUEST, JoinedSim, JOINT } from "../support/joined_sim.ts";
import { checkFrames, expectedFrames, SENDER_FEATURES } from "../support/offload_guests.ts";
import { build, offloadHeader, type Packet, TCP_ACK } from "../support/packets.ts";

/** More than the shared rings hold, several times. */
const FRAMES = 2000;
const BATCH = 50;

const FORMATS: Readonly<Record<string, readonly number[]>> = {
  "legacy": [],
  "split": [VIRTIO_F_VERSION_1],
  "split, event index": [VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX],
  "split, mergeable": [VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF],
  "packed": [VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED],
  "packed, event index": [VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX],
  "packed, mergeable": [VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF],
};
const OFFLOADS = [
  ...[VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN],
  ...[VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4],
  ...[VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_USO4],
  VIRTIO_NET_F_GUEST_USO6,
];
const RECEIVER = featureSet(
  ...[VIRTIO_F_VERSION_1, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4],
  ...[VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_MRG_RXBUF],
);

/** No frame was dropped anywhere, and no ring is broken. */
function checkSound(sim: JoinedSim): void {
  strictEqual(sim.fault(), null);
  for (const side of [sim.near, sim.far]) {
    for (const port of [GUEST, JOINT]) {
      const { drops, ringFaults, badReceiveChains } = side.counters(port);
      deepStrictEqual(Object.entries(drops).filter(([, count]) => count > 0), []);
      deepStrictEqual([ringFaults, badReceiveChains], [0, 0]);
    }
  }
}

for (const [name, features] of Object.entries(FORMATS)) {
  Deno.test(`Driver rings carry frames of all sizes both ways, in order (${name})`, async () => {
    using sim = await JoinedSim.create(featureSet(...features), [{}, {}]);
    const guests = [sim.near.guest, sim.far.guest];
    for (let from = 0; from < FRAMES; from += BATCH) {
      for (const [i, guest] of guests.entries()) {
        const sent = Array.from({ length: BATCH }, (_, k) => {
          const to = from === 0 ? BROADCAST : stationAddress(1 - i);
          const frame = makeFrame(to, stationAddress(i), 14 + (from + k) * 7 % 2000, from + k);
          guest.send(frame);
          return frame;
        });
        sim.settle();
        guest.takeSent();
        const received = guests[1 - i]!.receive().map(({ frame }) => frame);
        deepStrictEqual(received, sent, `frames from ${from} on of guest ${i}`);
      }
    }
    checkSound(sim);
  });

  Deno.test(`Driver rings carry super-packets whole, both ways (${name})`, async () => {
    const guest = { features: RECEIVER | SENDER_FEATURES, sendBytes: 2 ** 20, buffers: 128 };
    using sim = await JoinedSim.create(featureSet(...features, ...OFFLOADS), [guest, guest]);
    const guests = [sim.near.guest, sim.far.guest];
    for (let round = 0; round < 20; round++) {
      for (const [i, from] of guests.entries()) {
        const packet = superPacket(1000 + 3000 * round, i);
        from.send(build(packet, true).frame, { header: offloadHeader(packet, 1448) });
        sim.settle();
        from.takeSent();
        const expected = expectedFrames(RECEIVER, packet, 1448);
        checkFrames(guests[1 - i]!.receive(), expected, `round ${round} of guest ${i}`);
      }
    }
    checkSound(sim);
    strictEqual(sim.near.counters(JOINT).segmented, 0);
  });

  Deno.test(`Driver rings carry what was cut for a back-end without offloads (${name})`, async () => {
    const guest = { features: RECEIVER | SENDER_FEATURES, sendBytes: 2 ** 20, buffers: 128 };
    using sim = await JoinedSim.create(featureSet(...features), [guest, guest]);
    const packet = superPacket(20_000, 0);
    sim.near.guest.send(build(packet, true).frame, { header: offloadHeader(packet, 1448) });
    sim.settle();
    const received = sim.far.guest.receive();
    const expected = expectedFrames(0n, packet, 1448);
    deepStrictEqual(received.map(({ frame }) => frame), expected.map(({ frame }) => frame));
    strictEqual(sim.near.counters(JOINT).segmented, 1);
    checkSound(sim);
  });
}

function superPacket(payloadBytes: number, from: number): Packet {
  return {
    to: stationAddress(1 - from),
    from: stationAddress(from),
    ...{ tags: [], version: 4, transport: "tcp", networkOptions: 0, transportOptions: 12 },
    ...{ identification: 1, sequence: 1, flags: TCP_ACK, ports: [5201, 40_000] },
    payload: Uint8Array.from({ length: payloadBytes }, (_, i) => i * 7 & 0xff),
  };
}
