/**
 * Starts a back-end in a folder of its own and probes it.
 *
 * @module
 */
import { ClientConnector } from "../../src/probe/connector.ts";
import { probe, type ProbeOptions, type ProbeReport } from "../../src/probe/probe.ts";
import { reserveDpdkMemory } from "../support/hugepages.ts";
import type { Backend } from "./backend.ts";
import { Peer } from "./peer.ts";

/**
 * Probes a back-end.
 *
 * @param backend The back-end, which is started and ended here.
 * @param options Patience, and whom to tell meanwhile.
 * @returns What was found out.
 * @throws {Error} When it does not start, or does not speak vhost-user.
 */
export async function probeBackend(
  backend: Backend,
  options: ProbeOptions,
): Promise<ProbeReport> {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "labswitch-backend-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const memory = stack.use(reserveDpdkMemory(backend.dpdkMemoryMib));
  const running = stack.use(await backend.start({ folder, memory }));
  if (running.peer !== null) stack.use(await Peer.attach(running.peer));
  using connector = new ClientConnector(running.socket);
  return await probe(connector, options);
}
