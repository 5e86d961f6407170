/**
 * Guests with a second processor that changes what the back-end is reading (G04, G08, G55, G66, G67).
 *
 * @module
 */
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_NET_F_CSUM,
} from "../../../../src/virtio/features.ts";
import { VIRTQ_DESC_F_NEXT as NEXT } from "../../../../src/virtio/layouts.ts";
import { bad, type Input } from "../input.ts";
import type { Race } from "../racer_worker.ts";
import { DATA, GOOD_BYTES, type RawGuest, TRANSMIT } from "../raw_guest.ts";
import { pause, type Scene } from "../scene.ts";

/** How long a race takes. */
const RACE_MS = 2000;
const REST_MS = 1;
const FEATURES = featureSet(VIRTIO_F_INDIRECT_DESC, VIRTIO_NET_F_CSUM);
const SIZE = 256;
/** Offsets in a descriptor. */
const [LEN, FLAGS_AND_NEXT] = [8, 12];
/** Another guest's memory, or nobody's. */
const ELSEWHERE = 0x7fff_f000;

/** G04, G08, G55, G66 and G67. */
export const RACE_INPUTS: readonly Input[] = [
  race("G04", (g) => {
    const at = g.places[TRANSMIT].avail;
    const flags = g.view.getUint32(at, true) & 0xffff;
    return [at, [flags | 0x8000_0000, flags | g.transmit.availIndex << 16]];
  }),
  race("G08", (g) => [g.places[TRANSMIT].avail + 4, [0, 0xffff_ffff]]),
  race("G55", (g) => {
    const table = g.table([g.good()]);
    g.transmit.describe(new Array(SIZE).fill(table));
    return [Number(table.addr - g.at(0)) + LEN, [GOOD_BYTES, 0xffff_ffff]];
  }),
  race("G66", (g) => [g.places[TRANSMIT].desc, [Number(g.at(DATA)), ELSEWHERE]], "address"),
  race("G66", (g) => [g.places[TRANSMIT].desc + LEN, [GOOD_BYTES, 0xffff_ffff]], "length"),
  race("G66", (g) => [g.places[TRANSMIT].desc + FLAGS_AND_NEXT, [0, NEXT]], "flags"),
  race("G66", (g) => {
    const at = g.places[TRANSMIT].desc + FLAGS_AND_NEXT;
    return [at, [NEXT | 1 << 16, NEXT | 0xffff_0000 | 0]];
  }, "next"),
  // csum_start and csum_offset.
  race("G67", (g) => {
    g.header(1);
    return [DATA + 8, [14, 0xffff_ffff]];
  }),
];

// The first descriptor is offered again and again while a word changes.
function race(
  id: string,
  target: (guest: RawGuest) => readonly [at: number, values: readonly [number, number]],
  variant?: string,
): Input {
  return bad(id, async (scene) => {
    const guest = await scene.guest({ features: FEATURES });
    guest.transmit.describe(new Array(SIZE).fill(guest.good()));
    const [at, values] = target(guest);
    const aligned = at & ~3;
    const stop = start({
      memory: guest.memory,
      at: aligned,
      values,
      end: new SharedArrayBuffer(4),
    });
    try {
      for (const deadline = performance.now() + RACE_MS; performance.now() < deadline;) {
        offerAll(guest);
        await pause(REST_MS);
      }
    } finally {
      await stop();
    }
    await scene.look(guest.client);
    noteProgress(scene, guest);
  }, variant);
}

function offerAll(guest: RawGuest): void {
  const free = SIZE - ((guest.transmit.availIndex - guest.transmit.usedIndex) & 0xffff);
  if (free > 0 && free <= SIZE) guest.transmit.offer(...new Array(free).fill(0));
  guest.kick();
}

function noteProgress(scene: Scene, guest: RawGuest): void {
  scene.note(`${guest.transmit.usedIndex} chains used`);
}

function start(race: Race): () => Promise<void> {
  const url = new URL("../racer_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  worker.postMessage(race);
  return async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.onmessage = () => resolve();
    Atomics.store(new Int32Array(race.end), 0, 1);
    await promise;
    worker.terminate();
  };
}
