/**
 * What sockets of a topology must keep to: their paths fit, and no two ports want the same end of one.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { MAX_PATH_BYTES } from "../ffi/unix_socket.ts";
import type { Contradiction } from "./host_rules.ts";
import type { TopologyFile } from "./schema.ts";

/** A port with a socket, as the file has it. */
export type SocketEntry = Extract<TopologyFile["ports"][string], { socket: string }>;

/** One with its name and the absolute path of its socket. */
export interface SocketPort {
  /** Its name. */
  readonly name: string;
  /** The absolute path. */
  readonly path: string;
  /** The rest of it. */
  readonly entry: SocketEntry;
}

/**
 * Finds what is wrong with the sockets.
 *
 * @param ports The ports that have one.
 * @returns The mistakes in the order of the file.
 */
export function socketContradictions(ports: readonly SocketPort[]): Contradiction[] {
  return ports.flatMap((port, i) => [
    ...lengthMistake(port),
    ...twinMistake(port, ports.slice(0, i)),
  ]);
}

/**
 * Takes the ports that have a socket.
 *
 * @param ports All ports of the file.
 * @param fileName The file.
 */
export function socketPorts(ports: TopologyFile["ports"], fileName: string): SocketPort[] {
  return Object.entries(ports).flatMap(([name, entry]) =>
    "socket" in entry ? [{ name, path: resolveSocket(entry.socket, fileName), entry }] : []
  );
}

/** Makes a path absolute: a relative one starts at the folder of the file. */
export function resolveSocket(socket: string, fileName: string): string {
  return resolve(dirname(fileName), socket);
}

/** Whether two ports talk to each other: a front-end and a back-end of which one listens. */
export function meet(a: SocketPort, b: SocketPort): boolean {
  return a.path === b.path && a.entry.type !== b.entry.type && a.entry.role !== b.entry.role;
}

function lengthMistake({ name, path }: SocketPort): Contradiction[] {
  const bytes = new TextEncoder().encode(path).length;
  if (bytes <= MAX_PATH_BYTES) return [];
  const reason = `the socket's path has ${bytes} bytes; Linux allows ${MAX_PATH_BYTES}`;
  return [{ path: place(name), reason, fix: "use a shorter folder, like /run/lab" }];
}

function twinMistake(port: SocketPort, before: readonly SocketPort[]): Contradiction[] {
  const twin = before.find((other) => other.path === port.path && !meet(port, other));
  if (twin === undefined) return [];
  const reason = `port "${twin.name}" has the same socket`;
  return [{ path: place(port.name), reason, fix: "give each port a socket of its own" }];
}

function place(name: string): Contradiction["path"] {
  return ["ports", name, "socket"];
}
