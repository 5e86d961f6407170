/**
 * Memory tables that change while both rings of a guest run and frames flow (F56): a front-end sends a
 * whole new table for every change, and the rings go on in it.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { createMemfd } from "../../ffi/memory.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import { GUEST_REGION, TestGuest } from "../support/test_guest.ts";
import { testAttack } from "../support/test_lab.ts";
import { memorySlot, memoryTable, type RegionDraft } from "../support/vhost_messages.ts";

/** Tables sent while frames flow. */
const CHANGES = 100;
const MORE_BYTES = 4n * 2n ** 20n;
/** A memory file's name, by which its mappings are found. */
const MEMFD = "labswitch-live";
/** Memory that the guest gets and loses, far from its own. */
const MORE: RegionDraft = { guest: 2n ** 32n, size: MORE_BYTES, user: 2n ** 41n };
/** The same, below the guest's own memory. */
const BELOW: RegionDraft = { guest: 0n, size: MORE_BYTES, user: 2n ** 42n };

/** Tables that a guest may be given, with the regions that are not its own first. */
const TABLES: Readonly<Record<string, readonly RegionDraft[]>> = {
  "the same": [GUEST_REGION],
  "grown": [GUEST_REGION, MORE],
  "shrunk": [GUEST_REGION],
  "moved behind other memory": [BELOW, MORE, GUEST_REGION],
  "moved back": [GUEST_REGION, BELOW],
};

async function share(guest: TestGuest, table: readonly RegionDraft[], more: Fd): Promise<void> {
  const fds = table.map((region) => (region === GUEST_REGION ? guest.file : more));
  strictEqual(await guest.client.ask(Request.SET_MEM_TABLE, memoryTable(table), fds), 0n);
}

/** Sends a frame in either direction. */
async function exchange(one: TestGuest, two: TestGuest, mark: number): Promise<void> {
  for (const [from, to, station] of [[one, two, 1], [two, one, 2]] as const) {
    const frame = makeFrame(BROADCAST, stationAddress(station), 60, mark);
    from.send(frame);
    deepStrictEqual(await to.receive(), frame);
  }
}

testAttack(
  "Switch goes on with running rings when a table is the same, grows, shrinks or moves (F56)",
  async (lab) => {
    await using guest = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    using more = createMemfd(MEMFD, MORE_BYTES);
    const before = countDescriptors();
    let mark = 0;
    for (const table of Object.values(TABLES)) {
      await share(guest, table, more);
      await exchange(guest, other, ++mark);
    }
    strictEqual(countDescriptors(), before);
    strictEqual(countMappings(Deno.pid, MEMFD), 1);
  },
);

for (const threads of ["{ poll: event }", "{ poll: busy }"]) {
  testAttack(
    `Switch loses no frame that a guest sends while its memory table changes, ${threads} (F56)`,
    async (lab) => {
      await using guest = await TestGuest.attach(lab.path("a"));
      await using other = await TestGuest.attach(lab.path("b"));
      using more = createMemfd(MEMFD, MORE_BYTES);
      let isChanging = true;
      const changes = async () => {
        const tables = Object.values(TABLES);
        for (let i = 0; i < CHANGES; i++) await share(guest, tables[i % tables.length]!, more);
        isChanging = false;
      };
      const frames = async () => {
        for (let i = 0; isChanging; i++) {
          const frame = makeFrame(BROADCAST, stationAddress(1), 60 + i % 1400, i);
          guest.send(frame);
          deepStrictEqual(await other.receive(), frame);
        }
      };
      await Promise.all([changes(), frames()]);
      await exchange(guest, other, 1);
    },
    { threads },
  );
}

testAttack(
  "Switch goes on with running rings when single regions come and go (F56)",
  async (lab) => {
    await using guest = await TestGuest.attach(lab.path("a"));
    await using other = await TestGuest.attach(lab.path("b"));
    using more = createMemfd(MEMFD, MORE_BYTES);
    const client = await guest.client.negotiateAll();
    for (const region of [MORE, BELOW]) {
      strictEqual(await client.ask(Request.ADD_MEM_REG, memorySlot(region), [more]), 0n);
      await exchange(guest, other, 1);
    }
    for (const region of [MORE, BELOW]) {
      strictEqual(await client.ask(Request.REM_MEM_REG, memorySlot(region)), 0n);
      await exchange(guest, other, 2);
    }
    strictEqual(countMappings(Deno.pid, MEMFD), 0);
  },
);
