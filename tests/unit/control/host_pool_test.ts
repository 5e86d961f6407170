/**
 * What becomes of host ports when their thread dies of a fault of ours.
 *
 * @module
 */
import { deepStrictEqual, match, rejects, strictEqual } from "node:assert/strict";
import { parseTopology } from "../../../config/load.ts";
import type { HostConfig } from "../../../config/topology.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { PairEndpoint } from "../../../src/control/endpoint.ts";
import { HostPool } from "../../../src/control/host_pool.ts";
import { eventually } from "../../support/eventually.ts";

const DYING = new URL("../../support/dying_host_worker.ts", import.meta.url);
/** Deaths that are survived within ten seconds. */
const MAX_DEATHS = 5;

function hostConfig(name: string): HostConfig {
  const text = `version: 1\nports: { ${name}: { type: host, address: 10.0.0.1/24 } }`;
  const [port] = parseTopology(text, "lab.yaml").ports;
  if (port?.type !== "host") throw new Error("want a host");
  return port;
}

/** A pool with one host whose thread dies when the last socket is closed. */
function dyingPool(name: string) {
  const sockets: Fd[] = [];
  const replaced: string[] = [];
  const failures: string[] = [];
  const pool = new HostPool({
    onHostEvent: () => {},
    onReplaced: ({ message }) => replaced.push(message),
    onFailure: ({ message }) => failures.push(message),
  }, { program: DYING, now: () => 0 });
  const fail = () => {
    throw new Error("unexpected");
  };
  const endpoint = new PairEndpoint({
    obstacle: () => null,
    onPeer: (socket) => sockets.push(socket),
    onStale: fail,
    onExhausted: fail,
  });
  pool.add(hostConfig(name), endpoint);
  return { pool, sockets, replaced, failures };
}

Deno.test("HostPool gives hosts a new thread when theirs dies, and gives up when it goes on", async () => {
  const { pool, sockets, replaced, failures } = dyingPool("h1");
  await pool.start();
  for (let death = 1; death <= MAX_DEATHS; death++) {
    strictEqual(sockets.length, death);
    sockets.at(-1)!.close();
    await eventually("a new thread", () => replaced.length === death || null);
  }
  for (const reason of replaced) {
    match(reason, /thread of the host ports failed: .*a fault of ours/);
  }
  deepStrictEqual(failures, []);
  sockets.at(-1)!.close();
  await eventually("the failure", () => failures.length === 1 || null);
  match(failures[0]!, /a fault of ours/);
  strictEqual(sockets.length, MAX_DEATHS + 1);
  await pool.stop();
});

Deno.test("HostPool ends its thread when it is told to", async () => {
  const { pool, sockets, replaced, failures } = dyingPool("h1");
  await pool.start();
  await pool.stop();
  sockets[0]!.close();
  deepStrictEqual([replaced, failures], [[], []]);
});

Deno.test("HostPool says why its thread cannot start", async () => {
  const { pool, sockets, failures } = dyingPool("unlucky");
  await rejects(pool.start(), /it cannot start/);
  await pool.stop();
  sockets[0]!.close();
  deepStrictEqual(failures, []);
});

Deno.test("HostPool without hosts has no thread", async () => {
  const pool = new HostPool({ onHostEvent: () => {}, onReplaced: () => {}, onFailure: () => {} });
  await pool.start();
  await pool.stop();
});
