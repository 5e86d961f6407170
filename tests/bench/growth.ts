/**
 * `deno task bench:growth`: what a frame costs as a switch grows, and what the offloads cost that it
 * does itself. Only the data plane's turns are timed, over simulated guests in this thread. A figure
 * is the median of all turns: one in which the thread lost its processor says nothing. The rows of a
 * table take turns in short blocks, so that all of them meet the same machine.
 *
 * @module
 */
import { Command } from "commander";
import { Epoll, EPOLLET, EPOLLIN } from "../../ffi/epoll.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import { ringNumber } from "../../src/dataplane/state.ts";
import { BURST } from "../../src/dataplane/state_layout.ts";
import type { Kicks } from "../../src/poll/poll_loop.ts";
import {
  featureSet,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_HOST_TSO4,
} from "../../src/virtio/features.ts";
import type { Buffer } from "../../src/virtio/driver_virtqueue.ts";
import type { GuestRegion } from "../support/guest_memory.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { NO_KICKS } from "../support/kicks.ts";
import { build, offloadHeader, type Packet, TCP_ACK } from "../support/packets.ts";
import { spreadOf } from "./report.ts";

const FRAME_BYTES = 64;
/** Bursts before the ones that count: everything is compiled and every cache is warm. */
const WARM_UP_BURSTS = 300;
/** Turns with one frame after which silent ports are known as such, and more than that. */
const SETTLING_TURNS = 5000;
/** Bursts of one row before it is the next one's turn, and those before that only warm the caches. */
const BLOCK_BURSTS = 100;
const BLOCK_WARM_UP_BURSTS = 10;
/** Room for a frame with its header in a further region, and bytes of such a region. */
const FRAME_ROOM_BYTES = 128;
const REGION_BYTES = 65_536;
const SUPER_PACKET_BYTES = 60_000;
const MSS = 1448;
const SUPER_PACKETS = 4;

const program = new Command("bench:growth")
  .description("What a frame costs as a switch grows")
  .option("--rounds <count>", "how often everything is measured", Number, 5)
  .option("--bursts <count>", "bursts of one measurement", Number, 1500)
  .option("--only <text>", "only tables whose title begins like this", "");
const { rounds, bursts, only } = program.parse(Deno.args, { from: "user" })
  .opts<{ rounds: number; bursts: number; only: string }>();

/** One burst, forwarded; returns the milliseconds of the switch's turn. */
type Measured = () => number;
/** A row of a table before it is measured. */
interface Prepared {
  readonly forward: Measured;
  /** Nanoseconds that a turn's milliseconds are for each frame or KiB. */
  readonly scale: number;
}
/** One row of a table: a name, and what is measured. */
type Row = readonly [name: string, prepare: (stack: DisposableStack) => Promise<Prepared>];

const tables: Readonly<Record<string, readonly Row[]>> = {
  "ports, two of them busy: ns per frame": [2, 4, 8, 16, 32, 64].map((ports) => [
    `${ports}`,
    (stack) =>
      perFrame({ guests: Array.from({ length: ports }, () => ({})), kicks: kicks(stack, ports) }),
  ]),
  "queue pairs: ns per frame": [1, 2, 4, 8].map((pairs) => [
    `${pairs}`,
    () => perFrame({ guests: [{ pairs }, { pairs }], pairs }),
  ]),
  "entries of a ring: ns per frame": [64, 256, 1024, 4096, 32768].map((queueSize) => [
    `${queueSize}`,
    () => perFrame({ guests: [{ queueSize }, { queueSize }] }),
  ]),
  "memory regions, a frame in each: ns per frame": [1, 2, 4, 8].map((regions) => [
    `${regions}`,
    () => perFrame({ guests: [{ moreRegions: moreRegions(regions - 1) }, {}], regions }),
  ]),
  "ring format: ns per frame": [
    ["split", () => perFrame({ guests: [{}, {}] })],
    ["packed", () => perFrame({ guests: [packed(), packed()] })],
  ],
  "addresses in use: ns per frame": [2, 16, 256, 1024, 4096].map((addresses) => [
    `${addresses}`,
    () => perFrame({ guests: [{}, {}], addresses, fdbSets: 2048 }),
  ]),
  [`super-packets of ${SUPER_PACKET_BYTES} bytes: ns per KiB`]: [
    ["whole", () => perKibibyte([VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4])],
    ["cut, checksums open", () => perKibibyte([VIRTIO_NET_F_GUEST_CSUM])],
    ["cut, checksums finished", () => perKibibyte([])],
  ],
};

for (const [title, rows] of Object.entries(tables)) {
  if (!title.startsWith(only)) continue;
  const values = new Map<string, number[]>(rows.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const found = await measure(rows.map(([, prepare]) => prepare));
    rows.forEach(([name], i) => values.get(name)!.push(found[i]!));
  }
  console.log(`\n| ${title} | median (least–greatest) |\n| --- | --- |`);
  for (const [name, found] of values) {
    const { median, min, max } = spreadOf(found);
    console.log(`| ${name} | ${median.toFixed(1)} (${min.toFixed(1)}–${max.toFixed(1)}) |`);
  }
}

/** Measures rows side by side, block by block; returns a figure for each. */
async function measure(rows: readonly Row[1][]): Promise<number[]> {
  using stack = new DisposableStack();
  const prepared: Prepared[] = [];
  for (const prepare of rows) prepared.push(await prepare(stack));
  const turnsMs = prepared.map((): number[] => []);
  for (const { forward } of prepared) {
    for (let burst = 0; burst < WARM_UP_BURSTS; burst++) forward();
  }
  for (let done = 0; done < bursts; done += BLOCK_BURSTS) {
    prepared.forEach(({ forward }, row) => {
      for (let burst = 0; burst < BLOCK_WARM_UP_BURSTS; burst++) forward();
      for (let burst = 0; burst < BLOCK_BURSTS; burst++) turnsMs[row]!.push(forward());
    });
  }
  return prepared.map(({ scale }, row) => spreadOf(turnsMs[row]!).median * scale);
}

/** Where a Worker hears of kicks: what it costs to look there counts. */
function kicks(stack: DisposableStack, ports: number): Epoll {
  const epoll = stack.use(Epoll.create());
  for (let port = 0; port < ports; port++) {
    epoll.add(stack.use(EventFd.create()).fd.number, EPOLLIN | EPOLLET, ringNumber(port, 1));
  }
  return epoll;
}

function packed(): GuestOptions {
  return { features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED) };
}

function moreRegions(count: number): GuestRegion[] {
  return Array.from({ length: count }, (_, i) => ({
    guestAddress: BigInt(i + 2) << 32n,
    sizeBytes: REGION_BYTES,
  }));
}

interface Load {
  readonly guests: readonly GuestOptions[];
  readonly fdbSets?: number;
  readonly pairs?: number;
  readonly addresses?: number;
  readonly regions?: number;
  readonly kicks?: Kicks;
}

/** Frames from the first guest to the second: nanoseconds for each. */
async function perFrame(load: Load): Promise<Prepared> {
  const { guests, fdbSets = 1024, pairs = 1, addresses = 2, regions = 1, kicks = NO_KICKS } = load;
  const sim = await SwitchSim.create(guests, { fdbSets, kicks });
  const [sender, receiver] = [sim.guests[0]!, sim.guests[1]!];
  const half = addresses / 2;
  for (let i = 0; i < half; i++) {
    receiver.send(makeFrame(BROADCAST, stationAddress(i), FRAME_BYTES));
    sim.settle();
    receiver.takeSent();
    for (const guest of sim.guests) guest.receive();
  }
  const frames = Array.from(
    { length: Math.max(BURST, half) },
    (_, i) => makeFrame(stationAddress(i % half), stationAddress(half + i % half), FRAME_BYTES),
  );
  const buffers = frames.map((frame, i) => store(sender, frame, i, regions));
  let next = 0;
  const forward = (count = BURST) => {
    for (let i = 0; i < count; i++) {
      sender.sendBuffers([buffers[next++ % buffers.length]!], i % pairs);
    }
    const turnMs = timeTurn(sim);
    for (let pair = 0; pair < pairs; pair++) {
      sender.takeSent(pair);
      receiver.receive(pair);
    }
    return turnMs;
  };
  if (kicks !== NO_KICKS) { for (let turn = 0; turn < SETTLING_TURNS; turn++) forward(1); }
  return { forward, scale: 1e6 / BURST };
}

function timeTurn(sim: SwitchSim): number {
  const start = performance.now();
  sim.turn();
  return performance.now() - start;
}

/** Puts a frame with an empty header into one of a guest's regions. */
function store(guest: GuestSim, frame: Uint8Array, number: number, regions: number): Buffer {
  const length = guest.headerBytes + frame.length;
  const region = guest.memory.regions[number % regions]!;
  const address = number % regions === 0
    ? guest.allocate(length)
    : region.guestAddress + BigInt(Math.trunc(number / regions) * FRAME_ROOM_BYTES);
  guest.memory.bytes.set(frame, guest.memory.localOf(address) + guest.headerBytes);
  guest.memory.bytes.fill(
    0,
    guest.memory.localOf(address),
    guest.memory.localOf(address) + guest.headerBytes,
  );
  return { address: Number(address), length, isWritable: false };
}

/** TCP in super-packets to a guest with such features: nanoseconds for each KiB. */
async function perKibibyte(features: readonly number[]): Promise<Prepared> {
  const sim = await SwitchSim.create([
    {
      features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4),
      sendBytes: 2 ** 20,
    },
    {
      features: featureSet(VIRTIO_F_VERSION_1, ...features),
      buffers: features.includes(VIRTIO_NET_F_GUEST_TSO4) ? SUPER_PACKETS * 2 : 256,
      bufferBytes: features.includes(VIRTIO_NET_F_GUEST_TSO4) ? 65_562 : 2048,
    },
  ]);
  const [sender, receiver] = [sim.guests[0]!, sim.guests[1]!];
  receiver.send(makeFrame(BROADCAST, stationAddress(1), FRAME_BYTES));
  sim.settle();
  sender.receive();
  const packet = superPacket(stationAddress(1), stationAddress(2));
  const { frame } = build(packet, true);
  const header = offloadHeader(packet, MSS);
  const forward = () => {
    for (let i = 0; i < SUPER_PACKETS; i++) sender.send(frame, { header });
    const turnMs = timeTurn(sim);
    sender.takeSent();
    receiver.receive();
    return turnMs;
  };
  return { forward, scale: 1e6 / (SUPER_PACKETS * frame.length / 1024) };
}

function superPacket(to: string, from: string): Packet {
  return {
    ...{
      to,
      from,
      tags: [],
      version: 4,
      transport: "tcp",
      networkOptions: 0,
      transportOptions: 12,
    },
    ...{ identification: 1, sequence: 1, flags: TCP_ACK, ports: [5201, 40_000] },
    payload: Uint8Array.from({ length: SUPER_PACKET_BYTES }, (_, i) => i * 7 & 0xff),
  };
}
