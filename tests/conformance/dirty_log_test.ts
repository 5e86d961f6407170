/**
 * The log of dirty pages: whatever the switch writes into a guest's memory stands in it, and hardly
 * anything else.
 *
 * The judge is a comparison of the guest's memory before and after a turn, page by page.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Dataplane, loadDataplane } from "../../src/dataplane/dataplane.ts";
import { portAt, ringNumber } from "../../src/dataplane/state.ts";
import { LOG_PAGE_BYTES, PORT_LOG, PORT_LOG_BYTES } from "../../src/dataplane/state_layout.ts";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { build, offloadHeader, type Packet, TCP_ACK } from "../support/packets.ts";

/** Where the guests' memory begins: the log's first bits stand for pages that they do not have. */
const START = 0x1000_0000n;
/** Enough for all pages up to 512 MiB. */
const LOG_BYTES = 16384;
/** A region that holds the log, as the front-end's file does; not the guest's own memory. */
const LOG_REGION = { guestAddress: 0x8000_0000n, sizeBytes: LOG_BYTES };
const PAGE = LOG_PAGE_BYTES;
const ROUNDS = 40;

const V1 = featureSet(VIRTIO_F_VERSION_1);
const PACKED = V1 | featureSet(VIRTIO_F_RING_PACKED);
const EVENTS = featureSet(VIRTIO_F_EVENT_IDX);
const MERGEABLE = featureSet(VIRTIO_NET_F_MRG_RXBUF);
const SENDER = featureSet(VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4);

const MSS = 1400;
const SUPER_PACKET_BYTES = 40_000;
const SUPER_PACKET: Packet = {
  to: stationAddress(2),
  from: stationAddress(1),
  tags: [],
  version: 4,
  transport: "tcp",
  networkOptions: 0,
  transportOptions: 12,
  identification: 1,
  sequence: 1,
  flags: TCP_ACK,
  ports: [5201, 40_000],
  payload: Uint8Array.from({ length: SUPER_PACKET_BYTES }, (_, i) => i * 7 & 0xff),
};

/** A switch with a sender and a receiver, both logged. */
class LoggedPair {
  private constructor(readonly sim: SwitchSim) {
    for (const port of [0, 1]) this.#setLog(port, BigInt(LOG_BYTES));
  }

  static async create(options: GuestOptions): Promise<LoggedPair> {
    const shared = { guestAddress: START, moreRegions: [LOG_REGION], ...options };
    const sender = { ...shared, features: options.features! | SENDER };
    return new LoggedPair(await SwitchSim.create([sender, shared]));
  }

  guest(port: number): GuestSim {
    return this.sim.guests[port]!;
  }

  /** Ends logging. */
  stop(): void {
    for (const port of [0, 1]) this.sim.state.set64(portAt(port) + PORT_LOG, 0n);
  }

  /** Says that a log has so many bytes. */
  #setLog(port: number, bytes: bigint): void {
    const at = BigInt(this.guest(port).memory.regions[1]!.localAddress);
    this.sim.state.set64(portAt(port) + PORT_LOG, at);
    this.sim.state.set64(portAt(port) + PORT_LOG_BYTES, bytes);
  }

  shorten(bytes: bigint): void {
    for (const port of [0, 1]) this.#setLog(port, bytes);
  }

  /** The pages of a guest that are marked, counted from its first one; all marks are taken away. */
  takeMarks(port: number): number[] {
    const marks: number[] = [];
    const log = this.#bytes(port, 1);
    log.forEach((byte, i) => {
      for (let bit = 0; bit < 8; bit++) if ((byte & 1 << bit) !== 0) marks.push(8 * i + bit);
    });
    log.fill(0);
    return marks.map((page) => page - Number(START) / PAGE);
  }

  /** Does something and returns the pages of each guest that it changed. */
  changedBy(action: () => void): number[][] {
    const before = [0, 1].map((port) => this.#bytes(port, 0).slice());
    action();
    return before.map((old, port) => {
      const now = this.#bytes(port, 0);
      const pages = Array.from({ length: Math.ceil(old.length / PAGE) }, (_, page) => page);
      return pages.filter((page) => {
        const [start, end] = [page * PAGE, (page + 1) * PAGE];
        return Buffer.compare(old.subarray(start, end), now.subarray(start, end)) !== 0;
      });
    });
  }

  #bytes(port: number, region: number): Uint8Array {
    const { localAddress, sizeBytes } = this.guest(port).memory.regions[region]!;
    return this.guest(port).memory.bytes.subarray(localAddress, localAddress + sizeBytes);
  }
}

const KINDS: Readonly<Record<string, GuestOptions>> = {
  "split": { features: V1 },
  "split with event index": { features: V1 | EVENTS },
  "split, mergeable": { features: V1 | MERGEABLE, bufferBytes: 700 },
  "packed": { features: PACKED },
  "packed with event index": { features: PACKED | EVENTS },
  "packed, mergeable": { features: PACKED | MERGEABLE, bufferBytes: 700 },
};

for (const [name, kind] of Object.entries(KINDS)) {
  // A ring of 24 entries goes round within a few rounds; split rings want a power of two.
  const queueSize = name.startsWith("packed") ? 24 : 32;
  const options = { ...kind, queueSize, buffers: queueSize };

  Deno.test(`SwitchSim logs every page that it writes for guests whose rings are ${name} (X12)`, async () => {
    const pair = await LoggedPair.create(options);
    for (let round = 0; round < ROUNDS; round++) {
      const sizes = [60, 400 + round, 1514].slice(0, 1 + round % 3);
      for (const size of sizes) pair.guest(0).send(frameOf(size));
      const changed = pair.changedBy(() => pair.sim.turn());
      for (const port of [0, 1]) {
        const marks = pair.takeMarks(port);
        ok(changed[port]!.length > 0);
        const missing = changed[port]!.filter((page) => !marks.includes(page));
        deepStrictEqual(missing, [], `round ${round}, guest ${port}`);
        // What was marked and not changed held the same bytes before: parts of rings, as a rule.
        ok(marks.length <= changed[port]!.length + 2, `${marks.length} marks`);
      }
      pair.guest(0).takeSent();
      strictEqual(pair.guest(1).receive().length, sizes.length);
    }
  });
}

Deno.test("SwitchSim logs the pages of a super-packet that it cuts (X12)", async () => {
  const pair = await LoggedPair.create({ features: V1, bufferBytes: 1800 });
  const header = offloadHeader(SUPER_PACKET, MSS);
  pair.guest(0).send(build(SUPER_PACKET, true).frame, { header });
  const changed = pair.changedBy(() => pair.sim.turn());
  const marks = pair.takeMarks(1);
  deepStrictEqual(changed[1]!.filter((page) => !marks.includes(page)), []);
  ok(marks.length * PAGE >= SUPER_PACKET_BYTES);
  ok(pair.guest(1).receive().length > 10);
});

for (const features of [V1, V1 | EVENTS, PACKED, PACKED | EVENTS]) {
  Deno.test(`SwitchSim logs its wish to be kicked (features ${features.toString(16)}, X12)`, async () => {
    const pair = await LoggedPair.create({ features });
    const memories = pair.sim.guests.map(({ memory }) => memory.memory);
    const modules = await loadDataplane();
    const ring = new Dataplane(modules, pair.sim.state.memory, memories).ring(0);
    for (const action of [ring.disarm, ring.arm, ring.disarm]) {
      const [changed] = pair.changedBy(() => action(ringNumber(0, 1)));
      deepStrictEqual(pair.takeMarks(0), changed);
      strictEqual(changed!.length, 1);
    }
  });
}

Deno.test("SwitchSim logs nothing when nobody migrates the guest (X12)", async () => {
  const pair = await LoggedPair.create({ features: V1 });
  pair.stop();
  pair.guest(0).send(frameOf(1514));
  pair.sim.settle();
  for (const port of [0, 1]) deepStrictEqual(pair.takeMarks(port), []);
  strictEqual(pair.guest(1).receive().length, 1);
});

Deno.test("SwitchSim never writes behind the end of a log that is too short (X12, F92)", async () => {
  const pair = await LoggedPair.create({ features: V1 });
  // The guest's first page has bit 0 of the byte behind this.
  pair.shorten(START / BigInt(PAGE) / 8n);
  pair.guest(0).send(frameOf(1514));
  pair.sim.settle();
  for (const port of [0, 1]) deepStrictEqual(pair.takeMarks(port), []);
  strictEqual(pair.guest(1).receive().length, 1);
  ok(pair.sim.guests.every(({ isCanaryAlive }) => isCanaryAlive));
});

function frameOf(bytes: number): Uint8Array {
  return makeFrame(stationAddress(2), stationAddress(1), bytes);
}
