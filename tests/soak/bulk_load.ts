/**
 * The bulk pair: two guests that send each other frames of mixed sizes at a steady, moderate rate.
 * The first one has segmentation offload and a split ring, the second one has neither.
 *
 * One thread plays both, and neither sends more than the other has buffers for. So nothing may be
 * lost but for want of buffers that broadcasts have taken, and that the switch counts.
 *
 * @module
 */
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { RawClient } from "../support/raw_client.ts";
import { BULK } from "./addresses.ts";
import type { Board, Counter } from "./board.ts";
import { follow, handshake, stopRings } from "./handshake.ts";
import { serveLoad } from "./load_scope.ts";
import { GuestRam, ramBytes, Station, type StationOptions } from "./station.ts";
import { Stream } from "./stream.ts";

/** From one batch to the next. */
const PACE_MS = 1;
/** Chains of a batch in either direction. */
const BATCH = 10;
/** Frames that may be on the way in one direction: half of what the receiver has buffers for. */
const WINDOW = 512;
/** When frames on the way count as lost, so that others may follow. */
const STALLED_MS = 1000;
/** How long the end waits for what is still on the way. */
const DRAIN_MS = 2000;
/** What the kernel calls the memory of these guests. */
const MEMFD = "labswitch-bulk";
/** Faults that are told; one is enough to fail. */
const MAX_FAULTS = 5;

const SIZES = { queueSize: 1024, pieces: 512, buffers: 1024, bufferBytes: 2048 } as const;
const FIRST: StationOptions = {
  ...SIZES,
  features: featureSet(
    VIRTIO_F_VERSION_1,
    VIRTIO_F_INDIRECT_DESC,
    VIRTIO_NET_F_CSUM,
    VIRTIO_NET_F_HOST_TSO4,
    VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_MRG_RXBUF,
  ),
};
const SECOND: StationOptions = {
  ...SIZES,
  features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX),
};

/** One direction. */
class Direction {
  readonly #board: Board;
  readonly #sender: Station;
  readonly #receiver: Station;
  readonly #stream: Stream;
  readonly #counters: readonly [sent: Counter, due: Counter, received: Counter];
  readonly #fault: (text: string) => void;
  /** Frames on the way, as far as is known. */
  #underWay = 0;
  #lastArrival = performance.now();
  #faults = 0;

  constructor(
    board: Board,
    [sender, receiver]: readonly [Station, Station],
    stream: Stream,
    which: "First" | "Second",
    fault: (text: string) => void,
  ) {
    this.#board = board;
    this.#sender = sender;
    this.#receiver = receiver;
    this.#stream = stream;
    this.#counters = [`bulkSent${which}`, `bulkDue${which}`, `bulkReceived${which}`];
    this.#fault = fault;
  }

  get isEmpty(): boolean {
    return this.#underWay === 0;
  }

  /** Takes what has arrived. */
  receive(): void {
    this.#receiver.receive((frame) => this.#accept(frame));
    if (performance.now() - this.#lastArrival > STALLED_MS) this.#underWay = 0;
  }

  /** Sends a batch, or less. */
  send(): void {
    for (let i = 0; i < BATCH; i++) {
      const chain = this.#stream.peek();
      if (this.#underWay + chain.frames > WINDOW) break;
      if (!this.#sender.send(chain.frame, chain.header)) break;
      this.#stream.advance();
      this.#underWay += chain.frames;
      this.#board.add(this.#counters[0]);
      this.#board.add(this.#counters[1], chain.frames);
    }
  }

  #accept(frame: Uint8Array): void {
    const arrival = this.#stream.accept(frame);
    if (arrival.kind === "foreign") return;
    if (arrival.kind === "bad") {
      if (++this.#faults <= MAX_FAULTS) this.#fault(arrival.reason);
      return;
    }
    this.#lastArrival = performance.now();
    this.#underWay = Math.max(0, this.#underWay - arrival.missing - 1);
    this.#board.add(this.#counters[2]);
  }
}

serveLoad(async ({ board, sockets, ready, fault }) => {
  using resources = new DisposableStack();
  const attach = async (socket: string, options: StationOptions) => {
    const ram = resources.use(new GuestRam(MEMFD, ramBytes(options)));
    const station = resources.use(new Station(ram, options));
    const client = resources.use(await RawClient.connect(socket));
    await follow(client, handshake(station));
    return { client, station };
  };
  const first = await attach(sockets[0]!, FIRST);
  const second = await attach(sockets[1]!, SECOND);
  ready();
  const stations = [first.station, second.station] as const;
  const directions = [
    new Direction(board, stations, new Stream(...BULK, true), "First", fault),
    new Direction(
      board,
      [stations[1], stations[0]],
      new Stream(BULK[1], BULK[0], false),
      "Second",
      fault,
    ),
  ];
  play(board, stations, directions);
  for (const { client } of [first, second]) await stopRings(client);
  return {};
});

function play(
  board: Board,
  stations: readonly Station[],
  directions: readonly Direction[],
): void {
  while (!board.isStopped) {
    for (const direction of directions) direction.receive();
    for (const direction of directions) direction.send();
    for (const station of stations) station.flush();
    board.pause(PACE_MS);
  }
  const deadline = performance.now() + DRAIN_MS;
  const isBusy = () =>
    directions.some(({ isEmpty }) => !isEmpty) ||
    stations.some(({ outstanding }) => outstanding > 0);
  while (isBusy() && performance.now() < deadline) {
    for (const direction of directions) direction.receive();
    for (const station of stations) station.flush();
  }
}
