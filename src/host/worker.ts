/**
 * The Worker of a switch's hosts: attaches an interface for each, says so, and serves them until
 * control stops it.
 *
 * When it fails, which is a programmer's fault, it hangs up for all its hosts and dies; control puts
 * another one in its place (see control/host_pool.ts).
 *
 * @module
 */
import type { HostConfig } from "../../config/topology.ts";
import { Epoll } from "../../ffi/epoll.ts";
import { Fd } from "../../ffi/fd.ts";
import { type DhcpEvent, DhcpServer } from "../dhcp/server.ts";
import { parseMac } from "../ethernet/frame.ts";
import { linkLocalAddress } from "../ethernet/ipv6.ts";
import { EventBudget } from "./event_budget.ts";
import { HostLoop, type LoopHost } from "./host_loop.ts";
import { Nic } from "./nic.ts";
import { Station } from "./station.ts";

/** A host as control hands it over. */
export interface HostSetup {
  /** What it is. */
  readonly config: HostConfig;
  /** The number of its end of a socket pair; the Worker owns the descriptor from now on. */
  readonly socket: number;
}

/** What control posts to a new Worker, once. */
export interface HostWorkerSetup {
  /** The hosts. */
  readonly hosts: readonly HostSetup[];
  /** The number of a descriptor that wakes the Worker; stays control's. */
  readonly doorbellFd: number;
  /** One 32-bit word, shared: not 0 when the Worker shall end. */
  readonly stop: SharedArrayBuffer;
}

/** What a Worker posts. */
export type HostWorkerReport =
  /** Every host is attached. */
  | { readonly kind: "running" }
  /** It has ended as it was told. */
  | { readonly kind: "stopped" }
  /** Something happened to a host that a person wants to know. */
  | { readonly kind: "event"; readonly host: string; readonly event: DhcpEvent };

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<HostWorkerSetup>) => void) | null;
  postMessage(report: HostWorkerReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }) => {
  serve(data);
  scope.postMessage({ kind: "stopped" });
};

function serve({ hosts, doorbellFd, stop }: HostWorkerSetup): void {
  using stack = new DisposableStack();
  const sockets = hosts.map(({ socket }) => stack.use(Fd.adopt(socket)));
  const served = hosts.map(({ config }, i): LoopHost => ({
    nic: stack.use(new Nic(Fd.adopt(sockets[i]!.release()))),
    station: stationOf(config),
  }));
  const flag = new Int32Array(stop);
  const isStopped = () => Atomics.load(flag, 0) !== 0;
  const loop = new HostLoop(served, stack.use(Epoll.create()), { doorbellFd, isStopped });
  scope.postMessage({ kind: "running" });
  loop.run();
}

function stationOf({ name, mac: text, ipv4, ipv6, dhcp }: HostConfig): Station {
  const mac = parseMac(text);
  const budget = new EventBudget();
  const post = (event: DhcpEvent) => {
    const isPosted = budget.take(performance.now());
    if (isPosted) scope.postMessage({ kind: "event", host: name, event });
  };
  return new Station({
    mac,
    ipv4: ipv4?.ip ?? null,
    ipv6: [linkLocalAddress(mac), ...ipv6 === null ? [] : [ipv6.ip]],
    dhcp: dhcp === null || ipv4 === null
      ? null
      : new DhcpServer({ ip: ipv4.ip, prefixBits: ipv4.prefixBits, ...dhcp }, post),
  });
}
