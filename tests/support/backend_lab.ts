/**
 * A switch with a port that leads to a hostile back-end, and the question that every such attack ends
 * with: did the other ports lose anything, was everything given back, does the port work again?
 *
 *     a ─ br0 ─ up ─ back-end        b ─ aside ─ c
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import type { PortEvent } from "../../src/control/events.ts";
import { HEADER_BYTES } from "../../src/virtio/features.ts";
import { concatenate } from "./bytes.ts";
import { eventually } from "./eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "./frames.ts";
import { HostileBackend, type HostilePeer } from "./hostile_backend.ts";
import { countDescriptors, countMappings } from "./leaks.ts";
import { Racer } from "./racer.ts";
import type { RacingEventFdRole } from "./racing_eventfd.ts";
import { TestGuest } from "./test_guest.ts";
import { TestLab, type TestLabOptions } from "./test_lab.ts";

/** How the kernel names the mappings of rings that we drive, shared and private ones. */
const MEMFDS = ["labswitch-frontend", "labswitch-slots"];
/** Stations: the guests of `a`, `b` and `c`, and what is behind the back-end. */
const STATIONS = { a: 1, b: 2, c: 3, up: 66 } as const;

/** The ports of such a switch. */
export const BACKEND_LAB: TestLabOptions = {
  ports: ["a"],
  more: {
    bridges: "{ aside: {} }",
    ports: [
      "up: { type: vhost-user-frontend, socket: up.sock }",
      "b: { type: vhost-user, socket: b.sock, bridge: aside }",
      "c: { type: vhost-user, socket: c.sock, bridge: aside }",
    ],
  },
};

/** What an attack works with. */
export interface BackendScene {
  /** The switch. */
  readonly lab: TestLab;
  /** Listens where port `up` connects. */
  readonly backend: HostileBackend;
  /** Threads that work against event descriptors. */
  readonly racers: readonly Racer<RacingEventFdRole>[];
}

/** How an attack is set up. */
export interface BackendOptions extends TestLabOptions {
  /** How many threads it wants; none unless given. */
  readonly racers?: number;
}

/**
 * Declares a test that attacks port `up` from its back-end, while a pair of other ports exchanges
 * frames that must all arrive.
 *
 * @param name A sentence that starts with what is tested.
 * @param attack The attack; closes what it opens.
 * @param options How the switch is set up.
 */
export function testBackend(
  name: string,
  attack: (scene: BackendScene) => Promise<void>,
  options: BackendOptions = {},
): void {
  Deno.test(name, async () => {
    using stack = new DisposableStack();
    const racers = await startRacers(stack, options.racers ?? 0);
    await using lab = await TestLab.open({ ...BACKEND_LAB, ...options });
    const isUp = () => lab.report("up").state === "up";
    const before = holdings();
    {
      using backend = new HostileBackend(lab.path("up"), isUp);
      await withBystanders(lab, () => attack({ lab, backend, racers }));
    }
    await isGivenBack(lab, before);
    {
      using backend = new HostileBackend(lab.path("up"), isUp);
      using peer = await backend.attach();
      await exchange(lab, peer);
    }
    await isGivenBack(lab, before);
  });
}

/**
 * Meets back-ends that all behave alike and must be left for it: each is left, the port comes again
 * after a pause that grows, and says once why.
 *
 * @param scene Switch and back-end.
 * @param behave What a back-end does; the switch must hang up then.
 * @param reason Why the switch must hang up.
 * @param rounds How many back-ends.
 */
export async function isLeft(
  { lab, backend }: BackendScene,
  behave: (peer: HostilePeer) => Promise<void>,
  reason: RegExp,
  rounds = 2,
): Promise<void> {
  const start = performance.now();
  const { closedConnections } = lab.report("up").counters;
  for (let round = 0; round < rounds; round++) {
    using peer = await backend.accept();
    // 100 ms before the second one at least, then twice as long each time.
    ok(performance.now() - start >= 100 * (2 ** round - 1), `pause ${round} was too short`);
    await behave(peer);
    await peer.end();
  }
  strictEqual(lab.report("up").counters.closedConnections, closedConnections + rounds);
  const reasons = endings(lab);
  ok(reasons.every((text) => text !== null && reason.test(text)), `reasons: ${reasons}`);
}

/** Why connections of port `up` ended, as far as it was said. */
export function endings(lab: TestLab): (string | null)[] {
  return lab.events
    .filter((event): event is PortEvent & { readonly kind: "disconnected" } =>
      event.kind === "disconnected" && event.port === "up"
    )
    .map(({ reason }) => reason);
}

/** A frame of what is behind the back-end, to everybody, with its header. */
export function backendFrame(mark: number, header: Uint8Array = plainHeader()): Uint8Array {
  return concatenate([header, makeFrame(BROADCAST, stationAddress(STATIONS.up), 100, mark)]);
}

/** The header of a plain frame in so many buffers. */
export function plainHeader(buffers = 1): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  new DataView(header.buffer).setUint16(10, buffers, true);
  return header;
}

/** A frame of a guest to everybody. */
export function guestFrame(port: "a" | "b" | "c", mark: number): Uint8Array {
  return makeFrame(BROADCAST, stationAddress(STATIONS[port]), 200, mark);
}

/** Sends frames both ways between the guest of port `a` and a back-end that keeps the rules. */
export async function exchange(lab: TestLab, peer: HostilePeer): Promise<void> {
  await lab.idle("a");
  await using guest = await TestGuest.attach(lab.path("a"));
  await exchangeWith(guest, peer);
}

/** The same with a guest that is there. */
export async function exchangeWith(guest: TestGuest, peer: HostilePeer): Promise<void> {
  for (const mark of [1, 2, 3]) {
    const sent = guestFrame("a", mark);
    guest.send(sent);
    const came = await eventually("a frame at the back-end", () => peer.takeFrame());
    deepStrictEqual(came.subarray(HEADER_BYTES), sent);
    const back = backendFrame(mark);
    peer.sendFrame(back);
    deepStrictEqual(await guest.receive(), back.subarray(HEADER_BYTES));
  }
}

// A thread of Deno's has descriptors of its own, which are there from its first race on.
async function startRacers(
  stack: DisposableStack,
  count: number,
): Promise<Racer<RacingEventFdRole>[]> {
  using event = EventFd.create();
  const racers: Racer<RacingEventFdRole>[] = [];
  for (let i = 0; i < count; i++) {
    const racer = stack.use(new Racer<RacingEventFdRole>("racing_eventfd.ts"));
    await racer.begin({ fd: event.fd.number, act: "signal" });
    await racer.end();
    racers.push(racer);
  }
  return racers;
}

// The pair sends for as long as something else goes on, and does not lose a frame.
async function withBystanders(lab: TestLab, act: () => Promise<void>): Promise<void> {
  await using from = await TestGuest.attach(lab.path("b"));
  await using to = await TestGuest.attach(lab.path("c"));
  let isOver = false;
  const passed = pass(from, to, () => isOver);
  try {
    await act();
  } finally {
    isOver = true;
    const frames = await passed;
    ok(frames > 0, "frames passed beside it");
  }
  deepStrictEqual(lostFrames(lab), []);
}

async function pass(from: TestGuest, to: TestGuest, isOver: () => boolean): Promise<number> {
  let frames = 0;
  do {
    const frame = guestFrame("b", frames);
    from.send(frame);
    deepStrictEqual(await to.receive(), frame);
    frames++;
  } while (!isOver());
  return frames;
}

function lostFrames(lab: TestLab): string[] {
  return ["b", "c"].flatMap((port) =>
    Object.entries(lab.report(port).counters.drops)
      .filter(([, count]) => count > 0)
      .map(([reason, count]) => `${port}: ${count} ${reason}`)
  );
}

interface Holdings {
  readonly descriptors: number;
  readonly mappings: number;
}

function holdings(): Holdings {
  const mappings = MEMFDS.reduce((sum, name) => sum + countMappings(Deno.pid, name), 0);
  return { descriptors: countDescriptors(), mappings };
}

async function isGivenBack(lab: TestLab, before: Holdings): Promise<void> {
  for (const port of ["a", "b", "c", "up"]) await lab.idle(port);
  await eventually("everything is given back", () => {
    const now = holdings();
    return now.descriptors === before.descriptors && now.mappings === before.mappings || null;
  });
}
