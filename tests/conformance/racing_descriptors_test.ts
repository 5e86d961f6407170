/**
 * A guest whose vCPUs rewrite descriptors, tables and headers while the switch walks through them
 * (G55, G66, G67), in either ring format. It sends and receives all the time; two others stand by.
 *
 * Nothing outside of the attacker's regions may change, no byte from there may reach anybody, the
 * others lose nothing, and the attacker's port works again with a driver that keeps the rules.
 *
 * These races are short; `tests/e2e/racing_test.ts` runs each of them for a minute.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { VIRTQ_DESC_F_WRITE as WRITE } from "../../src/virtio/layouts.ts";
import { WRAP_COUNTER } from "../../src/virtio/packed_layouts.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { CANARY } from "../support/guest_memory.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { build } from "../support/packets.ts";
import { STEADY_NUMBER, SteadyReceiver, SteadySender } from "../support/steady_rings.ts";
import { Race } from "../support/race.ts";
import {
  prepareRacing,
  RACING_BUFFERS_BYTES,
  RACING_DATA_BYTES,
  RACING_KINDS,
  RACING_RING_SIZE,
  RACING_TABLES_BYTES,
  type RacingGuest,
  type RacingKind,
} from "../support/racing_rings.ts";

const RACE_MS = 300;
/** Turns between two looks at the clock. */
const TURNS_PER_CLOCK = 32;
/** On a busy machine it takes longer until both threads run at the same time. */
const LONGEST_RACE_MS = 10_000;
/** Chains of each kind that the switch must have met. */
const FEWEST_CHAINS = 32;

const FEATURES = featureSet(
  ...[VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CSUM],
  ...[VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN],
  VIRTIO_NET_F_HOST_USO,
);
const PACKED = featureSet(VIRTIO_F_RING_PACKED);
const [ATTACKER, SENDER, RECEIVER] = [0, 1, 2];

/** Two regions that follow each other in the guest and not in our mapping; the border is odd. */
const BORDER = 0x9_0000_0000n;
const HALF_BYTES = Math.ceil(RACING_TABLES_BYTES / 2 / 16) * 16 + 8;
/** Where the bystanders' memory starts: no address of the attacker's. */
const OTHERS_ADDRESS = 0x20_0000_0000n;
/** What the bystanders keep for themselves. */
const SECRET = 0xa3;
const SECRET_BYTES = 4096;
const SECRET_ADDRESS = 0x30_0000_0000n;

/** Frames that are sent beside the attack in each turn, to one address and to all in turn. */
const BURST = 32;
/** What is sent there: neither the canary nor the secret is in it. */
const BESIDE_BYTES = 300;
const MARK = 0x55;
const BESIDE = [stationAddress(RECEIVER), BROADCAST].map((to) =>
  makeFrame(to, stationAddress(SENDER), BESIDE_BYTES).fill(MARK, STEADY_NUMBER)
);
const LONGER_THAN_A_CHECKSUM = 3;
/** Turns after which a sender that waits is an error: rings may be looked at once in 16. */
const PATIENCE_TURNS = 32;

/** The scene of a race. */
class Scene {
  readonly attacker: GuestSim;
  readonly racing: RacingGuest;
  readonly #kind: RacingKind;
  readonly #others: readonly GuestSim[];
  readonly #sender: SteadySender;
  readonly #receiver: SteadyReceiver;
  #sent = 0;
  #arrived = 0;

  private constructor(readonly sim: SwitchSim, kind: RacingKind, isPacked: boolean) {
    this.#kind = kind;
    const [attacker, sender, receiver] = sim.guests;
    this.attacker = attacker!;
    this.#others = [sender!, receiver!];
    const secret = new Uint8Array(SECRET_BYTES).fill(SECRET);
    for (const { memory } of this.#others) memory.write(SECRET_ADDRESS, secret);
    this.#sender = new SteadySender(sender!, BESIDE);
    this.#receiver = new SteadyReceiver(receiver!);
    this.racing = this.#layOut(isPacked);
  }

  static async open(kind: RacingKind, isPacked: boolean): Promise<Scene> {
    const half = { guestAddress: BORDER, sizeBytes: HALF_BYTES };
    const attacker = {
      features: FEATURES | (isPacked ? PACKED : 0n),
      queueSize: RACING_RING_SIZE,
      buffers: 0,
      // Behind the last receive buffer there is room for the longest frame, should it go there.
      sendBytes: 2 * RACING_DATA_BYTES + RACING_BUFFERS_BYTES,
      moreRegions: [half, { ...half, guestAddress: BORDER - BigInt(HALF_BYTES) }],
    };
    const secret = { guestAddress: SECRET_ADDRESS, sizeBytes: SECRET_BYTES };
    const other = {
      ...{ guestAddress: OTHERS_ADDRESS, buffers: 0, moreRegions: [secret] },
      sendBytes: 2 ** 20,
    };
    const scene = new Scene(await SwitchSim.create([attacker, other, other]), kind, isPacked);
    scene.sim.guests[RECEIVER]!.send(makeFrame(BROADCAST, stationAddress(RECEIVER)));
    scene.sim.settle();
    return scene;
  }

  /** Writes what stands in the attacker's memory at first; returns what a vCPU is to do. */
  prepare(): ReturnType<typeof prepareRacing> {
    const { data, edge } = this.racing;
    for (const at of [data, edge]) this.attacker.memory.write(at, message());
    return prepareRacing(this.racing, this.#kind);
  }

  /** One turn of the switch, with frames beside the attack that must all arrive in their order. */
  turn(): void {
    this.#sender.send(BURST);
    this.#sent += BURST;
    let waiting = BURST;
    for (let turn = 0; waiting > 0; turn++) {
      ok(turn < PATIENCE_TURNS, "the sender waits");
      this.sim.turn();
      waiting -= this.#sender.takeSent();
    }
    this.#receiver.receive((frame) => {
      // What the attacker received it may send once more, but not before.
      if (isBeside(frame) && numberOf(frame) === this.#arrived) this.#arrived++;
      else checkBytes(frame, this.#kind);
    });
    strictEqual(this.#arrived, this.#sent);
    this.#restartBroken();
  }

  /** Whether many chains were taken from the attacker and filled for it, and many refused. */
  get hasMetBoth(): boolean {
    const { receivedFrames, transmittedFrames, ...others } = this.sim.counters(ATTACKER);
    const { runt, "bad chain": chains, "bad offload": offloads } = others.drops;
    const bad = others.badReceiveChains + others.ringFaults + runt + chains + offloads;
    return Math.min(receivedFrames, transmittedFrames, bad) >= FEWEST_CHAINS;
  }

  /** What must not have changed. */
  check(): void {
    for (const guest of [this.attacker, ...this.#others]) ok(guest.isCanaryAlive);
    for (const { memory } of this.#others) {
      ok(memory.read(SECRET_ADDRESS, SECRET_BYTES).every((byte) => byte === SECRET));
    }
  }

  /** Starts the attacker's rings as a new driver does; a frame passes in either direction. */
  checkPortWorks(): void {
    const { attacker, sim, racing } = this;
    for (const [index, { desc, end }] of racing.rings.entries()) {
      attacker.records.stopRing(index);
      attacker.memory.bytes.fill(0, desc, end);
      attacker.startRing(index);
    }
    const to = { addr: racing.buffers, len: 2048, flags: WRITE };
    const from = { addr: racing.data, len: racing.dataBytes };
    attacker.memory.write(racing.data, message());
    [to, from].forEach((descriptor, index) => {
      if (racing.isPacked) attacker.rawPacked(index).offer([descriptor]);
      else {
        attacker.raw(index).describe([descriptor]);
        attacker.raw(index).offer(0);
      }
    });
    sim.settle();
    const received: Uint8Array[] = [];
    this.#receiver.receive((frame) => received.push(frame.slice()));
    deepStrictEqual(received, [message().slice(12)]);
    this.turn();
    const flooded = attacker.memory.read(racing.buffers + 12n, BESIDE_BYTES);
    deepStrictEqual([isBeside(flooded), numberOf(flooded)], [true, this.#sent - BURST + 1]);
  }

  #layOut(isPacked: boolean): RacingGuest {
    const { attacker } = this;
    const { guestAddress, sizeBytes } = attacker.memory.regions[0]!;
    const end = guestAddress + BigInt(sizeBytes);
    const data = attacker.allocate(RACING_DATA_BYTES);
    return {
      ...{ memory: attacker.memory.memory, number: 0, isPacked },
      rings: [attacker.raw(0).places, attacker.raw(1).places],
      ...{ data, dataBytes: message().length, edge: end - BigInt(message().length) },
      buffers: attacker.allocate(RACING_BUFFERS_BYTES),
      // In the middle of a descriptor of the middle table the other region begins.
      tables: BORDER - BigInt(RACING_TABLES_BYTES / 2 + 8),
      hostile: [
        ...[end, end - 1n, end - 30n, guestAddress - 1n, BORDER - 30n, BORDER + BigInt(HALF_BYTES)],
        ...[0n, data | 1n << 40n, 1n << 63n, 2n ** 64n - 1n, SECRET_ADDRESS],
      ],
      localOf: (address) => attacker.memory.localOf(address),
    };
  }

  // Flipped addresses lead into the rings as well, and ids out of them. The driver begins anew.
  #restartBroken(): void {
    for (const index of [0, 1]) {
      if (this.sim.fault(ATTACKER, index) === 0) continue;
      this.prepare();
      this.attacker.startRing(index, this.racing.isPacked ? WRAP_COUNTER : this.#usedIndex(index));
    }
  }

  #usedIndex(index: number): number {
    return this.attacker.raw(index).usedIndex;
  }
}

/** The frame that the attacker sends when nothing is flipped, behind a header of zeros. */
function message(): Uint8Array<ArrayBuffer> {
  const { frame } = build({
    ...{ to: BROADCAST, from: stationAddress(ATTACKER), tags: [], version: 4, transport: "tcp" },
    ...{ networkOptions: 0, transportOptions: 0, identification: 0, sequence: 0, flags: 0 },
    ...{ ports: [1, 2], payload: new Uint8Array(1400).fill(0x11) },
  }, true);
  const bytes = new Uint8Array(12 + frame.length);
  bytes.set(frame, 12);
  return bytes;
}

function isBeside(frame: Uint8Array): boolean {
  return frame.length === BESIDE_BYTES && frame.at(-1) === MARK;
}

function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(STEADY_NUMBER, true);
}

// Nobody may see what lies between the attacker's regions, nor what another guest keeps.
function checkBytes(frame: Uint8Array, kind: RacingKind): void {
  // Only where no checksum is ever written, which may be anything, does a single byte tell.
  const run = kind === "len" ? 1 : LONGER_THAN_A_CHECKSUM;
  for (const byte of [CANARY, SECRET]) {
    const at = frame.indexOf(byte);
    if (at < 0) continue;
    for (let i = at; i + run <= frame.length; i++) {
      ok(frame.subarray(i, i + run).some((other) => other !== byte), `${byte} leaks at ${i}`);
    }
  }
}

/** Races for a while, and until the switch met what keeps the rules as well as what breaks them. */
async function race(scene: Scene): Promise<void> {
  const [flips, follows] = scene.prepare();
  const { memory } = scene.racing;
  const vcpu = await Race.start({ memories: [memory], flips, follows });
  try {
    const start = performance.now();
    for (let now = start; now < start + RACE_MS || !scene.hasMetBoth; now = performance.now()) {
      ok(now < start + LONGEST_RACE_MS, JSON.stringify(scene.sim.counters(ATTACKER)));
      for (let i = 0; i < TURNS_PER_CLOCK; i++) scene.turn();
    }
  } finally {
    await vcpu.stop();
  }
}

for (const [kind, what] of Object.entries(RACING_KINDS)) {
  for (const isPacked of [false, true]) {
    const format = isPacked ? "packed" : "split";
    Deno.test(`SwitchSim contains a vCPU that flips ${what} of ${format} rings`, async () => {
      const scene = await Scene.open(kind as RacingKind, isPacked);
      await race(scene);
      scene.check();
      scene.checkPortWorks();
      scene.check();
    });
  }
}
