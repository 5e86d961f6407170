/**
 * Bridges of a topology are joined without a loop: a flooded frame would go round for ever.
 *
 * Two kinds of ports join them: a pair of patch ports, and a front-end and a back-end that meet on
 * one socket.
 *
 * @module
 */
import type { Contradiction } from "./host_rules.ts";
import type { TopologyFile } from "./schema.ts";
import { meet, type SocketPort } from "./socket_rules.ts";

/** Two ports of the file that lead to each other; what one takes, the other gives. */
interface Joint {
  /** The one that comes later in the file. */
  readonly port: string;
  /** The other one. */
  readonly other: string;
  /** Where the file says that they lead to each other. */
  readonly key: "peer" | "socket";
}

/**
 * Finds the ports that close a loop.
 *
 * @param ports All ports of the file.
 * @param sockets Those that have a socket.
 * @returns The mistakes in the order of the file.
 */
export function loopContradictions(
  ports: TopologyFile["ports"],
  sockets: readonly SocketPort[],
): Contradiction[] {
  const order = Object.keys(ports);
  const joints = [...patchJoints(ports), ...socketJoints(sockets)]
    .toSorted((a, b) => order.indexOf(a.port) - order.indexOf(b.port));
  const joined = new Map<string, ReadonlySet<string>>();
  const groupOf = (bridge: string) => joined.get(bridge) ?? new Set([bridge]);
  return joints.flatMap((joint) => {
    const [here, there] = [ports[joint.port]!.bridge, ports[joint.other]!.bridge];
    if (groupOf(here).has(there)) return [mistake(joint, here === there ? here : null)];
    const group = groupOf(here).union(groupOf(there));
    for (const bridge of group) joined.set(bridge, group);
    return [];
  });
}

// An end whose peer leads elsewhere joins nothing.
function patchJoints(ports: TopologyFile["ports"]): Joint[] {
  const order = Object.keys(ports);
  return Object.entries(ports).flatMap(([name, port], i): Joint[] => {
    if (port.type !== "patch" || order.indexOf(port.peer) >= i) return [];
    const other = ports[port.peer];
    return other?.type === "patch" && other.peer === name
      ? [{ port: name, other: port.peer, key: "peer" }]
      : [];
  });
}

function socketJoints(sockets: readonly SocketPort[]): Joint[] {
  return sockets.flatMap((port, i) =>
    sockets.slice(0, i).filter((other) => meet(port, other))
      .map((other): Joint => ({ port: port.name, other: other.name, key: "socket" }))
  );
}

// The bridge is that of both ports when they have the same.
function mistake({ port, other, key }: Joint, bridge: string | null): Contradiction {
  const path = ["ports", port, key];
  if (key === "peer") {
    return bridge === null
      ? {
        path,
        reason: "the bridges of both ends are joined already: frames would go round for ever",
        fix: "remove this pair",
      }
      : {
        path,
        reason: `both ends are in bridge "${bridge}": its frames would go round for ever`,
        fix: "give one of them another bridge",
      };
  }
  const where = bridge === null
    ? "the bridges of both are joined already: frames"
    : `both are in bridge "${bridge}": its frames`;
  return {
    path,
    reason: `port "${other}" is the other end of this socket, and ${where} would go round for ever`,
    fix: bridge === null
      ? "give this port a socket of its own"
      : "give one of them another bridge, or a socket of its own",
  };
}
