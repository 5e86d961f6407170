/**
 * Which loads the switch is killed under, and how often.
 *
 * @module
 */
import { guestLoad } from "./guest_load.ts";
import { lastingLoad } from "./lasting_load.ts";
import type { LoadKind } from "./load.ts";
import { testpmdLoad } from "./testpmd_load.ts";

/** Kills under one kind of load. */
export interface PlannedRun {
  /** The load. */
  readonly kind: LoadKind;
  /** How many. */
  readonly kills: number;
}

/** testpmd with each format and number of queues. */
export const TESTPMD_LOADS: readonly LoadKind[] = [
  testpmdLoad({ isPacked: false, queues: 1 }),
  testpmdLoad({ isPacked: true, queues: 1 }),
  testpmdLoad({ isPacked: false, queues: 2 }),
  testpmdLoad({ isPacked: true, queues: 2 }),
];

/** Front-ends that account for everything, in each role and with each format. */
export const LASTING_LOADS: readonly LoadKind[] = [
  lastingLoad({ isPacked: false, role: "server" }),
  lastingLoad({ isPacked: true, role: "server" }),
  lastingLoad({ isPacked: false, role: "client" }),
  lastingLoad({ isPacked: true, role: "client" }),
];

/** Guests: every pair of role, format and QEMU. */
export const GUEST_LOADS: readonly LoadKind[] = [
  guestLoad({ isPacked: false, role: "server", qemu: "installed" }),
  guestLoad({ isPacked: true, role: "client", qemu: "installed" }),
  guestLoad({ isPacked: true, role: "server", qemu: "backported" }),
  guestLoad({ isPacked: false, role: "client", qemu: "backported" }),
];

/** Of a hundred kills so many come under each group of loads; guests take the longest. */
const SHARES: readonly (readonly [percent: number, kinds: readonly LoadKind[]])[] = [
  [60, TESTPMD_LOADS],
  [20, LASTING_LOADS],
  [20, GUEST_LOADS],
];
/** Longer runs are divided, so that front-ends are started afresh now and then. */
const MAX_KILLS_PER_RUN = 50;

/**
 * Divides kills among all loads.
 *
 * @param kills How many.
 * @returns Runs in the order in which they are to be made; their kills add up to `kills`.
 */
export function planKills(kills: number): PlannedRun[] {
  let rest = kills;
  return SHARES.flatMap(([percent, kinds], i) => {
    const isLast = i === SHARES.length - 1;
    const share = isLast ? rest : Math.round(kills * percent / 100);
    rest -= share;
    return divideKills(share, kinds);
  });
}

/**
 * Divides kills evenly among some loads.
 *
 * @param kills How many.
 * @param kinds The loads.
 */
export function divideKills(kills: number, kinds: readonly LoadKind[]): PlannedRun[] {
  const rounds = Math.max(1, Math.ceil(kills / kinds.length / MAX_KILLS_PER_RUN));
  const runs = kinds.length * rounds;
  return Array.from({ length: runs }, (_, i) => ({
    kind: kinds[i % kinds.length]!,
    kills: Math.floor(kills * (i + 1) / runs) - Math.floor(kills * i / runs),
  })).filter((run) => run.kills > 0);
}
