/**
 * Addresses that were chosen to share a set of the forwarding database (L08): the seed of the hash
 * decides which those are, and a set that is full costs only what was aimed at it.
 *
 * Which set an address is in is looked up in the table, not computed: nothing here knows the hash.
 *
 * @module
 */
import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { portAt } from "../../src/dataplane/state.ts";
import {
  FDB,
  FDB_ENTRY_BYTES,
  FDB_SEED,
  FDB_WAYS,
  PORT_GENERATION,
} from "../../src/dataplane/state_layout.ts";
import { parseMac } from "../../src/ethernet/frame.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { SwitchSim } from "../support/guest_sim.ts";
import { TestLab } from "../support/test_lab.ts";

/** Sets of the database: what a bridge of 4,096 addresses, which is the default, has. */
const SETS = 1024;
/** What a bridge of 64 addresses has. */
const FEW_SETS = 16;
const SET_BYTES = FDB_WAYS * FDB_ENTRY_BYTES;
/** The set at which is aimed. */
const SET = 7;
/** Addresses that share it. */
const COLLIDING = 24;
/** Addresses that are tried at a time: few enough for every set to have room for those it gets. */
const TRIED_AT_A_TIME = 512;
/** Frames of a burst: as many as there are receive buffers, so that a flood loses none. */
const AT_A_TIME = 64;
const SHORTEST_BYTES = 14;
/** The bits of a key that are an address. */
const ADDRESS_BITS = 48n;
const SEEDS = [0x9e37_79b9_7f4a_7c15n, 0xd1b5_4a32_d192_ed03n, 0x2545_f491_4f6c_dd1dn] as const;
const [ATTACKER, ONE, OTHER] = [0, 1, 2];
const [ONE_STATION, OTHER_STATION] = [stationAddress(1), stationAddress(2)];

async function open(seed: bigint): Promise<SwitchSim> {
  const sim = await SwitchSim.create([{}, {}, {}], { fdbSets: SETS });
  sim.state.set64(FDB_SEED, seed);
  return sim;
}

/** Sends a frame from each of some addresses. */
function teach(sim: SwitchSim, port: number, stations: readonly string[]): void {
  const guest = sim.guests[port]!;
  for (let i = 0; i < stations.length; i += AT_A_TIME) {
    for (const station of stations.slice(i, i + AT_A_TIME)) {
      guest.send(makeFrame(station, station, SHORTEST_BYTES));
    }
    sim.settle();
    guest.takeSent();
  }
  // A frame to its own address goes nowhere, unless the address is not learned.
  for (const other of sim.guests) other.receive();
}

/** Which ports get a frame that one port sends to an address. */
function receivers(sim: SwitchSim, from: number, to: string): number[] {
  sim.guests[from]!.send(makeFrame(to, "02:ff:00:00:00:01"));
  sim.settle();
  sim.guests[from]!.takeSent();
  return sim.guests.flatMap((guest, port) => guest.receive().map(() => port));
}

/** The addresses in one set of the table. */
function addressesIn(sim: SwitchSim, set: number): bigint[] {
  return Array.from({ length: FDB_WAYS }, (_, way) => {
    const key = sim.state.get64(FDB + set * SET_BYTES + way * FDB_ENTRY_BYTES);
    return BigInt.asUintN(Number(ADDRESS_BITS), key);
  });
}

/** An address as the table holds it: the first byte lowest. */
function keyOf(station: string): bigint {
  return parseMac(station).reduceRight((key, byte) => key << 8n | BigInt(byte), 0n);
}

/** Finds addresses that share a set under the first seed, by trying. */
async function collide(): Promise<string[]> {
  const sim = await open(SEEDS[0]);
  const found: string[] = [];
  for (let next = 0x10_0000; found.length < COLLIDING; next += TRIED_AT_A_TIME) {
    const tried = Array.from({ length: TRIED_AT_A_TIME }, (_, i) => stationAddress(next + i));
    teach(sim, ATTACKER, tried);
    const there = new Set(addressesIn(sim, SET));
    found.push(...tried.filter((station) => there.has(keyOf(station))));
    sim.state.add32(portAt(ATTACKER) + PORT_GENERATION, 1);
  }
  return found.slice(0, COLLIDING);
}

/** The table without the set that is aimed at. */
function otherSets(sim: SwitchSim): Uint8Array {
  const bytes = new Uint8Array(sim.state.memory.buffer.slice(FDB, FDB + SETS * SET_BYTES));
  bytes.fill(0, SET * SET_BYTES, (SET + 1) * SET_BYTES);
  return bytes;
}

/** Found once for all tests. */
const STATIONS = collide();

Deno.test("Bridge keeps addresses that share a set in that set, and knows eight of them (L08)", async () => {
  const stations = await STATIONS;
  const sim = await open(SEEDS[0]);
  teach(sim, ONE, [ONE_STATION]);
  teach(sim, OTHER, [OTHER_STATION]);
  const before = otherSets(sim);
  teach(sim, ATTACKER, stations);
  deepStrictEqual(otherSets(sim), before);
  const known = stations.filter((station) => receivers(sim, ONE, station).join() === "0");
  // A port replaces its own.
  strictEqual(known.length, FDB_WAYS);
  strictEqual(sim.counters(ATTACKER).fdbFull, 0);
  deepStrictEqual(receivers(sim, ONE, OTHER_STATION), [OTHER]);
  deepStrictEqual(receivers(sim, OTHER, ONE_STATION), [ONE]);
});

Deno.test("Bridge counts what a full set does not take, and floods to it (L08)", async () => {
  const stations = await STATIONS;
  const sim = await open(SEEDS[0]);
  const [first, ...others] = stations.slice(FDB_WAYS);
  teach(sim, ATTACKER, stations.slice(0, FDB_WAYS));
  teach(sim, ONE, [ONE_STATION, first!, ...others]);
  // Each of them is refused for each of its frames, and known nowhere.
  strictEqual(sim.counters(ONE).fdbFull, 1 + others.length);
  deepStrictEqual(receivers(sim, OTHER, first!), [ATTACKER, ONE]);
  deepStrictEqual(receivers(sim, OTHER, ONE_STATION), [ONE]);
  const known = stations.slice(0, FDB_WAYS);
  for (const station of known) deepStrictEqual(receivers(sim, OTHER, station), [ATTACKER]);
});

Deno.test("Bridge spreads addresses that share a set under one seed with another one (L08)", async () => {
  const stations = await STATIONS;
  for (const seed of SEEDS.slice(1)) {
    const sim = await open(seed);
    teach(sim, ATTACKER, stations);
    const shares = Array.from({ length: SETS }, (_, set) => {
      return addressesIn(sim, set).filter((address) => address !== 0n).length;
    });
    ok(Math.max(...shares) < FDB_WAYS, `a set got ${Math.max(...shares)} of ${COLLIDING}`);
    for (const station of stations) {
      deepStrictEqual(receivers(sim, ONE, station), [ATTACKER], `seed ${seed.toString(16)}`);
    }
  }
});

// What multiplying does to the highest bits of an address reaches only few bits of the product. If the
// set were taken from below those, addresses that differ there alone would share it whatever the seed.
Deno.test("Bridge spreads addresses that differ in their highest bits alone under any seed (L08)", async () => {
  const family = Array.from({ length: 16 }, (_, i) => {
    const bits = BigInt(i);
    // The lower four undo what the upper four do when the address is folded.
    return stationOf(keyOf(stationAddress(0x50_0000)) ^ bits << 44n ^ bits << 15n);
  });
  for (const seed of SEEDS) {
    const sim = await SwitchSim.create([{}, {}, {}], { fdbSets: FEW_SETS });
    sim.state.set64(FDB_SEED, seed);
    teach(sim, ATTACKER, family);
    const sets = family.map((station) => {
      return [...Array(FEW_SETS).keys()].find((set) =>
        addressesIn(sim, set).includes(keyOf(station))
      );
    });
    ok(new Set(sets).size > 4, `sets ${sets} with seed ${seed.toString(16)}`);
  }
});

/** The station of an address as the table holds it. */
function stationOf(key: bigint): string {
  const bytes = Array.from({ length: 6 }, (_, i) => Number(key >> BigInt(8 * i) & 0xffn));
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

Deno.test("Switch draws another odd seed at each start (L08)", async () => {
  const seeds = await Promise.all([1, 2].map(async () => {
    await using lab = await TestLab.open({ ports: ["a"] });
    return lab.state.get64(FDB_SEED);
  }));
  notStrictEqual(seeds[0], seeds[1]);
  for (const seed of seeds) strictEqual(seed & 1n, 1n);
});
