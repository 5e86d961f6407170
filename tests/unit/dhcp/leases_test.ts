import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { Leases } from "../../../src/dhcp/leases.ts";

const RANGE = { first: 10, last: 13, leaseSeconds: 100 };

/** What a stranger may do, in any order. */
const step = fc.record({
  client: fc.integer({ min: 0, max: 7 }).map(String),
  what: fc.constantFrom("offer", "bind", "release", "decline", "adopt"),
  wanted: fc.option(fc.integer({ min: 8, max: 15 })),
  pause: fc.integer({ min: 0, max: 60 }),
});

Deno.test("Leases never gives one address to two clients, and none outside its range", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const leases = new Leases(RANGE);
    const clients = new Set<string>();
    let now = 0;
    for (const { client, what, wanted, pause } of steps) {
      now += pause;
      clients.add(client);
      const own = leases.of(client);
      if (what === "offer") leases.offer(client, wanted, now);
      else if (what === "adopt") leases.adopt(client, wanted ?? 0, now);
      else if (own !== null && what === "bind") leases.bind(own, now);
      else if (own !== null && what === "release") leases.release(own, now);
      else if (own !== null && what === "decline") leases.decline(own, now);
      const all = [...clients].flatMap((one) => leases.of(one)?.address ?? []);
      strictEqual(new Set(all).size, all.length);
      for (const address of all) ok(address >= RANGE.first && address <= RANGE.last);
    }
  }));
});

Deno.test("Leases finds an address in a full range as soon as one is free", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const leases = new Leases(RANGE);
    let now = 0;
    for (const { client, wanted, pause } of steps) {
      now += pause;
      const lease = leases.offer(client, wanted, now);
      if (lease !== null) leases.bind(lease, now);
    }
    now += RANGE.leaseSeconds;
    const fresh = ["a", "b", "c", "d"].map((client) => leases.offer(client, null, now)?.address);
    deepStrictEqual(fresh.toSorted(), [10, 11, 12, 13]);
    strictEqual(leases.offer("e", null, now), null);
  }));
});
