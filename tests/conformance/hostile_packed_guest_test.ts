import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { FAULT_CHAIN } from "../../src/dataplane/state_layout.ts";
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../src/virtio/layouts.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import {
  type RawPackedDescriptor,
  type RawPackedRing,
  writePackedTable,
} from "../support/raw_packed_ring.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);
/** Entries of the attacker's rings; no power of two. */
const SIZE = 12;
const PACKED = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED);
const FEATURES = PACKED | featureSet(VIRTIO_F_INDIRECT_DESC);
const FRAME = makeFrame(TO, FROM);
const BYTES = new Uint8Array([...new Uint8Array(12), ...FRAME]);
const AVAIL = 0x80;
const USED = 0x8000;

/** An attacker (guest 0) whose packed transmit ring is written by hand, a victim and a witness. */
class Attack {
  readonly attacker: GuestSim;
  readonly ring: RawPackedRing;
  /** Where a good frame with its header lies. */
  readonly data: bigint;

  private constructor(readonly sim: SwitchSim) {
    this.attacker = sim.guests[0]!;
    this.ring = this.attacker.rawPacked(1);
    this.data = this.attacker.allocate(16384);
    this.attacker.memory.write(this.data, BYTES);
  }

  static async create(features = FEATURES): Promise<Attack> {
    const attacker = { features, queueSize: SIZE };
    return new Attack(await SwitchSim.create([attacker, {}, {}]));
  }

  /** A good chain of one descriptor. */
  get good(): RawPackedDescriptor {
    return { addr: this.data, len: BYTES.length, id: 1 };
  }

  part(from: number, to: number, more: Partial<RawPackedDescriptor> = {}): RawPackedDescriptor {
    return { addr: this.data + BigInt(from), len: to - from, ...more };
  }

  /** Writes a table; returns the descriptor that points to it. */
  table(
    entries: readonly RawPackedDescriptor[],
    more: Partial<RawPackedDescriptor> = {},
  ): RawPackedDescriptor {
    const addr = this.attacker.allocate(16 * entries.length);
    const view = new DataView(this.attacker.memory.memory.buffer);
    writePackedTable(view, this.attacker.memory.localOf(addr), entries);
    return { addr, len: 16 * entries.length, flags: INDIRECT, ...more };
  }

  /** Runs a turn, in which the others get nothing and nobody is written to but the attacker. */
  turn(): void {
    this.sim.turn();
    for (const guest of this.sim.guests) ok(guest.isCanaryAlive);
  }

  get received(): Uint8Array[] {
    return this.sim.guests[1]!.receive().map(({ frame }) => frame);
  }
}

// ── A ring that is incoherent is quarantined (R2) ────────────────────────────────────────────────

/** Descriptors that break the ring; a good chain stands before them. */
const BROKEN: Readonly<Record<string, (attack: Attack) => readonly RawPackedDescriptor[]>> = {
  "goes on with a descriptor that is not available (G89)": (a) => [
    a.part(0, 12, { flags: NEXT }),
    a.part(12, 72, { marks: 0 }),
  ],
  "goes on with a descriptor that is used (G89)": (a) => [
    a.part(0, 12, { flags: NEXT }),
    a.part(12, 72, { marks: AVAIL | USED }),
  ],
  "goes on with a descriptor of the other round (G89)": (a) => [
    a.part(0, 12, { flags: NEXT }),
    a.part(12, 72, { marks: USED }),
  ],
  ...Object.fromEntries(
    [SIZE, SIZE + 1, 0x7fff, 0x8000, 0xffff].map((id) => [
      `has a buffer id of ${id} (G90)`,
      (a: Attack) => [{ ...a.good, id }],
    ]),
  ),
  "has an id as large as the ring in its last descriptor (G90)": (a) => [
    a.part(0, 12, { flags: NEXT, id: 1 }),
    a.part(12, 72, { id: SIZE }),
  ],
  "breaks a rule and has an id as large as the ring (G90)": (a) => [
    a.part(0, 72, { flags: WRITE, id: SIZE }),
  ],
};

for (const [what, chain] of Object.entries(BROKEN)) {
  Deno.test(`SwitchSim quarantines a packed ring whose chain ${what}`, async () => {
    const attack = await Attack.create();
    attack.ring.offer([attack.good, ...chain(attack)]);
    attack.turn();
    strictEqual(attack.sim.fault(0, 1), FAULT_CHAIN);
    strictEqual(attack.sim.counters(0).ringFaults, 1);
    // What came before it was good and is delivered.
    deepStrictEqual(attack.received, [FRAME]);
    strictEqual(attack.ring.used(0)?.id, 1);
    strictEqual(attack.ring.used(1), null);
    const before = attack.attacker.memory.bytes.slice();
    attack.turn();
    deepStrictEqual(attack.attacker.memory.bytes, before);
  });
}

Deno.test("SwitchSim quarantines a packed ring that is one chain without end (G27)", async () => {
  const attack = await Attack.create();
  attack.ring.offer(Array.from({ length: SIZE }, (_, i) => attack.part(i, i + 6, { flags: NEXT })));
  attack.turn();
  strictEqual(attack.sim.fault(0, 1), FAULT_CHAIN);
  deepStrictEqual(attack.received, []);
});

Deno.test("SwitchSim quarantines a packed receive ring whose chain is broken (G89, G90)", async () => {
  for (const chain of [{ id: SIZE }, { flags: NEXT }]) {
    const victim = { features: PACKED, queueSize: SIZE, buffers: 0 };
    const sim = await SwitchSim.create([{}, victim, {}]);
    const ring = sim.guests[1]!.rawPacked(0);
    const addr = sim.guests[1]!.allocate(2048);
    ring.offer([{ addr, len: 2048, ...chain, flags: WRITE | (chain.flags ?? 0) }]);
    sim.guests[0]!.send(FRAME);
    sim.turn();
    strictEqual(sim.fault(1, 0), FAULT_CHAIN);
    strictEqual(sim.guests[2]!.receive().length, 1);
    strictEqual(sim.counters(1).drops["no buffer"], 1);
  }
});

Deno.test("SwitchSim works with a quarantined packed ring again once it is started anew (R2)", async () => {
  const attack = await Attack.create();
  attack.ring.offer([{ ...attack.good, id: SIZE }]);
  attack.turn();
  notStrictEqual(attack.sim.fault(0, 1), 0);
  attack.attacker.records.stopRing(1);
  attack.attacker.startRing(1);
  attack.ring.offer([attack.good]);
  attack.turn();
  deepStrictEqual(attack.received, [FRAME]);
});

// ── A descriptor whose marks say "not yours" is no chain ─────────────────────────────────────────

for (const marks of [0, USED, AVAIL | USED]) {
  Deno.test(`SwitchSim takes nothing from a packed ring with marks ${marks.toString(16)} (G89)`, async () => {
    const attack = await Attack.create();
    attack.ring.offer([{ ...attack.good, marks }]);
    strictEqual(attack.sim.turn(), 0);
    strictEqual(attack.sim.fault(0, 1), 0);
    attack.ring.offer([attack.good]);
    strictEqual(attack.sim.turn(), 1);
  });
}

Deno.test("SwitchSim takes a packed chain once though its marks stay as they are (G89)", async () => {
  const attack = await Attack.create();
  // Each slot is available in the first round; the second begins where they are not.
  attack.ring.offer(Array.from({ length: SIZE }, (_, id) => ({ ...attack.good, id })));
  attack.sim.settle();
  strictEqual(attack.received.length, SIZE);
  attack.ring.offer(
    Array.from({ length: SIZE }, (_, id) => ({ ...attack.good, id, marks: AVAIL })),
  );
  attack.sim.settle();
  strictEqual(attack.received.length, 0);
});

// ── Content that breaks a rule: the chain comes back with length 0 and is counted (R1) ───────────

/** Chains that are dropped, and how many slots each takes. */
const BAD: Readonly<Record<string, (attack: Attack) => readonly RawPackedDescriptor[]>> = {
  "starts with a writable descriptor (G40)": (a) => [{ ...a.good, flags: WRITE }],
  "has a writable descriptor behind a readable one (G42)": (a) => [
    a.part(0, 12, { flags: NEXT }),
    a.part(12, 72, { flags: WRITE }),
  ],
  "is all empty (G32)": (a) => [a.part(0, 0)],
  "has an empty descriptor in the middle (G33)": (a) => [
    a.part(0, 12, { flags: NEXT }),
    a.part(12, 12, { flags: NEXT }),
    a.part(12, 72),
  ],
  "is too long (G35)": (a) =>
    Array.from({ length: 9 }, (_, i) => a.part(0, 8000, { flags: i < 8 ? NEXT : 0 })),
  "has a descriptor of 2^32 - 1 bytes (G36)": (a) => [{ ...a.good, len: 0xffff_ffff }],
  "has a buffer outside memory (G56)": (a) => [{ ...a.good, addr: 0xdead_0000_0000n }],
  "wraps at 2^64 (G59)": (a) => [{ ...a.good, addr: (1n << 64n) - 8n }],
  "goes on behind a buffer outside memory (G56)": (a) => [
    { ...a.good, addr: 0n, flags: NEXT },
    a.part(12, 72, { flags: NEXT }),
    a.part(12, 72),
  ],
  "has INDIRECT and NEXT together (G45)": (a) => [
    a.table([a.good], { flags: INDIRECT | NEXT }),
    a.part(12, 72),
  ],
  "has a table behind a direct descriptor (2.8.7)": (a) => [
    a.part(0, 12, { flags: NEXT }),
    a.table([a.part(12, 72)]),
  ],
  "has a table in a table (G47)": (a) => [a.table([a.table([a.good])])],
  "has a table of 8 bytes (G48)": (a) => [a.table([a.good], { len: 8 })],
  "has a table of 24 bytes (G48)": (a) => [a.table([a.good, a.good], { len: 24 })],
  "has an empty table (G49)": (a) => [a.table([a.good], { len: 0 })],
  "has a table of 16 x 65536 bytes (G50)": (a) => [a.table([a.good], { len: 16 * 65536 })],
  "has a table of 0xfffffff0 bytes (G50)": (a) => [a.table([a.good], { len: 0xffff_fff0 })],
  "has a table outside memory (G53)": () => [
    { addr: 0xdead_0000_0000n, len: 32, flags: INDIRECT },
  ],
  "has a table that wraps at 2^64 (G59)": () => [
    { addr: (1n << 64n) - 16n, len: 32, flags: INDIRECT },
  ],
};

for (const [what, chain] of Object.entries(BAD)) {
  Deno.test(`SwitchSim gives back a packed chain that ${what}`, async () => {
    const attack = await Attack.create();
    const bad = chain(attack);
    // The last descriptor names the chain, whatever the others say.
    const named = bad.map((one, i) => ({ ...one, id: i + 1 === bad.length ? 7 : 9 }));
    attack.ring.offer([...named, attack.good]);
    attack.turn();
    const { id, len } = attack.ring.used(0)!;
    deepStrictEqual([id, len], [7, 0]);
    strictEqual(attack.sim.counters(0).drops["bad chain"], 1);
    strictEqual(attack.ring.used(bad.length)?.id, 1);
    deepStrictEqual(attack.received, [FRAME]);
    strictEqual(attack.sim.fault(0, 1), 0);
  });
}

Deno.test("SwitchSim gives back a packed chain with a table that was not negotiated (G46)", async () => {
  const attack = await Attack.create(PACKED);
  attack.ring.offer([attack.table([attack.good], { id: 7 })]);
  attack.turn();
  strictEqual(attack.ring.used(0)?.id, 7);
  strictEqual(attack.sim.counters(0).drops["bad chain"], 1);
});

Deno.test("SwitchSim reads a packed table in its order, whatever NEXT and ids say (2.8.7)", async () => {
  const attack = await Attack.create();
  const parts = [[0, 5], [5, 12], [12, 40], [40, 72]] as const;
  const entries = parts.map(([from, to], i) =>
    attack.part(from, to, { flags: i % 2 === 0 ? NEXT : 0, id: 0xffff - i })
  );
  attack.ring.offer([attack.table(entries, { id: 3 })]);
  attack.turn();
  deepStrictEqual(attack.received, [FRAME]);
  strictEqual(attack.ring.used(0)?.id, 3);
});

Deno.test("SwitchSim reads a packed table whose entries are marked writable, as DPDK sends them", async () => {
  const attack = await Attack.create();
  const entries = [attack.part(0, 12, { flags: WRITE }), attack.part(12, 72, { flags: WRITE })];
  attack.ring.offer([attack.table(entries)]);
  attack.turn();
  deepStrictEqual(attack.received, [FRAME]);
});

Deno.test("SwitchSim ignores packed descriptor flags that it does not know (2.8.6, G44)", async () => {
  const attack = await Attack.create();
  attack.ring.offer([{ ...attack.good, flags: 0x7f78 }]);
  attack.turn();
  deepStrictEqual(attack.received, [FRAME]);
});

// ── Receive chains ───────────────────────────────────────────────────────────────────────────────

/** Receive chains that go back empty; `at` is a buffer of 4096 bytes. */
const BAD_RECEIVE: Readonly<Record<string, (at: bigint) => readonly RawPackedDescriptor[]>> = {
  "is readable (G41)": (at) => [{ addr: at, len: 4096 }],
  "has a readable descriptor (G43)": (at) => [
    { addr: at, len: 12, flags: WRITE | NEXT },
    { addr: at + 12n, len: 4000 },
  ],
  "is shorter than the header (G86)": (at) => [{ addr: at, len: 11, flags: WRITE }],
  "is empty (G32)": (at) => [{ addr: at, len: 0, flags: WRITE }],
  "lies outside memory (G56)": () => [{ addr: 1n << 60n, len: 4096, flags: WRITE }],
};

for (const [what, chain] of Object.entries(BAD_RECEIVE)) {
  for (const more of [0n, featureSet(VIRTIO_NET_F_MRG_RXBUF)]) {
    const name = `SwitchSim skips a packed receive chain that ${what}`;
    Deno.test(`${name} with features ${(PACKED | more).toString(16)}`, async () => {
      const victim = { features: PACKED | more, queueSize: SIZE, buffers: 0 };
      const sim = await SwitchSim.create([{}, victim]);
      const ring = sim.guests[1]!.rawPacked(0);
      const at = sim.guests[1]!.allocate(4096);
      const bad = chain(at);
      const named = bad.map((one, i) => ({ ...one, id: i + 1 === bad.length ? 7 : 9 }));
      ring.offer([...named, { addr: at, len: 4096, flags: WRITE, id: 2 }]);
      sim.guests[0]!.send(FRAME);
      sim.turn();
      strictEqual(sim.counters(1).badReceiveChains, 1);
      const [first, second] = [ring.used(0)!, ring.used(bad.length)!];
      deepStrictEqual([first.id, first.len, first.flags & WRITE], [7, 0, 0]);
      deepStrictEqual([second.id, second.len, second.flags & WRITE], [2, 72, WRITE]);
      deepStrictEqual(sim.guests[1]!.memory.read(at + 12n, 60), FRAME);
    });
  }
}

Deno.test("SwitchSim looks at a packed receive table only as far as the frame goes (2.8.7)", async () => {
  const features = FEATURES;
  const sim = await SwitchSim.create([{}, { features, queueSize: SIZE, buffers: 0 }]);
  const victim = sim.guests[1]!;
  const at = victim.allocate(4096);
  const table = victim.allocate(48);
  const entries = [
    { addr: at, len: 12, flags: WRITE },
    { addr: at + 12n, len: 60, flags: WRITE },
    { addr: 1n << 60n, len: 0 },
  ];
  const view = new DataView(victim.memory.memory.buffer);
  writePackedTable(view, victim.memory.localOf(table), entries);
  victim.rawPacked(0).offer([{ addr: table, len: 48, flags: INDIRECT, id: 5 }]);
  sim.guests[0]!.send(FRAME);
  sim.turn();
  strictEqual(sim.counters(1).badReceiveChains, 0);
  deepStrictEqual(victim.memory.read(at + 12n, 60), FRAME);
  strictEqual(victim.rawPacked(0).used(0)?.len, 72);
});
