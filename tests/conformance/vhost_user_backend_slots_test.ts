/**
 * Memory regions that come and go one by one (VHOST_USER_ADD_MEM_REG, VHOST_USER_REM_MEM_REG,
 * VHOST_USER_GET_MAX_MEM_SLOTS).
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ProtocolError } from "../../src/vhost_user/errors.ts";
import {
  FLAG_NEED_REPLY,
  MAX_MEMORY_SLOTS,
  MAX_TABLE_REGIONS,
  Request,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from "../../src/vhost_user/numbers.ts";
import { featureSet } from "../../src/virtio/features.ts";
import { BackendTrial, FakeDescriptor, numberOf } from "../support/backend_trial.ts";
import { memorySlot, NOTHING, type RegionDraft } from "../support/vhost_messages.ts";

const REGION: RegionDraft = { guest: 2n ** 63n, size: 4096n, user: 0x1001n, offset: 0xc0000n };
const SLOT = memorySlot(REGION);
const WITHOUT_SLOTS = featureSet(VHOST_USER_PROTOCOL_F_REPLY_ACK);

Deno.test("Backend answers GET_MAX_MEM_SLOTS with more slots than a table has regions (VHOST_USER_GET_MAX_MEM_SLOTS)", () => {
  const trial = new BackendTrial().negotiate();
  const slots = numberOf(trial.say(Request.GET_MAX_MEM_SLOTS, NOTHING), Request.GET_MAX_MEM_SLOTS);
  strictEqual(slots, BigInt(MAX_MEMORY_SLOTS));
  ok(slots > BigInt(MAX_TABLE_REGIONS));
});

Deno.test("Backend hands a region with its descriptor to the device (VHOST_USER_ADD_MEM_REG)", () => {
  const trial = new BackendTrial().negotiate();
  const fd = new FakeDescriptor();
  strictEqual(trial.ask(Request.ADD_MEM_REG, SLOT, { fds: [fd] }), 0n);
  deepStrictEqual(trial.device.regions, [{
    guestAddress: 2n ** 63n,
    sizeBytes: 4096n,
    frontendAddress: 0x1001n,
    offsetBytes: 0xc0000n,
    fd,
  }]);
});

Deno.test("Backend leaves a region's descriptor to the device, whatever it says (F58)", () => {
  for (const refused of [null, "addMemoryRegion"]) {
    const trial = new BackendTrial().negotiate();
    trial.device.refused = refused;
    const fd = new FakeDescriptor();
    strictEqual(trial.ask(Request.ADD_MEM_REG, SLOT, { fds: [fd] }), refused === null ? 0n : 1n);
    ok(fd.isOpen);
  }
});

Deno.test("Backend names the region to remove by its addresses, with or without a descriptor, which it closes (F59)", () => {
  const trial = new BackendTrial().negotiate();
  const fd = new FakeDescriptor();
  strictEqual(trial.ask(Request.REM_MEM_REG, SLOT), 0n);
  strictEqual(trial.ask(Request.REM_MEM_REG, SLOT, { fds: [fd] }), 0n);
  strictEqual(fd.closed, 1);
  deepStrictEqual(trial.device.calls, new Array(2).fill("removeMemoryRegion 0x8000000000000000"));
});

Deno.test("Backend passes on that there is no such region, and closes what came along (F59)", () => {
  const trial = new BackendTrial().negotiate();
  trial.device.refused = "removeMemoryRegion";
  const fd = new FakeDescriptor();
  strictEqual(trial.ask(Request.REM_MEM_REG, SLOT, { fds: [fd] }), 1n);
  strictEqual(fd.closed, 1);
  strictEqual(trial.refusals.length, 1);
});

Deno.test("Backend changes regions while rings stand still, and does not stop them itself (F60)", () => {
  const trial = new BackendTrial().negotiate();
  trial.startRing(0);
  trial.device.onCall = () => ok(trial.device.isQuiet);
  strictEqual(trial.ask(Request.ADD_MEM_REG, SLOT, { fds: [new FakeDescriptor()] }), 0n);
  strictEqual(trial.ask(Request.REM_MEM_REG, SLOT), 0n);
  strictEqual(trial.device.isQuiet, false);
  deepStrictEqual(trial.device.calls.map((call) => call.split(" ")[0]), [
    "startRing",
    "addMemoryRegion",
    "removeMemoryRegion",
  ]);
});

Deno.test("Backend ends the connection when a region has no descriptor, or two (F25, F58)", () => {
  for (const count of [0, 2]) {
    const trial = new BackendTrial().negotiate();
    const fds = Array.from({ length: count }, () => new FakeDescriptor());
    throws(() => trial.say(Request.ADD_MEM_REG, SLOT, { fds }), ProtocolError);
    ok(fds.every((fd) => fd.closed === 1));
    deepStrictEqual(trial.device.calls, []);
  }
});

Deno.test("Backend refuses single regions that were not negotiated, and closes their descriptors (F84)", () => {
  const trial = new BackendTrial().negotiate(WITHOUT_SLOTS);
  for (const request of [Request.ADD_MEM_REG, Request.REM_MEM_REG]) {
    const fd = new FakeDescriptor();
    strictEqual(trial.ask(request, SLOT, { fds: [fd] }), 1n);
    strictEqual(fd.closed, 1);
  }
  deepStrictEqual(trial.device.calls, []);
  const options = { flags: FLAG_NEED_REPLY };
  throws(() => trial.say(Request.GET_MAX_MEM_SLOTS, NOTHING, options), ProtocolError);
});
