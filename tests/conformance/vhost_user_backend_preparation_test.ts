/**
 * Memory that must be allocated before it is mapped, which takes its time (VHOST_USER_SET_MEM_TABLE,
 * VHOST_USER_ADD_MEM_REG).
 *
 * @module
 */
import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { ProtocolError, RequestRefused } from "../../src/vhost_user/errors.ts";
import { FLAG_NEED_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { BackendTrial, FakeDescriptor, numberOf } from "../support/backend_trial.ts";
import { dirtyLog, memorySlot, memoryTable } from "../support/vhost_messages.ts";

const REGION = { size: 4096n };

/** Messages that bring memory, with what the device is told when it is ready. */
const MESSAGES = [
  [Request.SET_MEM_TABLE, memoryTable([REGION]), "setMemoryTable 1"],
  [Request.ADD_MEM_REG, memorySlot(REGION), "addMemoryRegion 0x0"],
  [Request.SET_LOG_BASE, dirtyLog(4096n), "setLog 4096 at 0"],
] as const;

/** A trial whose device needs time, and the end of that time. */
function slowTrial() {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const trial = new BackendTrial().negotiate();
  trial.device.preparation = promise;
  return { trial, resolve, reject };
}

for (const [request, payload, call] of MESSAGES) {
  const name = call.split(" ")[0];

  Deno.test(`Backend waits for its memory before ${name} (F47, F48)`, async () => {
    const { trial, resolve } = slowTrial();
    const fds = [new FakeDescriptor()];
    const answer = trial.sayAndWait(request, payload, { flags: FLAG_NEED_REPLY, fds });
    await Promise.resolve();
    deepStrictEqual(trial.device.calls, []);
    ok(fds[0]!.isOpen);
    resolve();
    strictEqual(numberOf(await answer, request), 0n);
    deepStrictEqual(trial.device.calls, [call]);
  });

  Deno.test(`Backend refuses ${name} when there is too little memory (F47, F48)`, async () => {
    const { trial, reject } = slowTrial();
    const fds = [new FakeDescriptor()];
    const answer = trial.sayAndWait(request, payload, { flags: FLAG_NEED_REPLY, fds });
    reject(new RequestRefused("too little memory"));
    // The reply about a log has no room for a refusal.
    if (request === Request.SET_LOG_BASE) await rejects(answer, ProtocolError);
    else strictEqual(numberOf(await answer, request), 1n);
    deepStrictEqual(trial.device.calls, []);
    strictEqual(fds[0]!.closed, 1);
    strictEqual(trial.refusals.length, 1);
  });

  Deno.test(`Backend ends the connection when ${name} fails and nobody asked for an answer (F47, F48)`, async () => {
    const { trial, reject } = slowTrial();
    const fds = [new FakeDescriptor()];
    const answer = trial.sayAndWait(request, payload, { fds });
    reject(new RequestRefused("too little memory"));
    await rejects(answer, ProtocolError);
    strictEqual(fds[0]!.closed, 1);
  });

  Deno.test(`Backend passes on a failure of preparing ${name} that is no refusal`, async () => {
    const { trial, reject } = slowTrial();
    const fds = [new FakeDescriptor()];
    const answer = trial.sayAndWait(request, payload, { flags: FLAG_NEED_REPLY, fds });
    reject(new RangeError("broken"));
    await rejects(answer, RangeError);
    strictEqual(fds[0]!.closed, 1);
  });

  for (const outcome of ["is there", "is missing"]) {
    Deno.test(`Backend forgets ${name} when it was closed before the memory ${outcome} (F47, F48)`, async () => {
      const { trial, resolve, reject } = slowTrial();
      const fds = [new FakeDescriptor()];
      const answer = trial.sayAndWait(request, payload, { flags: FLAG_NEED_REPLY, fds });
      trial.backend.close();
      // Whoever allocates uses it until then.
      ok(fds[0]!.isOpen);
      if (outcome === "is there") resolve();
      else reject(new RequestRefused("too little memory"));
      strictEqual(await answer, null);
      deepStrictEqual(trial.device.calls, []);
      strictEqual(fds[0]!.closed, 1);
    });
  }
}

Deno.test("Backend does not prepare memory of a message that breaks the rules (F38, F84)", () => {
  const { trial } = slowTrial();
  const fds = [new FakeDescriptor()];
  // Two regions, one descriptor: answered at once.
  let error: unknown = null;
  try {
    trial.handle(Request.SET_MEM_TABLE, memoryTable([REGION, REGION]), { fds });
  } catch (thrown) {
    error = thrown;
  }
  ok(error instanceof ProtocolError);
  strictEqual(fds[0]!.closed, 1);
});
