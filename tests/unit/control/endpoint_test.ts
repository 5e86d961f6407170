/**
 * Endpoints whose port has no room.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { OsError } from "../../../ffi/errno.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { acceptUnix, connectUnix, listenUnix, unixSocketPair } from "../../../ffi/unix_socket.ts";
import {
  ClientEndpoint,
  type Endpoint,
  type EndpointEvents,
  ServerEndpoint,
} from "../../../src/control/endpoint.ts";
import { PatchCable } from "../../../src/control/patch_cable.ts";
import { Reactor } from "../../../src/control/reactor.ts";
import { eventually } from "../../support/eventually.ts";
import { countDescriptors } from "../../support/leaks.ts";

// asm-generic/errno-base.h
const ENOSPC = 28;

/** A port that has no room for its first peers, or does not want any for a while. */
class Reluctant implements EndpointEvents {
  /** What was told, in a word each. */
  readonly told: string[] = [];
  readonly peers: Fd[] = [];
  wait: Promise<void> | null = null;

  constructor(private refusals = 0) {}

  readonly obstacle = (): Promise<void> | null => this.wait;

  readonly onPeer = (socket: Fd): void => {
    if (this.refusals-- > 0) {
      socket.close();
      throw new OsError("watch a descriptor", ENOSPC);
    }
    this.peers.push(socket);
  };

  readonly onStale = (): void => void this.told.push("stale");
  readonly onExhausted = (): void => void this.told.push("exhausted");

  close(): void {
    for (const socket of this.peers) socket.close();
  }
}

async function inFolder(test: (path: string, reactor: Reactor) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  const before = countDescriptors();
  const reactor = new Reactor();
  reactor.start();
  try {
    await test(join(folder, "a.sock"), reactor);
  } finally {
    await reactor.stop();
    await Deno.remove(folder, { recursive: true });
  }
  strictEqual(countDescriptors(), before);
}

async function peerOf(port: Reluctant): Promise<void> {
  await eventually("a peer", () => port.peers.length > 0 || null);
}

Deno.test("ServerEndpoint tells once that its port has no room, and goes on", () =>
  inFolder(async (path, reactor) => {
    const port = new Reluctant(2);
    const endpoint = new ServerEndpoint(path, reactor, port);
    endpoint.open();
    const guests = Array.from({ length: 3 }, () => connectUnix(path));
    await peerOf(port);
    deepStrictEqual(port.told, ["exhausted"]);
    endpoint.close();
    for (const guest of guests) guest.close();
    port.close();
  }));

Deno.test("ServerEndpoint accepts nobody before the obstacle is gone", () =>
  inFolder(async (path, reactor) => {
    const port = new Reluctant();
    const gone = Promise.withResolvers<void>();
    port.wait = gone.promise;
    const endpoint = new ServerEndpoint(path, reactor, port);
    endpoint.open();
    using _guest = connectUnix(path);
    const before = countDescriptors();
    // Another descriptor's events come after the guest's.
    await turns(reactor);
    deepStrictEqual([port.peers.length, countDescriptors()], [0, before]);
    port.wait = null;
    gone.resolve();
    await peerOf(port);
    endpoint.close();
    port.close();
  }));

Deno.test("ServerEndpoint waits longer each time for the next peer after useless ones", () =>
  inFolder(async (path, reactor) => {
    const port = new Reluctant();
    const endpoint = new ServerEndpoint(path, reactor, port);
    endpoint.open();
    const start = performance.now();
    for (let i = 0; i < 4; i++) {
      using _guest = connectUnix(path);
      await peerOf(port);
      port.peers.pop()!.close();
      endpoint.released(false);
    }
    ok(performance.now() - start >= 100 + 200 + 400);
    endpoint.close();
  }));

Deno.test("ClientEndpoint tells once that its port has no room, and goes on", () =>
  inFolder(async (path) => {
    using listener = listenUnix(path);
    const port = new Reluctant(2);
    const endpoint: Endpoint = new ClientEndpoint(path, port);
    endpoint.open();
    await peerOf(port);
    deepStrictEqual(port.told, ["exhausted"]);
    endpoint.close();
    port.close();
    for (let i = 0; i < 3; i++) acceptUnix(listener)!.close();
  }));

Deno.test("PatchCable offers both ends again when a port has no room", () =>
  inFolder(async () => {
    const cable = new PatchCable();
    const ports = [new Reluctant(1), new Reluctant(1)];
    const ends = ports.map((port) => cable.plug(port));
    for (const end of ends) end.open();
    await eventually("both are joined", () => ports.every(({ peers }) => peers.length > 0) || null);
    for (const end of ends) end.close();
    for (const port of ports) port.close();
  }));

async function turns(reactor: Reactor): Promise<void> {
  const [one, other] = unixSocketPair();
  const seen = Promise.withResolvers<void>();
  const token = reactor.watch(one.number, () => seen.resolve());
  other.close();
  await seen.promise;
  reactor.unwatch(one.number, token);
  one.close();
}
