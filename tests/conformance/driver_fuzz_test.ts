/**
 * Rings that we drive against a back-end that writes anything: what comes of it is what an oracle says
 * that knows nothing of the data plane.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { headerLength } from "../../src/virtio/features.ts";
import { Random } from "../fuzz/random.ts";
import { DriverAttack } from "../support/driver_attack.ts";
import {
  expectReceive,
  expectTransmit,
  type OracleRing,
  slotMistake,
} from "../support/driver_oracle.ts";
import { DriverSim, type Range } from "../support/driver_sim.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { GUEST, JOINT } from "../support/joined_sim.ts";

/** LABSWITCH_DRIVER_SEED repeats a run. */
const SEED = Number(Deno.env.get("LABSWITCH_DRIVER_SEED") ?? 33);
/** Inputs of each format. */
const INPUTS = 3000;
/** Turns that an input may take: a burst for each 64 used entries, and one that finds nothing. */
const MOST_TURNS = 12;
/** All that lies beside the shared memory is looked at after so many inputs. */
const CANARY_INTERVAL = 100;
/** So often a back-end leaves by itself, and its successor finds rings that nobody has spoilt yet. */
const LEAVES = 0.05;

const FORMATS: Readonly<Record<string, readonly number[]>> = {
  "legacy": [],
  "split": [VIRTIO_F_VERSION_1],
  "split, mergeable": [VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_EVENT_IDX],
  "packed": [VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX],
  "packed, mergeable": [VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF],
  "split, mergeable, offloads": [
    ...[VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CSUM],
    ...[VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4],
  ],
  "packed, mergeable, offloads": [
    ...[VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CSUM],
    ...[VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4],
  ],
};

for (const [name, features] of Object.entries(FORMATS)) {
  Deno.test(
    `Driver rings do what the oracle says on ${INPUTS} hostile inputs (${name}, seed ${SEED})`,
    async () => {
      const guest = {
        features: featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF),
        buffers: 128,
      };
      using sim = await DriverSim.create(featureSet(...features), guest);
      const run = new Run(sim);
      for (let i = 0; i < INPUTS; i++) {
        try {
          run.input(i);
        } catch (error) {
          throw new Error(`input ${i} of seed ${SEED}, ${name}`, { cause: error });
        }
      }
      ok(run.frames > INPUTS / 2 && run.broken > INPUTS / 50, "the inputs say something");
      ok(run.broken < INPUTS / 2 && run.unsound > INPUTS / 50, "the inputs say something");
    },
  );
}

/** One run of inputs. */
class Run {
  /** Frames that came through. */
  frames = 0;
  /** Frames that could not be. */
  unsound = 0;
  /** Connections that ended with a broken ring. */
  broken = 0;
  readonly #sim: DriverSim;
  readonly #headerBytes: number;
  readonly #isMerging: boolean;
  readonly #isPacked: boolean;

  constructor(sim: DriverSim) {
    this.#sim = sim;
    this.#headerBytes = headerLength(sim.features);
    this.#isMerging = hasFeature(sim.features, VIRTIO_NET_F_MRG_RXBUF);
    this.#isPacked = hasFeature(sim.features, VIRTIO_F_RING_PACKED);
  }

  /** Writes, lets the switch work, and compares. */
  input(i: number): void {
    const sim = this.#sim;
    const random = new Random(SEED, i);
    new DriverAttack(sim, random, this.#headerBytes).run();
    const sends = random.chance(0.5) ? random.between(1, random.chance(0.05) ? 60 : 4) : 0;
    const sent = Array.from({ length: sends }, (_, k) => {
      const frame = makeFrame(BROADCAST, stationAddress(1), random.between(14, 1514), i + k);
      sim.guest.send(frame);
      return frame;
    });
    const expected = expectReceive(this.#ring(0), this.#headerBytes, this.#isMerging);
    const kept = sends > 0 ? expectTransmit(this.#ring(1)) : 0;
    const before = this.#dropped();
    this.#settle();
    sim.guest.takeSent();
    const after = this.#dropped();
    this.#checkReceived(expected.frames, after.frames - before.frames);
    strictEqual(after.unsound - before.unsound, expected.unsound);
    if (sends > 0) this.#checkSent(sent, kept);
    this.#checkFault(expected.isBroken, kept === null);
    this.frames += expected.frames.length;
    this.unsound += expected.unsound;
    if (i % CANARY_INTERVAL === 0) this.#checkCanaries();
    if (sim.fault() !== null) this.broken++;
    if (sim.fault() !== null || random.chance(LEAVES)) sim.connect();
  }

  #ring(index: number): OracleRing {
    const { view, receive, transmit } = this.#sim;
    const ring = index === 0 ? receive : transmit;
    return { view, ring, known: this.#sim.known(index), isPacked: this.#isPacked };
  }

  #settle(): void {
    let idle = 0;
    for (let turns = 0; idle < 2; turns++) {
      ok(turns < MOST_TURNS, "the work is bounded");
      idle = this.#sim.turn() > 0 ? 0 : idle + 1;
    }
  }

  // Frames of the back-end that were dropped for what is in them or for want of room, and others.
  #dropped(): { readonly frames: number; readonly unsound: number } {
    const { runt, "bad offload": offload, "same port": same, "bad chain": unsound } =
      this.#sim.counters(JOINT).drops;
    const { "no buffer": buffer, "too big": big, "cannot be segmented": cut } =
      this.#sim.counters(GUEST).drops;
    return { frames: runt + offload + same + buffer + big + cut, unsound };
  }

  // What came is what the back-end had in its slots, in that order, and nothing is missing.
  #checkReceived(expected: readonly Uint8Array[], dropped: number): void {
    const received = this.#sim.guest.receive();
    let next = 0;
    for (const { frame } of received) {
      const found = expected.findIndex((bytes, i) => i >= next && this.#isSame(bytes, frame));
      ok(found >= 0, "a frame came that the back-end did not send");
      next = found + 1;
    }
    strictEqual(received.length + dropped, expected.length, "frames came or were counted");
  }

  // A checksum may have been put in.
  #isSame(bytes: Uint8Array, frame: Uint8Array): boolean {
    const isPlain = (bytes[0]! & 1) === 0;
    if (bytes.length - this.#headerBytes !== frame.length) return false;
    let differences = 0;
    for (let i = 0; i < frame.length; i++) {
      if (bytes[this.#headerBytes + i] !== frame[i]) differences++;
    }
    return differences <= (isPlain ? 0 : 2);
  }

  // The last frames that were given to the back-end are those of this input.
  #checkSent(sent: readonly Uint8Array[], kept: number | null): void {
    if (kept === null) return;
    const { known, ring } = this.#ring(1);
    const placed = Math.min(sent.length, ring.size - kept);
    strictEqual(known.owners.reduce((sum, owner) => sum + owner, 0), kept + placed);
    const first = (known.nextAvail & (this.#isPacked ? 0x7fff : 0xffff)) - placed + ring.size;
    for (let i = 0; i < placed; i++) {
      const id = known.noted[(first + i) % ring.size]!;
      const at = known.slots + id * known.slotBytes + this.#headerBytes;
      deepStrictEqual(this.#sim.bytes.slice(at, at + sent[i]!.length), sent[i]);
    }
  }

  #checkFault(isReceiveBroken: boolean, isTransmitBroken: boolean): void {
    const fault = this.#sim.fault();
    strictEqual(fault !== null, isReceiveBroken || isTransmitBroken);
    if (!isReceiveBroken) strictEqual(slotMistake(this.#ring(0), true), null);
    if (!isTransmitBroken) strictEqual(slotMistake(this.#ring(1), false), null);
  }

  #checkCanaries(): void {
    ok(this.#sim.guest.isCanaryAlive, "nothing beside the receiver's buffers was written");
    const { shared, hidden } = this.#sim.ranges;
    const end = this.#sim.bytes.length;
    // What the switch knows of its slots is three bytes for each.
    const known = hidden.start + 2 * 3 * this.#sim.receive.size;
    for (
      const range of [
        { start: 0, end: shared.start },
        { start: shared.end, end: hidden.start },
        { start: known, end },
      ]
    ) strictEqual(this.#firstWritten(range), null);
  }

  #firstWritten({ start, end }: Range): number | null {
    const words = new Float64Array(this.#sim.bytes.buffer, start, (end - start) >> 3);
    const found = words.findIndex((word) => word !== 0);
    return found < 0 ? null : start + 8 * found;
  }
}
