/**
 * The memory table ("Memory regions description", VHOST_USER_SET_MEM_TABLE).
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ProtocolError } from "../../src/vhost_user/errors.ts";
import { MAX_TABLE_REGIONS, Request } from "../../src/vhost_user/numbers.ts";
import { BackendTrial, FakeDescriptor } from "../support/backend_trial.ts";
import { memoryTable, type RegionDraft } from "../support/vhost_messages.ts";

const REGION: RegionDraft = { guest: 0n, size: 4096n, user: 0x7f00_0000_0000n };

function descriptors(count: number): FakeDescriptor[] {
  return Array.from({ length: count }, (_, i) => new FakeDescriptor(100 + i));
}

Deno.test("Backend hands regions to the device with descriptors in the same order (VHOST_USER_SET_MEM_TABLE)", () => {
  const trial = new BackendTrial().negotiate();
  const fds = descriptors(2);
  const table = memoryTable([
    { guest: 0n, size: 0xa0000n, user: 0x1000n, offset: 0n },
    { guest: 2n ** 63n, size: 2n ** 32n, user: 2n ** 63n + 1n, offset: 0xc0000n },
  ]);
  strictEqual(trial.ask(Request.SET_MEM_TABLE, table, { fds }), 0n);
  deepStrictEqual(trial.device.regions, [
    {
      guestAddress: 0n,
      sizeBytes: 0xa0000n,
      frontendAddress: 0x1000n,
      offsetBytes: 0n,
      fd: fds[0],
    },
    {
      guestAddress: 2n ** 63n,
      sizeBytes: 2n ** 32n,
      frontendAddress: 2n ** 63n + 1n,
      offsetBytes: 0xc0000n,
      fd: fds[1],
    },
  ]);
});

Deno.test("Backend leaves the regions' descriptors to the device, whatever it says (VHOST_USER_SET_MEM_TABLE)", () => {
  for (const refused of [null, "setMemoryTable"]) {
    const trial = new BackendTrial().negotiate();
    trial.device.refused = refused;
    const fds = descriptors(1);
    const answer = trial.ask(Request.SET_MEM_TABLE, memoryTable([REGION]), { fds });
    strictEqual(answer, refused === null ? 0n : 1n);
    ok(fds[0]!.isOpen);
  }
});

Deno.test("Backend takes a table of eight regions (Memory regions description)", () => {
  const trial = new BackendTrial().negotiate();
  const table = memoryTable(new Array(MAX_TABLE_REGIONS).fill(REGION));
  const fds = descriptors(MAX_TABLE_REGIONS);
  strictEqual(trial.ask(Request.SET_MEM_TABLE, table, { fds }), 0n);
  strictEqual(trial.device.regions.length, MAX_TABLE_REGIONS);
});

Deno.test("Backend takes a table while rings run and does not stop them itself (VHOST_USER_SET_MEM_TABLE)", () => {
  const trial = new BackendTrial().negotiate();
  trial.startRing(0);
  const options = { fds: descriptors(1) };
  strictEqual(trial.ask(Request.SET_MEM_TABLE, memoryTable([REGION]), options), 0n);
  deepStrictEqual(trial.device.calls, ["startRing 0", "setMemoryTable 1"]);
});

Deno.test("Backend refuses a table without regions (F37)", () => {
  const trial = new BackendTrial().negotiate();
  strictEqual(trial.ask(Request.SET_MEM_TABLE, memoryTable([])), 1n);
  deepStrictEqual(trial.device.calls, []);
});

Deno.test("Backend ends the connection when the count does not match the table's bytes (F38)", () => {
  const trial = new BackendTrial().negotiate();
  for (const count of [0, 2, 9, 64, 2 ** 32 - 1]) {
    const fds = descriptors(1);
    const table = memoryTable([REGION], count);
    throws(() => trial.say(Request.SET_MEM_TABLE, table, { fds }), ProtocolError);
    strictEqual(fds[0]!.closed, 1);
  }
  deepStrictEqual(trial.device.calls, []);
});

Deno.test("Backend ends the connection when a table has nine regions (F38)", () => {
  const trial = new BackendTrial().negotiate();
  const fds = descriptors(9);
  const table = memoryTable(new Array(9).fill(REGION));
  throws(() => trial.say(Request.SET_MEM_TABLE, table, { fds }), ProtocolError);
  ok(fds.every((fd) => fd.closed === 1));
});

Deno.test("Backend ends the connection when regions and descriptors differ in number (F39)", () => {
  const trial = new BackendTrial().negotiate();
  for (const count of [0, 1, 3, MAX_TABLE_REGIONS]) {
    const fds = descriptors(count);
    const table = memoryTable([REGION, REGION]);
    throws(() => trial.say(Request.SET_MEM_TABLE, table, { fds }), ProtocolError);
    ok(fds.every((fd) => fd.closed === 1));
  }
  deepStrictEqual(trial.device.calls, []);
});
