/**
 * Messages that exist and are not offered: a channel for requests of the back-end, in-flight
 * descriptors, IOMMU, device configuration, post-copy. They are refused like any unknown number.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { ProtocolError } from "../../src/vhost_user/errors.ts";
import { FLAG_NEED_REPLY } from "../../src/vhost_user/numbers.ts";
import { BackendTrial, FakeDescriptor } from "../support/backend_trial.ts";
import { UNSUPPORTED } from "../support/unsupported_messages.ts";

for (const { ids, what, messages } of UNSUPPORTED) {
  Deno.test(`Backend refuses ${what}, tells the device nothing and closes what came along (${ids})`, () => {
    const trial = new BackendTrial().negotiate();
    for (const { name, request, payload, fds: count = 0 } of messages) {
      const fds = Array.from({ length: count }, () => new FakeDescriptor());
      strictEqual(trial.ask(request, payload, { fds }), 1n, name);
      ok(fds.every((fd) => fd.closed === 1), name);
    }
    deepStrictEqual(trial.device.calls, []);
  });

  Deno.test(`Backend ends the connection on ${what} without acknowledgements (${ids})`, () => {
    for (const { name, request, payload, fds: count = 0 } of messages) {
      const trial = new BackendTrial().negotiate(1n);
      const fds = Array.from({ length: count }, () => new FakeDescriptor());
      const options = { flags: FLAG_NEED_REPLY, fds };
      throws(() => trial.say(request, payload, options), ProtocolError, name);
      ok(fds.every((fd) => fd.closed === 1), name);
    }
  });
}
