/**
 * What a sender claims about a frame: refused when it cannot be true, and never believed by the
 * code that cuts.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
} from "../../src/virtio/features.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";
import { RECEIVERS, SENDER_FEATURES } from "../support/offload_guests.ts";
import {
  build,
  cut,
  GSO_ECN,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  NEEDS_CSUM,
  offloadHeader,
  type Packet,
  TCP_ACK,
  TCP_CWR,
  virtioHeader,
} from "../support/packets.ts";

const VERSION_1 = featureSet(VIRTIO_F_VERSION_1);
/** Receivers on ports 1 and 2: of super-packets, and of nothing but frames. */
const [WHOLE, PLAIN] = [1, 2];
type Fields = Parameters<typeof virtioHeader>[0];

const TCP4: Packet = {
  ...{ to: BROADCAST, from: stationAddress(1), tags: [], version: 4, transport: "tcp" },
  ...{ networkOptions: 0, transportOptions: 0, identification: 1, sequence: 1, flags: TCP_ACK },
  ...{ ports: [1000, 2000], payload: new Uint8Array(300).fill(7) },
};
const TCP6: Packet = { ...TCP4, version: 6 };
const UDP4: Packet = { ...TCP4, transport: "udp" };
/** A header that is true of TCP4. */
const TRUE4: Fields = {
  ...{ flags: NEEDS_CSUM, gso_type: GSO_TCPV4, hdr_len: 54, gso_size: 100 },
  ...{ csum_start: 34, csum_offset: 16 },
};

async function bridgeOf(senderFeatures = SENDER_FEATURES): Promise<SwitchSim> {
  return await SwitchSim.create([
    { features: senderFeatures },
    { features: VERSION_1 | RECEIVERS["all"]! },
    { features: VERSION_1 },
  ]);
}

async function send(
  frame: Uint8Array,
  header: Uint8Array,
  senderFeatures = SENDER_FEATURES,
): Promise<SwitchSim> {
  const sim = await bridgeOf(senderFeatures);
  sim.guests[0]!.send(frame, { header });
  sim.turn();
  deepStrictEqual(sim.guests[0]!.takeSent().map(({ length }) => length), [0]);
  ok(sim.guests.every((guest) => guest.isCanaryAlive));
  return sim;
}

// ── Refused when taken ───────────────────────────────────────────────────────────────────────────

/** Headers that cannot be true of a frame of 354 bytes, or that were not negotiated. */
const REFUSED: readonly (readonly [what: string, fields: Fields, features?: bigint])[] = [
  ["csum_start past the packet (G68)", { ...TRUE4, gso_type: 0, csum_start: 353, csum_offset: 0 }],
  ["csum_start within the Ethernet header (G68)", { ...TRUE4, gso_type: 0, csum_start: 13 }],
  ["csum_start 0 (G68)", { ...TRUE4, gso_type: 0, csum_start: 0 }],
  ["a checksum that ends past the packet (G69)", { ...TRUE4, gso_type: 0, csum_offset: 319 }],
  ["a checksum that ends past a super-packet (G69)", { ...TRUE4, csum_offset: 319 }],
  ["csum_start and csum_offset 0xffff (G70)", {
    ...{ ...TRUE4, gso_type: 0 },
    ...{ csum_start: 0xffff, csum_offset: 0xffff },
  }],
  ["NEEDS_CSUM that was not negotiated (G71)", { ...TRUE4, gso_type: 0 }, VERSION_1],
  ...[2, 3, 6, 7, 0x7f, GSO_ECN, GSO_ECN | GSO_UDP_L4, 0xff].map((type) =>
    [`the unknown gso_type ${type} (G72)`, { ...TRUE4, gso_type: type }] as const
  ),
  ["gso_size 0 with GSO (G73)", { ...TRUE4, gso_size: 0 }],
  ["GSO without NEEDS_CSUM (G77)", { ...TRUE4, flags: 0 }],
  ["GSO with DATA_VALID instead of NEEDS_CSUM (G77)", { ...TRUE4, flags: 2 }],
  ["TSO4 that was not negotiated (G79)", TRUE4, features(VIRTIO_NET_F_HOST_TSO6)],
  [
    "TSO6 that was not negotiated (G79)",
    { ...TRUE4, gso_type: GSO_TCPV6 },
    features(VIRTIO_NET_F_HOST_TSO4),
  ],
  [
    "USO that was not negotiated (G78)",
    { ...TRUE4, gso_type: GSO_UDP_L4 },
    features(VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6),
  ],
  [
    "ECN that was not negotiated (G79)",
    { ...TRUE4, gso_type: GSO_TCPV4 | GSO_ECN },
    features(VIRTIO_NET_F_HOST_TSO4),
  ],
  [
    "ECN without TSO (G79)",
    { ...TRUE4, gso_type: GSO_TCPV4 | GSO_ECN },
    features(VIRTIO_NET_F_HOST_ECN),
  ],
];

function features(...more: number[]): bigint {
  return featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_CSUM, ...more);
}

for (const [what, fields, negotiated] of REFUSED) {
  Deno.test(`SwitchSim refuses ${what}`, async () => {
    const { frame } = build(TCP4, true);
    const sim = await send(frame, virtioHeader(fields), negotiated);
    strictEqual(sim.counters(0).drops["bad offload"], 1);
    for (const port of [WHOLE, PLAIN]) deepStrictEqual(sim.guests[port]!.receive(), []);
  });
}

Deno.test("SwitchSim takes a checksum that ends where the packet does (G69)", async () => {
  const { frame } = build(TCP4, true);
  const fields = { flags: NEEDS_CSUM, csum_start: 34, csum_offset: 318 };
  const sim = await send(frame, virtioHeader(fields));
  strictEqual(sim.guests[PLAIN]!.receive().length, 1);
  strictEqual(sim.counters(0).drops["bad offload"], 0);
});

Deno.test("SwitchSim hides a hdr_len past the packet from receivers (G76)", async () => {
  const { frame } = build(TCP4, true);
  for (const [said, passed] of [[354, 354], [355, 0], [0xffff, 0], [0, 0], [7, 7]] as const) {
    const sim = await send(frame, virtioHeader({ ...TRUE4, hdr_len: said }));
    const [whole] = sim.guests[WHOLE]!.receive();
    const wanted = [...virtioHeader({ ...TRUE4, hdr_len: passed }), 1, 0];
    deepStrictEqual([...whole!.header], wanted);
    deepStrictEqual(whole!.frame, frame);
    // The pieces are cut by what the packet says.
    deepStrictEqual(sim.guests[PLAIN]!.receive().map((one) => one.frame.length), [154, 154, 154]);
  }
});

Deno.test("SwitchSim passes nothing of a header on that has neither checksum nor GSO (5.1.6.2.1)", async () => {
  const { frame } = build(TCP4, false);
  for (const flags of [0, 2, 4, 6, 0xfe]) {
    const fields = { ...TRUE4, flags, gso_type: 0 };
    const sim = await send(frame, virtioHeader(fields));
    for (const port of [WHOLE, PLAIN]) {
      const [received] = sim.guests[port]!.receive();
      deepStrictEqual([...received!.header], [...new Array(10).fill(0), 1, 0]);
      deepStrictEqual(received!.frame, frame);
    }
  }
});

Deno.test("SwitchSim passes no flag but NEEDS_CSUM and no gso_size without a type on (5.1.6.4.1)", async () => {
  const { frame } = build(TCP4, true);
  const sim = await send(frame, virtioHeader({ ...TRUE4, flags: 0xff, gso_type: 0 }));
  const [received] = sim.guests[WHOLE]!.receive();
  const wanted = virtioHeader({ ...TRUE4, gso_type: 0, gso_size: 0 });
  deepStrictEqual([...received!.header], [...wanted, 1, 0]);
});

Deno.test("SwitchSim ignores garbage in num_buffers of a super-packet (G80)", async () => {
  const { frame } = build(TCP4, true);
  const header = new Uint8Array([...virtioHeader(TRUE4), 0xff, 0xff]);
  const sim = await send(frame, header);
  const [whole] = sim.guests[WHOLE]!.receive();
  deepStrictEqual([...whole!.header.slice(10)], [1, 0]);
});

// ── Not what it claims: forwarded to who takes it whole, dropped where it must be cut ────────────

/** Changes the bytes of a packet. */
function patched(packet: Packet, ...changes: readonly (readonly [at: number, value: number])[]) {
  const { frame } = build(packet, true);
  for (const [at, value] of changes) frame[at] = value;
  return frame;
}

/** Frames and headers whose claims fail only when the packet is cut. */
const UNCUTTABLE: readonly (readonly [what: string, frame: Uint8Array, fields: Fields])[] = [
  ["GSO on ARP (G75)", patched(TCP4, [12, 0x08], [13, 0x06]), TRUE4],
  ["the TCPv4 type on an IPv6 packet (G75)", build(TCP6, true).frame, {
    ...{ ...TRUE4, csum_start: 54 },
  }],
  ["the TCPv6 type on an IPv4 packet (G75)", build(TCP4, true).frame, {
    ...{ ...TRUE4, gso_type: GSO_TCPV6 },
  }],
  ["a frame of noise (G75)", makeFrame(BROADCAST, stationAddress(1), 354), TRUE4],
  ["three tags", build({ ...TCP4, tags: [0x8100, 0x8100, 0x8100] }, true).frame, {
    ...{ ...TRUE4, csum_start: 46 },
  }],
  ["csum_start behind the start of TCP (L18)", build(TCP4, true).frame, {
    ...{ ...TRUE4, csum_start: 36 },
  }],
  ["csum_start before the start of TCP (L18)", build(TCP4, true).frame, {
    ...{ ...TRUE4, csum_start: 30 },
  }],
  ["csum_start within the IPv6 header (L18)", build(TCP6, true).frame, {
    ...{ ...TRUE4, gso_type: GSO_TCPV6, csum_start: 53 },
  }],
  ["the csum_offset of UDP on TCP (L18)", build(TCP4, true).frame, { ...TRUE4, csum_offset: 6 }],
  ["the csum_offset of TCP on UDP (L18)", build(UDP4, true).frame, {
    ...{ ...TRUE4, gso_type: GSO_UDP_L4 },
  }],
  ["an IPv4 header of 16 bytes (L18)", patched(TCP4, [14, 0x44]), { ...TRUE4, csum_start: 30 }],
  ["an IPv4 header of 60 bytes that is 20 (L18)", patched(TCP4, [14, 0x4f]), TRUE4],
  ["IP version 5 (L18)", patched(TCP4, [14, 0x55]), TRUE4],
  ["a TCP header of 16 bytes (L18)", patched(TCP4, [46, 0x40]), TRUE4],
  [
    "a TCP header that ends past the frame (L18)",
    patched({ ...TCP4, payload: new Uint8Array(8) }, [
      ...[46, 0xf0] as const,
    ]),
    TRUE4,
  ],
  ["no payload (L18)", build({ ...TCP4, payload: new Uint8Array() }, true).frame, TRUE4],
  ["headers of more than 256 bytes", build({ ...TCP6, networkOptions: 184 }, true).frame, {
    ...{ ...TRUE4, gso_type: GSO_TCPV6, csum_start: 238 },
  }],
  ["more than 512 pieces (G74)", build({ ...TCP4, payload: new Uint8Array(513) }, true).frame, {
    ...{ ...TRUE4, gso_size: 1 },
  }],
];

for (const [what, frame, fields] of UNCUTTABLE) {
  Deno.test(`SwitchSim cuts no super-packet with ${what}`, async () => {
    const header = virtioHeader(fields);
    const sim = await send(frame, header);
    deepStrictEqual(sim.guests[WHOLE]!.receive().map((one) => one.frame), [frame]);
    deepStrictEqual(sim.guests[PLAIN]!.receive(), []);
    strictEqual(sim.counters(PLAIN).drops["cannot be segmented"], 1);
    strictEqual(sim.counters(PLAIN).segmented, 0);
    strictEqual(sim.counters(WHOLE).drops["cannot be segmented"], 0);
    // The next one is cut as if nothing had been.
    const good = build(TCP4, true).frame;
    sim.guests[0]!.send(good, { header: offloadHeader(TCP4, 100) });
    sim.turn();
    strictEqual(sim.guests[PLAIN]!.receive().length, 3);
  });
}

Deno.test("SwitchSim cuts a super-packet with headers of 254 bytes, the most there is room for", async () => {
  const untagged: Packet = { ...TCP6, networkOptions: 176, transportOptions: 4 };
  const tagged: Packet = { ...TCP6, networkOptions: 136, transportOptions: 40, tags: [0x8100] };
  for (const packet of [untagged, tagged]) {
    const { frame, headerBytes } = build(packet, true);
    strictEqual(headerBytes, 254);
    const sim = await send(frame, offloadHeader(packet, 100));
    const expected = cut(packet, 100).map((piece) => build(piece, false).frame);
    deepStrictEqual(sim.guests[PLAIN]!.receive().map((one) => one.frame), expected);
  }
});

Deno.test("SwitchSim gives every byte of a cut frame from that frame alone (L23)", async () => {
  const sim = await bridgeOf();
  const secret = build({ ...TCP4, payload: new Uint8Array(300).fill(0xee) }, true).frame;
  sim.guests[0]!.send(secret, { header: offloadHeader(TCP4, 100) });
  // Shorter than its headers claim, behind one that fills the snapshot.
  const short = patched({ ...TCP4, payload: new Uint8Array(1) }, [46, 0xf0]);
  sim.guests[0]!.send(short, { header: virtioHeader(TRUE4) });
  sim.turn();
  strictEqual(sim.guests[PLAIN]!.receive().length, 3);
  strictEqual(sim.counters(PLAIN).drops["cannot be segmented"], 1);
});

Deno.test("SwitchSim cuts by ECN for a receiver that knows TSO but not ECN (5.1.6.4.1, G79)", async () => {
  const packet: Packet = { ...TCP4, flags: TCP_ACK | TCP_CWR };
  const sim = await SwitchSim.create([
    { features: SENDER_FEATURES },
    { features: VERSION_1 | RECEIVERS["all but ECN"]! },
  ]);
  sim.guests[0]!.send(build(packet, true).frame, { header: offloadHeader(packet, 100) });
  sim.turn();
  const frames = sim.guests[1]!.receive().map(({ frame }) => frame);
  deepStrictEqual(frames.map((frame) => frame[47]! & TCP_CWR), [TCP_CWR, 0, 0]);
});
