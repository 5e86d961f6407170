/**
 * A host of the demo: a Worker that attaches to a port of the switch and plays its part.
 *
 * The caller resolves, pings and sends frames; the other one answers until it is told to stop.
 *
 * @module
 */
import { parseMac } from "../ethernet/frame.ts";
import { ICMP_ECHO_REQUEST } from "../ethernet/icmp.ts";
import { parseIpv4 } from "../ethernet/ipv4.ts";
import { type LoopResult, runClosedLoop } from "../host/closed_loop.ts";
import { Host } from "../host/host.ts";
import { Nic } from "../host/nic.ts";
import { type FloodResult, runPingFlood } from "../host/ping_flood.ts";

/** What a host is told once, when its Worker starts. */
export interface HostOrder {
  /** The socket of its port. */
  readonly socket: string;
  /** Its Ethernet address. */
  readonly mac: string;
  /** Its IPv4 address. */
  readonly ip: string;
  /** One 32-bit word, shared: not 0 when the host shall end. */
  readonly stop: SharedArrayBuffer;
  /** What to do; a host without one only answers. */
  readonly call: CallOrder | null;
}

/** What the caller does. */
export interface CallOrder {
  /** IPv4 address of the other host. */
  readonly ip: string;
  /** The host port that is pinged as fast as it answers. */
  readonly flood: FloodOrder;
  /** Echo requests. */
  readonly pings: number;
  /** How long frames are sent. */
  readonly seconds: number;
  /** Bytes of a frame. */
  readonly frameBytes: number;
  /** Frames on the way at a time. */
  readonly window: number;
}

/** How a host port is pinged. */
export interface FloodOrder {
  /** Its IPv4 address. */
  readonly ip: string;
  /** How long, one ping after the other and then as many at a time as `window` says. */
  readonly seconds: number;
  /** Pings on the way at a time. */
  readonly window: number;
}

/** What a host reports, in this order; only the caller resolves, pings, floods and loops. */
export type HostReport =
  | { readonly kind: "attached" }
  | { readonly kind: "resolved"; readonly mac: Uint8Array | null; readonly ms: number }
  | { readonly kind: "pinged"; readonly roundTripsMs: readonly number[] }
  /** One ping at a time, and many; null when the host port was not found. */
  | { readonly kind: "flooded"; readonly results: readonly [FloodResult, FloodResult] | null }
  | { readonly kind: "looped"; readonly result: LoopResult }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly reason: string };

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<HostOrder>) => void) | null;
  postMessage(report: HostReport): void;
}

const ANSWER_TIMEOUT_MS = 1000;
/** How long an idle host sleeps before it looks whether it shall end. */
const WAIT_MS = 50;
/** Empty looks before an answering host sleeps. */
const SPINS = 20000;
/** Bytes that an echo carries, as the ping command's do. */
const ECHO_BYTES = 56;

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }) => {
  try {
    using nic = Nic.connect(data.socket);
    scope.postMessage({ kind: "attached" });
    if (data.call === null) answer(nic, data);
    else call(nic, data, data.call);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    scope.postMessage({ kind: "failed", reason });
    return;
  }
  scope.postMessage({ kind: "ended" });
};

function answer(nic: Nic, { mac, ip, stop }: HostOrder): void {
  const transmit = (frame: Uint8Array) => void nic.send(frame);
  const host = new Host({ mac: parseMac(mac), ip: parseIpv4(ip), transmit });
  const flag = new Int32Array(stop);
  const receive = (frame: Uint8Array) => host.receive(frame);
  for (let spins = 0; Atomics.load(flag, 0) === 0;) {
    if (nic.poll(receive) > 0) {
      nic.flush();
      spins = 0;
    } else if (++spins > SPINS) {
      nic.wait(WAIT_MS);
      spins = 0;
    }
  }
}

function call(nic: Nic, order: HostOrder, call: CallOrder): void {
  const mac = parseMac(order.mac);
  const other = parseIpv4(call.ip);
  let answered = -1;
  const host = new Host({
    mac,
    ip: parseIpv4(order.ip),
    transmit: (frame) => void nic.send(frame),
    onEchoReply: ({ sequence }) => answered = sequence,
  });
  const until = (isDone: () => boolean): number | null => {
    nic.flush();
    const start = performance.now();
    while (!isDone()) {
      if (performance.now() - start > ANSWER_TIMEOUT_MS) return null;
      if (nic.poll((frame) => host.receive(frame)) > 0) nic.flush();
      else nic.wait(WAIT_MS);
    }
    return performance.now() - start;
  };

  host.resolve(other);
  const ms = until(() => host.neighbour(other) !== null) ?? ANSWER_TIMEOUT_MS;
  const destination = host.neighbour(other);
  scope.postMessage({ kind: "resolved", mac: destination, ms });
  if (destination === null) return;

  const roundTripsMs: number[] = [];
  for (let sequence = 0; sequence < call.pings; sequence++) {
    const data = new Uint8Array(ECHO_BYTES).fill(sequence);
    host.sendEcho(other, { type: ICMP_ECHO_REQUEST, identifier: 1, sequence, data });
    const roundTrip = until(() => answered === sequence);
    if (roundTrip !== null) roundTripsMs.push(roundTrip);
  }
  scope.postMessage({ kind: "pinged", roundTripsMs });

  const { flood } = call;
  const floodIp = parseIpv4(flood.ip);
  host.resolve(floodIp);
  until(() => host.neighbour(floodIp) !== null);
  const floodMac = host.neighbour(floodIp);
  const run = (window: number) =>
    runPingFlood(nic, {
      ...{ source: mac, sourceIp: parseIpv4(order.ip) },
      ...{ destination: floodMac!, destinationIp: floodIp },
      ...{ dataBytes: ECHO_BYTES, window, seconds: flood.seconds / 2 },
    });
  const results = floodMac === null ? null : [run(1), run(flood.window)] as const;
  scope.postMessage({ kind: "flooded", results });

  const { frameBytes, window, seconds } = call;
  const result = runClosedLoop(nic, { source: mac, destination, frameBytes, window, seconds });
  scope.postMessage({ kind: "looped", result });
}
