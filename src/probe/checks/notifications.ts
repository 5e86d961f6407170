/**
 * Checks of kicks and calls.
 *
 * @module
 */
import { hasFeature, VIRTIO_F_EVENT_IDX } from "../../virtio/features.ts";
import { VIRTQ_USED_F_NO_NOTIFY } from "../../virtio/layouts.ts";
import {
  EVENT_SUPPRESS,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
} from "../../virtio/packed_layouts.ts";
import type { Check } from "../check.ts";
import type { Driver } from "../driver.ts";
import { Deviation } from "../verdict.ts";
import { comesTrue, pause, QUIET_MS } from "../waiting.ts";
import { type Format, FORMATS, withDriver } from "./formats.ts";

/** Frames that come one by one, with time between for the back-end to fall asleep. */
const SINGLE_FRAMES = 5;
const SLEEP_MS = 20;

/** The checks. */
export const NOTIFICATION_CHECKS: readonly Check[] = [
  ...FORMATS.map(kickFlags),
  ...FORMATS.map(kickIfWanted),
  ...FORMATS.map(callWanted),
  ...FORMATS.map(callUnwanted),
  {
    id: "call-replaced",
    title: "it calls the eventfd that it got last",
    clause: "vhost-user, SET_VRING_CALL",
    run: (target) =>
      withDriver(target, {}, async (driver) => {
        await calmed(driver);
        await driver.transmit.replaceCall(driver.session);
        return await calls(driver);
      }),
  },
];

function kickFlags({ id, name, features, kickClause }: Format): Check {
  return {
    id: `kick-flags-${id}`,
    title: `what it says about kicks has a meaning: ${name}`,
    clause: kickClause,
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        await driver.exchange(1);
        const flags = kickWish(driver);
        const most = mostFlags(driver, hasFeature(features, VIRTIO_F_EVENT_IDX));
        if (flags <= most) return `flags ${flags}`;
        throw new Deviation(`flags ${flags}, at most ${most} has a meaning`);
      }),
  };
}

function kickIfWanted({ id, name, features, kickClause }: Format): Check {
  return {
    id: `kick-wanted-${id}`,
    title: `frames are taken when kicked only as it wishes: ${name}`,
    clause: kickClause,
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        await driver.exchange(1);
        for (let i = 0; i < SINGLE_FRAMES; i++) {
          await pause(SLEEP_MS);
          await driver.exchange(1, { kick: "if wanted" });
        }
        return `${SINGLE_FRAMES} sent one by one`;
      }),
  };
}

function callWanted({ id, name, features, callClause }: Format): Check {
  return {
    id: `call-wanted-${id}`,
    title: `it calls when asked to: ${name}`,
    clause: callClause,
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        await calmed(driver);
        return await calls(driver);
      }),
  };
}

function callUnwanted({ id, name, features, callClause }: Format): Check {
  return {
    id: `call-unwanted-${id}`,
    title: `it does not call when asked not to: ${name}`,
    clause: callClause,
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        await calmed(driver);
        driver.transmit.queue.disableCalls();
        for (let i = 0; i < SINGLE_FRAMES; i++) await driver.exchange(1);
        await pause(QUIET_MS);
        const calls = driver.transmit.call.drain();
        if (calls === 0n) return `no call for ${SINGLE_FRAMES} frames`;
        throw new Deviation(`${calls} calls for ${SINGLE_FRAMES} frames`);
      }),
  };
}

// A call that comes with the start of a ring is allowed: none must get lost while eventfds change.
async function calmed(driver: Driver): Promise<void> {
  driver.transmit.queue.enableCalls();
  await driver.exchange(1);
  await pause(SLEEP_MS);
  driver.transmit.call.drain();
}

async function calls(driver: Driver): Promise<string> {
  for (let i = 0; i < SINGLE_FRAMES; i++) {
    driver.transmit.queue.enableCalls();
    await driver.exchange(1);
    await called(driver);
  }
  return `${SINGLE_FRAMES} calls for ${SINGLE_FRAMES} frames`;
}

async function called(driver: Driver): Promise<void> {
  const { timeoutMs } = driver.session;
  if (await comesTrue(() => driver.transmit.call.drain() > 0n, timeoutMs)) return;
  throw new Deviation(`no call in ${timeoutMs} ms`);
}

// The flags in the used ring, or in a packed ring's device area.
function kickWish({ memory, transmit: { places }, isPacked }: Driver): number {
  const at = places.used + (isPacked ? EVENT_SUPPRESS.offset.flags : 0);
  return new DataView(memory.bytes.buffer).getUint16(at, true);
}

// With the event index a split ring's flags must be 0; only with it a packed ring's may be DESC.
function mostFlags({ isPacked }: Driver, hasEventIndex: boolean): number {
  if (isPacked) return hasEventIndex ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_DISABLE;
  return hasEventIndex ? 0 : VIRTQ_USED_F_NO_NOTIFY;
}
