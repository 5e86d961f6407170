/**
 * Checks of memory in several regions, and of regions that come and go.
 *
 * @module
 */
import { featureSet } from "../../virtio/features.ts";
import { Request, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS } from "../../vhost_user/numbers.ts";
import type { Check, Target } from "../check.ts";
import type { Driver } from "../driver.ts";
import type { Shape } from "../frames.ts";
import { USUAL_PROTOCOL, withDriver } from "./formats.ts";

const BURST = 16;
const SLOTS = featureSet(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);

/** The checks. */
export const MEMORY_CHECKS: readonly Check[] = [
  {
    id: "second-region",
    title: "a frame in the second region is taken",
    clause: "vhost-user, SET_MEM_TABLE",
    run: (target) => shaped(target, "second"),
  },
  {
    id: "chain-over-regions",
    title: "a chain over two regions is taken",
    clause: "vhost-user, Memory access",
    run: (target) => shaped(target, "regions"),
  },
  {
    id: "buffer-over-regions",
    title: "a buffer across two adjacent regions is taken",
    clause: "vhost-user, Memory access",
    run: (target) => shaped(target, "straddling"),
  },
  {
    id: "memory-table-again",
    title: "a new memory table is taken while rings run",
    clause: "vhost-user, SET_MEM_TABLE",
    run: (target) =>
      withDriver(target, {}, async (driver) => {
        const { session, memory } = driver;
        await driver.exchange(BURST);
        await session.tell(Request.SET_MEM_TABLE, memory.table(2), memory.files);
        await session.settle();
        await driver.exchange(BURST, { shape: "second" });
        await driver.exchange(BURST);
        return `${driver.sent} taken`;
      }),
  },
  {
    id: "add-region",
    title: "regions can be added one by one",
    clause: "vhost-user, ADD_MEM_REG",
    run: (target) => withSlots(target, () => Promise.resolve()),
  },
  {
    id: "remove-region",
    title: "a region can be removed while rings run",
    clause: "vhost-user, REM_MEM_REG",
    run: (target) =>
      withSlots(target, async ({ session, memory }) => {
        await session.tell(Request.REM_MEM_REG, memory.single(1));
        await session.settle();
      }),
  },
];

async function shaped(target: Target, shape: Shape): Promise<string> {
  return await withDriver(target, { hasBothRegions: true }, async (driver) => {
    await driver.exchange(BURST);
    await driver.exchange(BURST, { shape });
    return `${driver.sent} sent, ${driver.received().length} received`;
  });
}

async function withSlots(
  target: Target,
  change: (driver: Driver) => Promise<void>,
): Promise<string> {
  {
    using session = await target.open();
    session.requireProtocol(SLOTS);
  }
  const wish = { hasBothRegions: true, protocolFeatures: USUAL_PROTOCOL | SLOTS };
  return await withDriver(target, wish, async (driver) => {
    await driver.exchange(BURST, { shape: "second" });
    await change(driver);
    await driver.exchange(BURST);
    return `${driver.sent} taken`;
  });
}
