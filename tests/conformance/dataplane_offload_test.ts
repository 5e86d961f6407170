/**
 * One sender and a receiver of every kind on one bridge: each frame is flooded, so that every
 * property holds for all of them at once (L14).
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { BROADCAST, stationAddress } from "../support/frames.ts";
import { type GuestOptions, SwitchSim } from "../support/guest_sim.ts";
import {
  checkFrames,
  expectedFrames,
  RECEIVERS,
  RINGS,
  SENDER_FEATURES,
} from "../support/offload_guests.ts";
import { build, offloadHeader, type Packet } from "../support/packets.ts";

const RUNS = 60;
const MAX_PAYLOAD = 6000;

/** Where sender buffers end: any places, odd ones too; the last one takes the rest. */
const cuts: fc.Arbitrary<number[]> = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 1500 })),
  { maxLength: 12 },
);

/** Any packet with such an IP version and transport. */
function packets(version: 4 | 6, transport: "tcp" | "udp"): fc.Arbitrary<Packet> {
  return fc.record({
    to: fc.constant(BROADCAST),
    from: fc.constant(stationAddress(1)),
    tags: fc.constantFrom([], [], [0x8100], [0x88a8], [0x88a8, 0x8100], [0x8100, 0x8100]),
    version: fc.constant(version),
    transport: fc.constant(transport),
    networkOptions: version === 4
      ? fc.nat(10).map((words) => words * 4)
      : fc.constantFrom(0, 0, 8, 24, 112),
    transportOptions: fc.nat(10).map((words) => words * 4),
    identification: fc.oneof(fc.nat(0xffff), fc.integer({ min: 0xfff0, max: 0xffff })),
    sequence: fc.oneof(fc.nat(0x7fffffff), fc.integer({ min: 0xffff_f000, max: 0xffff_ffff })),
    flags: fc.nat(0xff),
    ports: fc.tuple(fc.nat(0xffff), fc.nat(0xffff)),
    payload: fc.tuple(fc.integer({ min: 1, max: MAX_PAYLOAD }), fc.nat(255)).map(pattern),
  });
}

function pattern([length, mark]: [number, number]): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (mark + i * 7 + (i >> 8) * 3) & 0xff);
}

/** Sizes that need no more pieces than the buffers below can hold. */
function sizesOf(payload: number): fc.Arbitrary<number> {
  const least = Math.ceil(payload / 60);
  return fc.oneof(
    fc.integer({ min: least, max: Math.max(least, 1448) }),
    fc.constantFrom(Math.max(least, payload - 1), payload, payload + 1, 65535),
  );
}

interface Receiver {
  readonly name: string;
  readonly options: GuestOptions & { readonly features: bigint };
}

/** Every kind of receiver on rings of one kind. */
function receiversOn(ring: string): Receiver[] {
  const isMergeable = ring.includes("mergeable");
  const size = ring.includes("packed") ? 500 : 512;
  return Object.entries(RECEIVERS).map(([offload, features]) => ({
    name: `${offload}, ${ring}`,
    options: {
      features: features | RINGS[ring]!,
      ...isMergeable
        ? { bufferBytes: 197, buffers: size, queueSize: size }
        : { bufferBytes: MAX_PAYLOAD + 300, buffers: 64, queueSize: 64 },
    },
  }));
}

class Bridge {
  readonly #sim: SwitchSim;
  readonly #receivers: readonly Receiver[];

  private constructor(sim: SwitchSim, receivers: readonly Receiver[]) {
    this.#sim = sim;
    this.#receivers = receivers;
  }

  static async create(ring: string): Promise<Bridge> {
    const receivers = receiversOn(ring);
    const sender = { features: SENDER_FEATURES, buffers: 0 };
    const sim = await SwitchSim.create([sender, ...receivers.map(({ options }) => options)]);
    return new Bridge(sim, receivers);
  }

  /** Sends one packet with an open checksum and checks what every receiver gets. */
  check(packet: Packet, gsoSize: number, pieces: readonly number[]): void {
    const [sender, ...guests] = this.#sim.guests;
    const { frame } = build(packet, true);
    sender!.send(frame, { header: offloadHeader(packet, gsoSize), pieces });
    this.#sim.turn();
    strictEqual(sender!.takeSent().length, 1);
    // All of it is taken before any of it is checked: a failure leaves nothing for the next run.
    guests.map((guest) => guest.receive()).forEach((frames, i) => {
      const { name, options } = this.#receivers[i]!;
      checkFrames(frames, expectedFrames(options.features, packet, gsoSize), name);
    });
  }

  checkCanaries(): void {
    for (const guest of this.#sim.guests) ok(guest.isCanaryAlive);
  }
}

for (const ring of Object.keys(RINGS)) {
  for (const version of [4, 6] as const) {
    for (const transport of ["tcp", "udp"] as const) {
      const what = `${transport.toUpperCase()} over IPv${version} on rings that are ${ring}`;

      Deno.test(`SwitchSim gives super-packets of ${what} in a legal form (5.1.6.2, G78, G79, L14)`, async () => {
        const bridge = await Bridge.create(ring);
        const sized = packets(version, transport).chain((packet) =>
          sizesOf(packet.payload.length).map((size) => [packet, size] as const)
        );
        fc.assert(
          fc.property(sized, cuts, ([packet, size], pieces) => bridge.check(packet, size, pieces)),
          { numRuns: RUNS },
        );
        bridge.checkCanaries();
      });

      Deno.test(`SwitchSim gives open checksums of ${what} in a legal form (5.1.6.2, L14)`, async () => {
        const bridge = await Bridge.create(ring);
        fc.assert(
          fc.property(packets(version, transport), cuts, (packet, pieces) => {
            bridge.check(packet, 0, pieces);
          }),
          { numRuns: RUNS },
        );
        bridge.checkCanaries();
      });
    }
  }
}
