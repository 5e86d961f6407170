/**
 * The forwarding database: which address was last seen on which port.
 *
 * A hash table of sets in state memory, shared by all Workers. An address is only ever in its own
 * set of eight entries, so every operation looks at two cache lines, whatever addresses a guest
 * invents; the hash is seeded at start, so that nobody can aim at one set.
 *
 * An entry is a key (address, bridge, valid bit) and a value (port, the port's generation, second
 * last seen). The key is claimed by compare-and-swap, the value is one 64-bit store, so a reader
 * sees a whole old or a whole new value. A reader that races with the reuse of an entry checks the
 * key again behind the value.
 *
 * An entry counts only while it is younger than the ageing time and its generation is its port's:
 * control forgets a port's addresses by one increment.
 *
 * When a set is full of live entries, a port may only replace its own oldest entry there. A guest
 * that floods addresses therefore never pushes out another port's.
 */
import {
  BRIDGE_AGEING_SECONDS,
  C_FDB_FULL,
  C_LEARNED,
  C_MOVED,
  FDB,
  FDB_ENTRY_BYTES,
  FDB_MASK,
  FDB_SEED,
  FDB_WAYS,
  PORT_BRIDGE,
  PORT_GENERATION,
} from "../state_layout.ts";
import { bridgeAt, count, portAt } from "./records.ts";

/** What {@linkcode lookUp} answers for an address that is not known. */
export const UNKNOWN: u32 = 0xffffffff;

const VALID: u64 = 1 << 63;
/** The key of an entry that a Worker is about to fill: it matches no address. */
const BUSY: u64 = 1;

function keyOf(bridge: u32, address: u64): u64 {
  return address | <u64> bridge << 48 | VALID;
}

// Multiplicative hashing; the highest bits depend on all bits of the key. The set is taken from the
// bits above those of an address, or addresses that differ only at the top would share it under any
// seed: MAX_FDB_SETS has 15 bits.
function setOf(key: u64): u32 {
  const hash = (key ^ key >> 29) * load<u64>(FDB_SEED);
  return FDB + (<u32> (hash >> 49) & load<u32>(FDB_MASK)) * FDB_WAYS * FDB_ENTRY_BYTES;
}

function valueOf(port: u32, now: u32): u64 {
  const generation = load<u32>(portAt(port) + PORT_GENERATION) & 0xffff;
  return <u64> port | <u64> generation << 16 | <u64> now << 32;
}

function isLive(value: u64, ageing: u32, now: u32): bool {
  const port = <u32> value & 0xffff;
  const generation = <u32> value >> 16;
  if (generation !== (load<u32>(portAt(port) + PORT_GENERATION) & 0xffff)) return false;
  // Signed: another Worker's clock may be a second ahead of ours.
  return <i32> (now - <u32> (value >> 32)) <= <i32> ageing;
}

/**
 * Looks an address up.
 *
 * @param bridge The bridge to look in.
 * @param address The 48 bits of the address, first byte lowest.
 * @param now Monotonic seconds.
 * @returns The port, or UNKNOWN.
 */
export function lookUp(bridge: u32, address: u64, now: u32): u32 {
  const key = keyOf(bridge, address);
  const set = setOf(key);
  for (let way: u32 = 0; way < <u32> FDB_WAYS; way++) {
    const entry = set + way * FDB_ENTRY_BYTES;
    if (load<u64>(entry) !== key) continue;
    const value = atomic.load<u64>(entry + 8);
    if (atomic.load<u64>(entry) !== key) continue;
    const ageing = load<u32>(bridgeAt(bridge) + BRIDGE_AGEING_SECONDS);
    return isLive(value, ageing, now) ? <u32> value & 0xffff : UNKNOWN;
  }
  return UNKNOWN;
}

/**
 * Learns that an address is on a port.
 *
 * @param worker The Worker's number, for counters.
 * @param port The port it was seen on.
 * @param address The 48 bits of the address, first byte lowest; neither zero nor a group.
 * @param now Monotonic seconds.
 */
export function learn(worker: u32, port: u32, address: u64, now: u32): void {
  const bridge = load<u32>(portAt(port) + PORT_BRIDGE);
  const key = keyOf(bridge, address);
  const set = setOf(key);
  const value = valueOf(port, now);
  for (let way: u32 = 0; way < <u32> FDB_WAYS; way++) {
    const entry = set + way * FDB_ENTRY_BYTES;
    if (load<u64>(entry) !== key) continue;
    const old = load<u64>(entry + 8);
    // Once a second is often enough, and keeps the line shared between Workers.
    if (old === value) return;
    atomic.store<u64>(entry + 8, value);
    if (<u32> old !== <u32> value) {
      count(worker, port, C_LEARNED, 1);
      if ((<u32> old & 0xffff) !== port) count(worker, port, C_MOVED, 1);
    }
    return;
  }
  insert(worker, port, key, set, value, now);
}

function insert(worker: u32, port: u32, key: u64, set: u32, value: u64, now: u32): void {
  const ageing = load<u32>(
    bridgeAt(load<u32>(portAt(port) + PORT_BRIDGE)) + BRIDGE_AGEING_SECONDS,
  );
  let victim: u32 = 0;
  let victimAge: u32 = 0;
  for (let way: u32 = 0; way < <u32> FDB_WAYS; way++) {
    const entry = set + way * FDB_ENTRY_BYTES;
    const old = load<u64>(entry + 8);
    if (load<u64>(entry) === BUSY) continue;
    if (load<u64>(entry) === 0 || !isLive(old, ageing, now)) {
      victim = entry;
      break;
    }
    const age = now - <u32> (old >> 32);
    if ((<u32> old & 0xffff) === port && (victim === 0 || age > victimAge)) {
      victim = entry;
      victimAge = age;
    }
  }
  if (victim === 0) {
    count(worker, port, C_FDB_FULL, 1);
    return;
  }
  const before = load<u64>(victim);
  // A reader that finds the new key beside the old value would send to the old owner's port, so the
  // entry is claimed first, then given its value, then its key.
  if (before === BUSY || atomic.cmpxchg<u64>(victim, before, BUSY) !== before) return;
  atomic.store<u64>(victim + 8, value);
  atomic.store<u64>(victim, key);
  count(worker, port, C_LEARNED, 1);
}
