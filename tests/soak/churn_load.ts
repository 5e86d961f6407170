/**
 * Those who come and go: one visitor at a time on each of its ports, for ever, in one thread. The last
 * port is one to which the switch connects; there the visitor listens.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { acceptUnix, listenUnix } from "../../ffi/unix_socket.ts";
import { Random } from "../fuzz/random.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { type LoadContext, serveLoad } from "./load_scope.ts";
import { GuestRam, ramBytes } from "./station.ts";
import { LARGEST, type Visitor, VISITOR_MEMFD } from "./visitor.ts";
import { type Visit, VISITS } from "./visits.ts";

/** From one visit of a port to the next, at least and at most. */
const PAUSE_MS = [50, 250] as const;
/** Faults that are told; one is enough to fail. */
const MAX_FAULTS = 20;

serveLoad(async (context) => {
  const counts = Object.fromEntries(Object.keys(VISITS).map((name) => [name, 0]));
  const last = context.sockets.length - 1;
  const ports = context.sockets.map((socket, i) =>
    i === last ? listeningPort(socket) : { connect: () => RawClient.connect(socket) }
  );
  context.ready();
  await Promise.all(ports.map((port, i) => churn(context, port, i, counts)));
  return counts;
});

/** How a port is reached. */
interface ChurnPort extends Partial<Disposable> {
  readonly connect: () => Promise<RawClient>;
  /** Whether only one connection is made to it at a time. */
  readonly isListening?: boolean;
}

function listeningPort(socket: string): ChurnPort {
  const listener = listenUnix(socket);
  return {
    connect: async () =>
      RawClient.adopt(await eventually("the switch connects", () => acceptUnix(listener))),
    isListening: true,
    [Symbol.dispose]: () => listener.close(),
  };
}

async function churn(
  { board, seed, fault }: LoadContext,
  port: ChurnPort,
  number: number,
  counts: Record<string, number>,
): Promise<void> {
  const random = new Random(seed, number);
  using ram = new GuestRam(VISITOR_MEMFD, ramBytes({ ...LARGEST, features: 0n }));
  const visitor: Visitor = { connect: port.connect, ram, random };
  // The switch connects only once, so nobody comes second there.
  const names = Object.keys(VISITS).filter((name) => name !== "comeSecond" || !port.isListening);
  let faults = 0;
  for (let visit = 0; !board.isStopped; visit++) {
    const name = random.pick(names);
    try {
      await (VISITS[name] as Visit)(visitor);
    } catch (error) {
      const text = error instanceof Error ? error.stack : String(error);
      if (++faults <= MAX_FAULTS) fault(`visit ${visit} of port ${number}, ${name}: ${text}`);
    }
    counts[name]!++;
    board.add("visits");
    ram.renew();
    await delay(random.between(...PAUSE_MS));
  }
  port[Symbol.dispose]?.();
}
