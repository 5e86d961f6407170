/**
 * The rows of the catalogue of bad input (G) that one guest can act out on split rings alone.
 *
 * Guest 0 attacks; guests 1 and 2 stand by. After each attack the attacker's memory may have changed
 * in its used rings (and posted buffers) only, the others' memories not at all, and frames pass
 * between the bystanders as before.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { FAULT_AVAIL_INDEX, FAULT_CHAIN } from "../../src/dataplane/state_layout.ts";
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../src/virtio/layouts.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { linked, type RawDescriptor, type RawRing, writeTable } from "../support/raw_ring.ts";

const SIZE = 16;
const RECEIVE = 0;
const TRANSMIT = 1;
const FRAME = makeFrame(BROADCAST, stationAddress(66), 60);
const BYTES = new Uint8Array(12 + FRAME.length);
BYTES.set(FRAME, 12);
const PLAIN = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC);

/** The scene of an attack. */
class Attack {
  readonly attacker: GuestSim;
  readonly transmit: RawRing;
  readonly receive: RawRing;
  /** A good frame with its header in the attacker's memory. */
  readonly data: bigint;
  readonly #before: Uint8Array[];

  private constructor(readonly sim: SwitchSim) {
    this.attacker = sim.guests[0]!;
    this.transmit = this.attacker.raw(TRANSMIT);
    this.receive = this.attacker.raw(RECEIVE);
    this.data = this.attacker.allocate(4096);
    this.attacker.memory.write(this.data, BYTES);
    this.#before = sim.guests.map(({ memory }) => memory.bytes.slice());
  }

  static async prepare(features = PLAIN, size = SIZE): Promise<Attack> {
    const attacker = { features, queueSize: size, buffers: 0, sendBytes: 65536 };
    const sim = await SwitchSim.create([attacker, { buffers: 8 }, { buffers: 8 }]);
    // Refuses kicks, so that later turns write used entries only.
    sim.turn();
    return new Attack(sim);
  }

  /** The attacker's memory as a view, to write tables with. */
  get view(): DataView {
    return new DataView(this.attacker.memory.memory.buffer);
  }

  /** Writes a table somewhere; returns the descriptor that points to it. */
  table(entries: readonly RawDescriptor[], len = 16 * entries.length): RawDescriptor {
    const addr = this.attacker.allocate(16 * Math.max(1, entries.length));
    writeTable(this.view, this.attacker.memory.localOf(addr), entries);
    return { addr, len, flags: INDIRECT };
  }

  /** Takes what was written so far as the state to compare with. */
  begin(): void {
    this.sim.guests.forEach(({ memory }, i) => this.#before[i] = memory.bytes.slice());
  }

  /** Checks that nothing but the attacker's used rings changed, and `spared` in its memory. */
  checkMemory(spared: readonly (readonly [number, number])[] = []): void {
    const rings = [this.transmit, this.receive].map(({ places }) =>
      [places.used, places.end] as const
    );
    this.sim.guests.forEach(({ memory, isCanaryAlive }, i) => {
      const allowed = i === 0 ? [...rings, ...spared] : [];
      strictEqual(firstChange(memory.bytes, this.#before[i]!, allowed), -1, `guest ${i}`);
      ok(isCanaryAlive);
    });
  }

  /** Checks that frames still pass between the bystanders. */
  checkOthers(): void {
    const [, one, other] = this.sim.guests;
    for (const guest of [one!, other!]) guest.receive();
    const frame = makeFrame(BROADCAST, stationAddress(1));
    one!.send(frame);
    this.sim.settle();
    deepStrictEqual(other!.receive().map((received) => received.frame), [frame]);
    other!.send(makeFrame(stationAddress(1), stationAddress(2)));
    this.sim.settle();
    strictEqual(one!.receive().length, 1);
  }

  /** Checks that the attacker's own ring still carries a good frame, as R1 wants. */
  checkRingWorks(): void {
    this.transmit.describe([{ addr: this.data, len: BYTES.length }]);
    this.transmit.offer(0);
    this.sim.turn();
    deepStrictEqual(this.transmit.takeUsed(), [{ id: 0, len: 0 }]);
    deepStrictEqual(this.sim.guests[1]!.receive().map(({ frame }) => frame), [FRAME]);
    this.sim.guests[2]!.receive();
  }
}

function firstChange(
  bytes: Uint8Array,
  before: Uint8Array,
  allowed: readonly (readonly [number, number])[],
): number {
  return bytes.findIndex((byte, at) =>
    byte !== before[at] && !allowed.some(([from, to]) => at >= from && at < to)
  );
}

// ── Content that breaks a rule: the head comes back with length 0 and is counted (R1) ────────────

/** Why a frame is dropped. */
type Drop = "bad chain" | "bad offload" | "runt";

/** What an attack writes: descriptors from table index 0 on; 0 is offered. */
interface BadChain {
  /** The sentence behind "SwitchSim". */
  readonly name: string;
  readonly chain: (attack: Attack) => readonly RawDescriptor[];
  readonly drop?: Drop;
  readonly features?: bigint;
}

const good = ({ data }: Attack): RawDescriptor => ({ addr: data, len: BYTES.length });
const part = ({ data }: Attack, from: number, to: number): RawDescriptor => ({
  addr: data + BigInt(from),
  len: to - from,
});

/** A good frame, cut after its header, that goes on as `patch` says. */
function cut(attack: Attack, patch: Partial<RawDescriptor>): RawDescriptor[] {
  const [first, second] = linked([part(attack, 0, 12), part(attack, 12, 72)]);
  return [first!, { ...second!, ...patch }];
}

/** A one-descriptor chain with such a header before the frame. */
function withHeader(attack: Attack, ...header: number[]): RawDescriptor[] {
  attack.attacker.memory.write(attack.data, Uint8Array.from(header));
  return [good(attack)];
}

const BAD_CHAINS: readonly BadChain[] = [
  {
    name: "refuses a descriptor that points to itself (G25)",
    chain: (a) => [{ ...good(a), flags: NEXT, next: 0 }],
  },
  {
    name: "refuses a loop of two descriptors (G26)",
    chain: (a) => cut(a, { flags: NEXT, next: 0 }),
  },
  {
    name: "refuses a loop over the whole table (G27)",
    chain: (a) =>
      Array.from({ length: SIZE }, (_, i) => ({
        ...part(a, i, i + 1),
        flags: NEXT,
        next: (i + 1) % SIZE,
      })),
  },
  {
    name: "refuses a table longer than the queue (G29)",
    chain: (a) => [a.table(linked(Array.from({ length: SIZE + 1 }, (_, i) => part(a, i, i + 5))))],
  },
  {
    name: "refuses a next index as large as the queue (G30)",
    chain: (a) => cut(a, { flags: NEXT, next: SIZE }),
  },
  {
    name: "refuses a next index of 65535 (G30)",
    chain: (a) => cut(a, { flags: NEXT, next: 65535 }),
  },
  {
    name: "refuses a chain of empty descriptors (G32)",
    chain: (a) => linked(new Array(3).fill({ addr: a.data, len: 0 })),
  },
  {
    name: "refuses an empty descriptor in the middle (G33)",
    chain: (a) => linked([part(a, 0, 12), part(a, 12, 12), part(a, 12, 72)]),
  },
  {
    name: "refuses a chain of more than 2^32 bytes (G34)",
    chain: (a) => linked([good(a), { addr: a.data, len: 0xffffffff }, part(a, 0, 1000)]),
  },
  {
    name: "refuses a chain of 2^32 bytes and a good frame's worth (G34)",
    chain: (a) => linked([{ addr: a.data, len: 0xffffffff }, part(a, 0, BYTES.length + 1)]),
  },
  {
    name: "refuses a chain of one byte more than the largest frame (G35, G81)",
    chain: (a) => linked([good(a), ...sixteenBuffersOf(a, 65562 - BYTES.length)]),
  },
  {
    name: "refuses a chain of the largest frame with one byte in a further descriptor (G35, G81)",
    chain: (a) => linked([...sixteenBuffersOf(a, 65561).slice(0, 15), part(a, 0, 1)]),
  },
  {
    name: "refuses a loop behind the largest frame (G25, G35)",
    chain: (a) => {
      const chain = linked(sixteenBuffersOf(a, 65561));
      return [...chain.slice(0, -1), { ...chain.at(-1)!, flags: NEXT, next: 0 }];
    },
  },
  {
    name: "refuses a chain of 1 MiB (G35)",
    chain: (a) => linked(new Array(SIZE).fill({ addr: a.data, len: 65536 })),
  },
  {
    name: "refuses a descriptor of 0xffffffff bytes (G36)",
    chain: (a) => [{ addr: a.data, len: 0xffffffff }],
  },
  {
    name: "drops a chain one byte shorter than the header (G37)",
    chain: (a) => [part(a, 0, 11)],
    drop: "runt",
  },
  {
    name: "drops a chain of one byte (G37)",
    chain: (a) => [part(a, 0, 1)],
    drop: "runt",
  },
  ...Array.from({ length: 14 }, (_, payload): BadChain => ({
    name: `drops a frame of ${payload} bytes (G37, G98)`,
    chain: (a) => [part(a, 0, 12 + payload)],
    drop: "runt",
  })),
  {
    name: "refuses a transmit chain that starts with a writable descriptor (G40)",
    chain: (a) => linked([{ ...part(a, 0, 12), flags: WRITE }, part(a, 12, 72)]),
  },
  {
    name: "refuses a transmit chain of one writable descriptor (G40)",
    chain: (a) => [{ ...good(a), flags: WRITE }],
  },
  {
    name: "refuses a readable descriptor behind a writable one (G42)",
    chain: (a) => linked([part(a, 0, 12), { ...part(a, 12, 20), flags: WRITE }, part(a, 20, 72)]),
  },
  {
    name: "refuses readable and writable descriptors in turn (G43)",
    chain: (a) =>
      linked([0, WRITE, 0, WRITE].map((flags, i) => ({ ...part(a, i * 18, i * 18 + 18), flags }))),
  },
  {
    name: "refuses INDIRECT and NEXT together (G45)",
    chain: (a) => [{ ...a.table([good(a)]), flags: INDIRECT | NEXT, next: 1 }, good(a)],
  },
  {
    name: "refuses INDIRECT that was not negotiated (G46)",
    chain: (a) => [a.table([good(a)])],
    features: featureSet(VIRTIO_F_VERSION_1),
  },
  {
    name: "refuses a table inside a table (G47)",
    chain: (a) => [a.table([a.table([good(a)])])],
  },
  {
    name: "refuses a table that points to itself (G47)",
    chain: (a) => {
      const pointer = a.table([good(a)]);
      writeTable(a.view, a.attacker.memory.localOf(pointer.addr), [pointer]);
      return [pointer];
    },
  },
  ...[8, 15, 17, 24, 33].map((len): BadChain => ({
    name: `refuses a table of ${len} bytes (G48)`,
    chain: (a) => [a.table([good(a), good(a)], len)],
  })),
  {
    name: "refuses a table of 0 bytes (G49)",
    chain: (a) => [a.table([good(a)], 0)],
  },
  ...[16 * 65536, 0xfffffff0, 0xffffffff].map((len): BadChain => ({
    name: `refuses a table of ${len} bytes (G50)`,
    chain: (a) => [a.table([good(a)], len)],
  })),
  {
    name: "refuses a loop inside a table (G52)",
    chain: (a) => [a.table([{ ...part(a, 0, 40), flags: NEXT, next: 1 }, {
      ...part(a, 40, 72),
      flags: NEXT,
      next: 0,
    }])],
  },
  {
    name: "refuses a next index behind the end of a table (G30, G52)",
    chain: (a) => [a.table([{ ...part(a, 0, 72), flags: NEXT, next: 1 }])],
  },
  {
    name: "refuses a table that is outside memory (G53)",
    chain: () => [{ addr: 0xdead_0000_0000n, len: 32, flags: INDIRECT }],
  },
  {
    name: "refuses an empty buffer at an address that is not valid (G62)",
    chain: (a) => linked([good(a), { addr: 1n << 63n, len: 0 }]),
  },
  {
    name: "refuses NEEDS_CSUM that was not negotiated (G71)",
    chain: (a) => withHeader(a, 1, 0, 0, 0, 0, 0, 14, 0, 6, 0),
    drop: "bad offload",
  },
  {
    name: "refuses csum_start past the frame (G68)",
    chain: (a) => withHeader(a, 1, 0, 0, 0, 0, 0, 61, 0, 0, 0),
    drop: "bad offload",
  },
  {
    name: "refuses csum_offset past the frame (G69)",
    chain: (a) => withHeader(a, 1, 0, 0, 0, 0, 0, 50, 0, 9, 0),
    drop: "bad offload",
  },
  {
    name: "refuses csum_start and csum_offset of 0xffff (G70)",
    chain: (a) => withHeader(a, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
    drop: "bad offload",
  },
  ...[2, 6, 0x7f, 0xff].map((gsoType): BadChain => ({
    name: `refuses the unknown gso_type ${gsoType} (G72)`,
    chain: (a) => withHeader(a, 0, gsoType, 0, 0, 100, 0),
    drop: "bad offload",
  })),
  ...[1, 3, 4, 5, 0x81, 0x84].map((gsoType): BadChain => ({
    name: `refuses gso_type ${gsoType} that was not negotiated (G73, G75, G77, G78, G79)`,
    chain: (a) => withHeader(a, 1, gsoType, 54, 0, 0, 0, 34, 0, 16, 0),
    drop: "bad offload",
  })),
  ...[0, 1, 0xffff].map((gsoSize): BadChain => ({
    name: `refuses GSO with gso_size ${gsoSize} (G73, G74)`,
    chain: (a) => withHeader(a, 1, 1, 54, 0, gsoSize & 0xff, gsoSize >> 8, 34, 0, 16, 0),
    drop: "bad offload",
  })),
];

function sixteenBuffersOf(attack: Attack, total: number): RawDescriptor[] {
  const each = Math.ceil(total / 15);
  return Array.from({ length: 15 }, (_, i) => ({
    addr: attack.data + 4096n,
    len: Math.min(each, total - i * each),
  }));
}

for (const { name, chain, drop = "bad chain", features = PLAIN } of BAD_CHAINS) {
  Deno.test(`SwitchSim ${name}`, async () => {
    const attack = await Attack.prepare(features);
    attack.transmit.describe(chain(attack));
    attack.begin();
    attack.transmit.offer(0);
    strictEqual(attack.sim.turn(), 1);
    deepStrictEqual(attack.transmit.takeUsed(), [{ id: 0, len: 0 }]);
    const { drops, receivedFrames, flooded } = attack.sim.counters(0);
    strictEqual(drops[drop], 1);
    deepStrictEqual([receivedFrames, flooded], [0, 0]);
    strictEqual(attack.sim.fault(0, TRANSMIT), 0);
    attack.checkMemory(availOf(attack));
    attack.attacker.memory.write(attack.data, BYTES);
    attack.checkRingWorks();
    attack.checkOthers();
  });
}

/** The attacker writes its available rings itself. */
function availOf({ transmit, receive }: Attack): [number, number][] {
  return [transmit, receive].map(({ places }) => [places.avail, places.used]);
}

// ── A ring that is incoherent: it is quarantined, all others go on (R2) ──────────────────────────

const BAD_RINGS: readonly {
  readonly name: string;
  readonly fault: number;
  readonly break: (ring: RawRing) => void;
}[] = [
  {
    name: "available index jumps ahead by one more than the queue size (G01)",
    fault: FAULT_AVAIL_INDEX,
    break: (ring) => ring.availIndex += SIZE + 1,
  },
  {
    name: "available index jumps ahead by half its range (G01)",
    fault: FAULT_AVAIL_INDEX,
    break: (ring) => ring.availIndex += 0x8000,
  },
  {
    name: "available index moves back by one (G03)",
    fault: FAULT_AVAIL_INDEX,
    break: (ring) => ring.availIndex -= 1,
  },
  ...[SIZE, SIZE + 1, 0x8000, 65535].map((head) => ({
    name: `head is ${head} (G06)`,
    fault: FAULT_CHAIN,
    break: (ring: RawRing) => ring.offer(head),
  })),
];

for (const { name, fault, break: breakRing } of BAD_RINGS) {
  Deno.test(`SwitchSim quarantines a transmit ring whose ${name}`, async () => {
    const attack = await Attack.prepare();
    attack.checkRingWorks();
    attack.begin();
    breakRing(attack.transmit);
    strictEqual(attack.sim.turn(), 0);
    strictEqual(attack.sim.fault(0, TRANSMIT), fault);
    strictEqual(attack.sim.counters(0).ringFaults, 1);
    attack.checkMemory(availOf(attack));
    attack.sim.turn();
    strictEqual(attack.sim.counters(0).ringFaults, 1);
    attack.checkOthers();
    restart(attack, TRANSMIT);
    attack.checkRingWorks();
  });

  Deno.test(`SwitchSim quarantines a receive ring whose ${name}`, async () => {
    const attack = await Attack.prepare();
    attack.begin();
    breakRing(attack.receive);
    attack.checkOthers();
    strictEqual(attack.sim.fault(0, RECEIVE), fault);
    strictEqual(attack.sim.counters(0).ringFaults, 1);
    const { drops } = attack.sim.counters(0);
    // Only the first of the two bystanders' frames was flooded.
    strictEqual(drops["no buffer"] + drops["not ready"], 1);
    deepStrictEqual(attack.receive.takeUsed(), []);
    attack.checkRingWorks();
    restart(attack, RECEIVE);
    receiveOne(attack);
  });
}

/** What GET_VRING_BASE and a new SET_VRING_KICK do: the indexes start where used stands. */
function restart({ attacker }: Attack, index: number): void {
  const ring = attacker.raw(index);
  attacker.records.stopRing(index);
  ring.availIndex = ring.usedIndex;
  attacker.startRing(index, ring.usedIndex);
}

/** Posts one good receive buffer and sees a frame arrive there. */
function receiveOne(attack: Attack): void {
  const at = attack.attacker.allocate(256);
  const ring = attack.attacker.raw(RECEIVE);
  ring.describe([{ addr: at, len: 256, flags: WRITE }], 3);
  ring.offer(3);
  const frame = makeFrame(BROADCAST, stationAddress(1), 70);
  attack.sim.guests[1]!.send(frame);
  attack.sim.turn();
  deepStrictEqual(ring.takeUsed(), [{ id: 3, len: 82 }]);
  deepStrictEqual(attack.attacker.memory.read(at + 12n, 70), frame);
  attack.sim.guests[2]!.receive();
}

Deno.test("SwitchSim takes the chains before a bad head of a transmit ring (G06)", async () => {
  const attack = await Attack.prepare();
  attack.transmit.describe([good(attack)]);
  attack.transmit.offer(0, SIZE, 0);
  strictEqual(attack.sim.turn(), 1);
  deepStrictEqual(attack.transmit.takeUsed(), [{ id: 0, len: 0 }]);
  strictEqual(attack.sim.fault(0, TRANSMIT), FAULT_CHAIN);
});

Deno.test("SwitchSim delivers into the buffers before a bad head of a receive ring (G06)", async () => {
  const attack = await Attack.prepare();
  const at = attack.attacker.allocate(256);
  attack.receive.describe([{ addr: at, len: 256, flags: WRITE }]);
  attack.receive.offer(0, 65535);
  for (let i = 0; i < 3; i++) attack.sim.guests[1]!.send(FRAME);
  attack.sim.turn();
  deepStrictEqual(attack.receive.takeUsed(), [{ id: 0, len: BYTES.length }]);
  strictEqual(attack.sim.fault(0, RECEIVE), FAULT_CHAIN);
  attack.sim.guests[2]!.receive();
  attack.checkOthers();
});

Deno.test("SwitchSim takes an available index ahead by exactly the queue size (G02)", async () => {
  const attack = await Attack.prepare();
  attack.transmit.describe(new Array(SIZE).fill(good(attack)));
  attack.transmit.offer(...Array.from({ length: SIZE }, (_, i) => i));
  strictEqual(attack.sim.turn(), SIZE);
  strictEqual(attack.transmit.takeUsed().length, SIZE);
});

Deno.test("SwitchSim takes the same head twice in a burst and returns it twice (G07)", async () => {
  const attack = await Attack.prepare();
  attack.transmit.describe([good(attack)]);
  attack.transmit.offer(0, 0, 0);
  strictEqual(attack.sim.turn(), 3);
  deepStrictEqual(attack.transmit.takeUsed(), new Array(3).fill({ id: 0, len: 0 }));
  strictEqual(attack.sim.guests[1]!.receive().length, 3);
  attack.checkOthers();
});

Deno.test("SwitchSim takes a chain that runs through another one in the burst (G31)", async () => {
  const attack = await Attack.prepare();
  const chain = linked([part(attack, 0, 12), part(attack, 12, 40), part(attack, 40, 72)]);
  attack.transmit.describe(chain);
  attack.transmit.offer(0, 1, 2);
  strictEqual(attack.sim.turn(), 3);
  deepStrictEqual(attack.transmit.takeUsed().map(({ id }) => id), [0, 1, 2]);
  attack.checkOthers();
});

Deno.test("SwitchSim goes by its own copy of the used index (G11)", async () => {
  const attack = await Attack.prepare();
  attack.checkRingWorks();
  attack.transmit.usedIndex = 40_000;
  attack.view.setBigUint64(attack.transmit.places.used + 4 + 8, ~0n, true);
  attack.transmit.describe([good(attack)], 5);
  attack.transmit.offer(5);
  strictEqual(attack.sim.turn(), 1);
  strictEqual(attack.transmit.usedIndex, 2);
  strictEqual(attack.view.getUint32(attack.transmit.places.used + 4 + 8, true), 5);
});

Deno.test("SwitchSim takes nothing when it is kicked without work (G14)", async () => {
  const attack = await Attack.prepare();
  for (let i = 0; i < 1000; i++) strictEqual(attack.sim.turn(), 0);
  attack.checkMemory();
});

Deno.test("SwitchSim contains a descriptor table, available and used ring in one place (G15)", async () => {
  for (const [avail, used] of [[0, 0], [2, 4], [16, 16], [0, 64], [4, 0]]) {
    const attack = await Attack.prepare();
    const { places } = attack.transmit;
    const overlapping = {
      ...places,
      avail: places.desc + avail!,
      used: places.desc + used!,
    };
    const { records } = attack.attacker;
    records.startRing(TRANSMIT, { size: SIZE, places: overlapping, index: 0, callFd: -1 });
    attack.begin();
    for (let i = 0; i < 200; i++) attack.sim.turn();
    attack.checkMemory([[places.desc, places.end]]);
    attack.checkOthers();
  }
});

Deno.test("SwitchSim contains a receive buffer that is the used ring (G16)", async () => {
  const attack = await Attack.prepare();
  const { used, end } = attack.receive.places;
  attack.receive.describe([{ addr: addressOf(attack, used), len: end - used, flags: WRITE }]);
  attack.receive.offer(0);
  attack.begin();
  attack.checkOthers();
  strictEqual(attack.receive.usedIndex, 1);
  attack.checkRingWorks();
});

Deno.test("SwitchSim walks its own copy when a receive buffer is the descriptor table (G17)", async () => {
  const attack = await Attack.prepare();
  const { desc, avail } = attack.receive.places;
  const table = { addr: addressOf(attack, desc), len: avail - desc, flags: WRITE };
  attack.receive.describe(new Array(SIZE).fill(table));
  attack.receive.offer(0, 1);
  for (let i = 0; i < 2; i++) attack.sim.guests[1]!.send(FRAME);
  attack.sim.turn();
  // Both were read before either was written.
  deepStrictEqual(attack.receive.takeUsed().map(({ len }) => len), [72, 72]);
  deepStrictEqual(attack.attacker.memory.read(table.addr + 12n, 60), FRAME);
  attack.sim.guests[2]!.receive();
  attack.checkOthers();
});

Deno.test("SwitchSim sends what the used ring holds when a transmit buffer is there (G18)", async () => {
  const attack = await Attack.prepare();
  const { used } = attack.transmit.places;
  // Behind flags and index, whose value would be taken for an offload.
  attack.transmit.describe([{ addr: addressOf(attack, used + 8), len: 72 }]);
  attack.transmit.offer(0);
  strictEqual(attack.sim.turn(), 1);
  deepStrictEqual(attack.sim.guests[1]!.receive()[0]?.frame, new Uint8Array(60));
});

function addressOf({ attacker }: Attack, local: number): bigint {
  const { guestAddress, localAddress } = attacker.memory.regions[0]!;
  return guestAddress + BigInt(local - localAddress);
}

Deno.test("SwitchSim quarantines or empties a ring that is zeroed while it runs, and restarts it (G24)", async () => {
  for (const done of [1, 15, 16, 100]) {
    const attack = await Attack.prepare();
    for (let i = 0; i < done; i++) attack.checkRingWorks();
    const { desc, end } = attack.transmit.places;
    attack.attacker.memory.bytes.fill(0, desc, end);
    for (let i = 0; i < 10; i++) attack.sim.turn();
    strictEqual(attack.sim.fault(0, TRANSMIT), FAULT_AVAIL_INDEX);
    attack.checkOthers();
    attack.attacker.startRing(TRANSMIT, 0);
    attack.transmit.skipUsed(0);
    attack.checkRingWorks();
  }
});

// ── Frames that are odd but legal ────────────────────────────────────────────────────────────────

Deno.test("SwitchSim carries the largest frame and refuses one byte more (G81, L13)", async () => {
  const attack = await Attack.prepare();
  for (const [length, isCarried] of [[65549, true], [65550, false]] as const) {
    const chain = linked([good(attack), ...sixteenBuffersOf(attack, 12 + length - BYTES.length)]);
    attack.transmit.describe(chain);
    attack.transmit.offer(0);
    attack.sim.turn();
    const { receivedBytes, drops } = attack.sim.counters(0);
    deepStrictEqual([receivedBytes, drops["bad chain"]], [65549, isCarried ? 0 : 1]);
  }
});

Deno.test("SwitchSim sends the same bytes several times when a chain lists them so (G87)", async () => {
  const attack = await Attack.prepare();
  attack.transmit.describe(linked([good(attack), ...new Array(10).fill(part(attack, 20, 30))]));
  attack.transmit.offer(0);
  attack.sim.turn();
  const { frame } = attack.sim.guests[1]!.receive()[0]!;
  strictEqual(frame.length, 160);
  for (let i = 60; i < 160; i += 10) deepStrictEqual(frame.slice(i, i + 10), FRAME.slice(8, 18));
});

// ── Receive buffers ──────────────────────────────────────────────────────────────────────────────

/** Bad receive chains; each comes back with length 0 and the frame goes to the good one behind. */
const BAD_RECEIVE_CHAINS: readonly {
  readonly name: string;
  readonly chain: (attack: Attack) => readonly RawDescriptor[];
}[] = [
  {
    name: "that is readable (G41)",
    chain: (a) => [{ addr: a.data, len: 256 }],
  },
  {
    name: "that starts readable (G41)",
    chain: (a) => linked([part(a, 0, 12), { ...part(a, 12, 300), flags: WRITE }]),
  },
  {
    name: "with a readable descriptor among those it needs (G41)",
    chain: (a) => linked([{ ...part(a, 0, 12), flags: WRITE }, part(a, 12, 300)]),
  },
  {
    name: "that points to itself (G25)",
    chain: (a) => [{ ...part(a, 0, 4), flags: WRITE | NEXT, next: 0 }],
  },
  {
    name: "with a next index as large as the queue (G30)",
    chain: (a) => [{ ...part(a, 0, 20), flags: WRITE | NEXT, next: SIZE }],
  },
  {
    name: "of empty descriptors (G32)",
    chain: (a) => linked(new Array(2).fill({ addr: a.data, len: 0, flags: WRITE })),
  },
  {
    name: "shorter than the header (G86)",
    chain: (a) => [{ ...part(a, 0, 11), flags: WRITE }],
  },
  {
    name: "of one byte (G84)",
    chain: (a) => [{ ...part(a, 0, 1), flags: WRITE }],
  },
  {
    name: "with INDIRECT and NEXT together (G45)",
    chain: (a) => [{ ...a.table([{ ...part(a, 0, 200), flags: WRITE }]), flags: INDIRECT | NEXT }],
  },
  {
    name: "with a table of 0 bytes (G49)",
    chain: (a) => [a.table([{ ...part(a, 0, 200), flags: WRITE }], 0)],
  },
  {
    name: "with a table longer than the queue (G29)",
    chain: (a) => [a.table(linked(new Array(SIZE + 1).fill({ ...part(a, 0, 200), flags: WRITE })))],
  },
  {
    name: "with a table inside a table (G47)",
    chain: (a) => [a.table([a.table([{ ...part(a, 0, 200), flags: WRITE }])])],
  },
  {
    name: "outside memory (G56)",
    chain: () => [{ addr: 0x7777_0000_0000n, len: 2048, flags: WRITE }],
  },
];

for (const mergeable of [false, true]) {
  const features = mergeable ? PLAIN | featureSet(VIRTIO_NET_F_MRG_RXBUF) : PLAIN;
  for (const { name, chain } of BAD_RECEIVE_CHAINS) {
    const kind = mergeable ? "mergeable " : "";
    Deno.test(`SwitchSim gives back a ${kind}receive chain ${name}`, async () => {
      const attack = await Attack.prepare(features);
      const at = attack.attacker.allocate(256);
      attack.receive.describe(chain(attack));
      attack.receive.describe([{ addr: at, len: 256, flags: WRITE }], SIZE - 1);
      attack.begin();
      attack.receive.offer(0, SIZE - 1);
      attack.sim.guests[1]!.send(FRAME);
      attack.sim.turn();
      deepStrictEqual(attack.receive.takeUsed(), [{ id: 0, len: 0 }, { id: SIZE - 1, len: 72 }]);
      deepStrictEqual(attack.attacker.memory.read(at + 12n, 60), FRAME);
      strictEqual(attack.sim.counters(0).badReceiveChains, 1);
      strictEqual(attack.sim.fault(0, RECEIVE), 0);
      const buffer = attack.attacker.memory.localOf(at);
      const { memory } = attack.attacker;
      strictEqual(memory.bytes[buffer + 72], 0);
      attack.sim.guests[2]!.receive();
      attack.checkOthers();
    });
  }
}

Deno.test("SwitchSim gives the buffers of a frame back with a bad one among them (G88)", async () => {
  const attack = await Attack.prepare(PLAIN | featureSet(VIRTIO_NET_F_MRG_RXBUF));
  const at = attack.attacker.allocate(4096);
  const buffer = (i: number): RawDescriptor => ({
    addr: at + BigInt(i * 40),
    len: 40,
    flags: WRITE,
  });
  attack.receive.describe([buffer(0), { addr: 0n, len: 40, flags: WRITE }, buffer(1), buffer(2)]);
  attack.receive.offer(0, 1, 2, 3);
  attack.sim.guests[1]!.send(FRAME);
  attack.sim.turn();
  deepStrictEqual(attack.receive.takeUsed(), [
    ...[{ id: 0, len: 0 }, { id: 1, len: 0 }],
    ...[{ id: 2, len: 40 }, { id: 3, len: 32 }],
  ]);
  deepStrictEqual(attack.attacker.memory.read(at + 52n, 60), FRAME);
  // num_buffers counts the buffers that hold the frame.
  strictEqual(attack.attacker.memory.read(at + 50n, 1)[0], 2);
});

Deno.test("SwitchSim bounds its work on a ring full of 1-byte buffers (G84)", async () => {
  const attack = await Attack.prepare(PLAIN | featureSet(VIRTIO_NET_F_MRG_RXBUF), 32768);
  const byte = { addr: attack.data, len: 1, flags: WRITE };
  attack.receive.describe(new Array(32768).fill(byte));
  attack.receive.offer(...Array.from({ length: 32768 }, (_, i) => i));
  const start = performance.now();
  attack.sim.guests[1]!.send(makeFrame(BROADCAST, stationAddress(1), 9000));
  attack.sim.turn();
  ok(performance.now() - start < 2000);
  strictEqual(attack.receive.takeUsed().every(({ len }) => len === 0), true);
  strictEqual(attack.sim.counters(0).badReceiveChains, 32768);
  strictEqual(attack.sim.counters(0).drops["no buffer"], 1);
  attack.sim.guests[2]!.receive();
  attack.checkOthers();
});

Deno.test("SwitchSim writes a frame into a chain that lists the same address many times (G87)", async () => {
  const attack = await Attack.prepare();
  const at = attack.attacker.allocate(64);
  attack.receive.describe(linked(new Array(10).fill({ addr: at, len: 16, flags: WRITE })));
  attack.receive.offer(0);
  attack.begin();
  attack.sim.guests[1]!.send(FRAME);
  attack.sim.turn();
  deepStrictEqual(attack.receive.takeUsed(), [{ id: 0, len: 72 }]);
  attack.sim.guests[2]!.receive();
  attack.checkOthers();
});

Deno.test("SwitchSim stays in the attacker's memory when a receive chain overlaps everything (G87)", async () => {
  const attack = await Attack.prepare();
  const { guestAddress, sizeBytes } = attack.attacker.memory.regions[0]!;
  const all = { addr: guestAddress, len: sizeBytes, flags: WRITE };
  attack.receive.describe(new Array(SIZE).fill(all));
  attack.receive.offer(...Array.from({ length: SIZE }, (_, i) => i));
  for (let i = 0; i < 8; i++) {
    attack.sim.guests[1]!.send(makeFrame(BROADCAST, stationAddress(1), 1514));
  }
  attack.sim.settle();
  ok(attack.sim.guests.every(({ memory }) => memory.isCanaryAlive));
  attack.sim.guests[2]!.receive();
  attack.checkOthers();
});

Deno.test("SwitchSim finishes a turn over the longest chains in time (G27, G34)", async () => {
  const attack = await Attack.prepare(PLAIN, 32768);
  const byte = (i: number): RawDescriptor => ({ addr: attack.data, len: 1, flags: NEXT, next: i });
  attack.transmit.describe(Array.from({ length: 32768 }, (_, i) => byte((i + 1) % 32768)));
  attack.transmit.offer(...new Array(64).fill(0));
  const start = performance.now();
  let turns = 0;
  while (attack.sim.turn() > 0) turns++;
  ok(performance.now() - start < 5000);
  ok(turns <= 64);
  strictEqual(attack.transmit.takeUsed().length, 64);
  strictEqual(attack.sim.counters(0).drops["bad chain"], 64);
  attack.checkOthers();
});
