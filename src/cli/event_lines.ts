/**
 * One line per event, for a person.
 *
 * @module
 */
import { visible } from "../../config/visible.ts";
import type { Peer, PortEvent, WorkerEvent } from "../control/events.ts";
import { formatMac } from "../ethernet/frame.ts";
import { formatIpv4 } from "../ethernet/ipv4.ts";
import { featureNames } from "../virtio/features.ts";

/**
 * Says what happened to a port.
 *
 * @param event The event.
 * @returns Port name, word and details, without a time stamp.
 */
export function eventLine(event: PortEvent): string {
  // A peer chooses the name of its process: it must not write other lines, nor steer the terminal.
  return visible(`${event.port}  ${details(event)}`);
}

/**
 * Says what happened to a thread.
 *
 * @param event The event.
 * @returns Which, word and details, without a time stamp.
 */
export function workerLine(event: WorkerEvent): string {
  const report = "This is a fault of labswitch: please report it";
  return event.kind === "worker-replaced"
    ? `worker ${event.worker}  replaced  ${event.reason}; its ports go on. ${report}`
    : `hosts  replaced  ${event.reason}; they go on without their leases. ${report}`;
}

function details(event: PortEvent): string {
  switch (event.kind) {
    case "connected":
      return `connected  ${peerText(event.peer)}`;
    case "refused":
      return `refused  ${peerText(event.peer)}: another front-end is connected; ` +
        "stop it first, or give this one a port of its own";
    case "exhausted":
      return `no room  a front-end waits: ${event.reason}`;
    case "disconnected":
      return event.reason === null ? "disconnected" : `disconnected  ${event.reason}`;
    case "up":
      return `up  ${mebibytes(event.memoryBytes)} MiB in ${regions(event.regions)}  ` +
        featureNames(event.features).join(" ");
    case "down":
      return "down  the guest stopped its queues";
    case "no-memory":
      return "no memory  the guest's driver is ready, but its memory is not shared: start QEMU " +
        "with -object memory-backend-memfd,id=m,size=…,share=on -machine memory-backend=m " +
        `(labswitch qemu-args ${event.port} prints all it needs)`;
    case "request-refused":
      return `refused ${event.request}  ${event.reason}`;
    case "chains-dropped":
      return `dropped frames  ${event.text}; what follows of this kind is only counted`;
    case "ring-fault":
      return `ring ${event.index} stopped  ${event.text}; it works again after the guest's driver restarts`;
    case "stale-socket":
      return `replaced a stale socket  ${event.path}`;
    case "leased":
      return `leased ${formatIpv4(event.ip)}  to ${formatMac(event.mac)}`;
    case "exhausted-range":
      return "no address left  a guest got none: widen range:, or shorten lease:";
  }
}

function peerText({ name, pid }: Peer): string {
  return pid === 0 ? name : `${name} (pid ${pid})`;
}

function regions(number: number): string {
  return number === 1 ? "1 region" : `${number} regions`;
}

function mebibytes(bytes: bigint): string {
  return (Number(bytes) / 2 ** 20).toFixed(0);
}
