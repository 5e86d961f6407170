/**
 * Checks of rings that start, stop, and are enabled and disabled.
 *
 * @module
 */
import type { Check, Target } from "../check.ts";
import type { Driver } from "../driver.ts";
import { expectedBase, isBase } from "../ring.ts";
import { Deviation } from "../verdict.ts";
import { type Format, PLAIN_PACKED, PLAIN_SPLIT, requireEnables, withDriver } from "./formats.ts";

const CLAUSE = "vhost-user, Ring states";
const BURST = 16;
/** So many bursts take a ring of 64 entries into its second round. */
const BURSTS = 5;
const BOTH = [PLAIN_SPLIT, PLAIN_PACKED];

/** The checks. */
export const RING_STATE_CHECKS: readonly Check[] = [
  {
    id: "start-without-kick",
    title: "frames that wait when a ring starts need no kick",
    clause: CLAUSE,
    run: (target) => {
      const beforeStart = (driver: Driver) => driver.send(BURST, { kick: "never" });
      return withDriver(target, { beforeStart }, async (driver) => {
        await driver.transmitted();
        return `${driver.sent} taken`;
      });
    },
  },
  ...BOTH.map(base),
  ...BOTH.map(stop),
  ...BOTH.map(restart),
  {
    id: "disabled-drained",
    title: "a disabled transmit ring is drained",
    clause: CLAUSE,
    run: (target) =>
      withEnables(target, async (driver) => {
        await driver.exchange(BURST);
        await driver.enable(false);
        await driver.exchange(BURST);
        return `${BURST} taken and thrown away`;
      }),
  },
  {
    id: "enabled-again",
    title: "a ring works when it is enabled again",
    clause: "vhost-user, SET_VRING_ENABLE",
    run: (target) =>
      withEnables(target, async (driver) => {
        await driver.exchange(BURST);
        await driver.enable(false);
        await driver.enable(true);
        await driver.exchange(BURST);
        return `${driver.sent} taken`;
      }),
  },
];

function base({ id, name, features }: Format): Check {
  return {
    id: `base-${id}`,
    title: `a stopped ring tells where it stands: ${name}`,
    clause: "vhost-user, GET_VRING_BASE",
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        for (let i = 0; i < BURSTS; i++) await driver.exchange(BURST);
        const told = await driver.stop();
        const want = expectedBase(driver.sent, driver.isPacked);
        if (isBase(told, want, driver.isPacked)) return hex(told);
        throw new Deviation(`${hex(told)} after ${driver.sent} chains, not ${hex(want)}`);
      }),
  };
}

function stop({ id, name, features }: Format): Check {
  return {
    id: `stop-${id}`,
    title: `a stopped ring is left alone: ${name}`,
    clause: CLAUSE,
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        await driver.exchange(BURST);
        await driver.stop();
        driver.send(BURST);
        await driver.staysUntouched();
        return `none of ${BURST} taken`;
      }),
  };
}

function restart({ id, name, features }: Format): Check {
  return {
    id: `restart-${id}`,
    title: `a ring goes on from where it stood: ${name}`,
    clause: "vhost-user, SET_VRING_BASE",
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        for (let i = 0; i < BURSTS; i++) {
          await driver.exchange(BURST);
          const stood = await driver.stop();
          driver.send(BURST, { kick: "never" });
          await driver.restart(stood);
          driver.transmit.kick.signal();
          await driver.transmitted();
        }
        return `${driver.sent} taken, ${BURSTS} times restarted`;
      }),
  };
}

async function withEnables(
  target: Target,
  use: (driver: Driver) => Promise<string>,
): Promise<string> {
  await requireEnables(target);
  return await withDriver(target, {}, use);
}

function hex(number: number): string {
  return `0x${number.toString(16)}`;
}
