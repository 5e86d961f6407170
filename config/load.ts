/**
 * From a YAML file to a topology, or to diagnostics that point into the file.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import {
  type Document,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLError,
} from "yaml";
import type { z } from "zod";
import { MAX_PATH_BYTES } from "../ffi/unix_socket.ts";
import { MAX_BRIDGES, MAX_PORTS } from "../src/dataplane/state_layout.ts";
import { type Diagnostic, TopologyError } from "./diagnostics.ts";
import {
  DEFAULT_AGEING,
  DEFAULT_BRIDGE,
  DEFAULT_MAX_ADDRESSES,
  type TopologyFile,
  topologyFile,
} from "./schema.ts";
import { suggest } from "./suggest.ts";
import type { BridgeConfig, PortConfig, Topology } from "./topology.ts";
import { parseSeconds } from "./units.ts";

/** A place in the file. */
type Path = readonly (string | number)[];

/**
 * Reads a topology file.
 *
 * @param path The file.
 * @returns The topology.
 * @throws {TopologyError} When it is no valid topology; its message is for the user.
 * @throws {Deno.errors.NotFound | Deno.errors.PermissionDenied} When it cannot be read.
 */
export async function loadTopology(path: string): Promise<Topology> {
  return parseTopology(await Deno.readTextFile(path), path);
}

/**
 * Reads a topology from text.
 *
 * @param text YAML 1.2.
 * @param fileName For messages; sockets are relative to its folder.
 * @returns The topology.
 * @throws {TopologyError} When it is no valid topology; its message is for the user.
 */
export function parseTopology(text: string, fileName: string): Topology {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const source = new Source(document, lines);
  const problem = document.errors[0];
  if (problem !== undefined) {
    throw new TopologyError(fileName, text, [source.syntax(problem)]);
  }
  const checked = topologyFile.safeParse(document.toJS() ?? {});
  const found = checked.success
    ? source.contradictions(checked.data, fileName)
    : checked.error.issues.flatMap((issue) => source.explain(issue));
  if (!checked.success || found.length > 0) {
    throw new TopologyError(fileName, text, found.toSorted(byPosition));
  }
  return resolveTopology(checked.data, fileName);
}

function byPosition(a: Diagnostic, b: Diagnostic): number {
  return a.line - b.line || a.column - b.column;
}

/** Finds the place of a value or key in the text. */
class Source {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;

  constructor(document: Document.Parsed, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  syntax({ pos, message, code }: YAMLError): Diagnostic {
    const fix = code === "DUPLICATE_KEY"
      ? "remove one of the two"
      : code === "TAB_AS_INDENT"
      ? "indent with spaces"
      : "correct the YAML; a value with special characters needs quotes";
    return this.#at(pos[0], pos[1], message.split("\n")[0]!.replace(/[.:]$/, ""), fix);
  }

  /** Explains what the schema has found. */
  explain(issue: z.core.$ZodIssue): Diagnostic[] {
    const path = issue.path as Path;
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => this.#unknownKey(path, key));
    }
    const [reason, fix] = explanation(issue, this.#document.getIn(path));
    const isMissing = this.#document.getIn(path, true) === undefined;
    if (isMissing) {
      const key = path.at(-1);
      return [this.key(path.slice(0, -1), `"${key}" is missing`, fix ?? `add ${key}:`)];
    }
    return [
      issue.code === "invalid_key"
        ? this.key(path, reason, fix ?? "use another name")
        : this.value(path, reason, fix ?? "correct it"),
    ];
  }

  /** What each part alone allows, but not all together. */
  contradictions(file: TopologyFile, fileName: string): Diagnostic[] {
    const found: Diagnostic[] = [];
    const sockets = new Map<string, string>();
    const bridges = [DEFAULT_BRIDGE, ...Object.keys(file.bridges)];
    for (const [name, port] of Object.entries(file.ports)) {
      const at = ["ports", name, "socket"];
      const socket = resolveSocket(port.socket, fileName);
      const bytes = new TextEncoder().encode(socket).length;
      if (bytes > MAX_PATH_BYTES) {
        const reason = `the socket's path has ${bytes} bytes; Linux allows ${MAX_PATH_BYTES}`;
        found.push(this.value(at, reason, "use a shorter folder, like /run/lab"));
      }
      const other = sockets.get(socket);
      if (other !== undefined) {
        const fix = "give each port a socket of its own";
        found.push(this.value(at, `port "${other}" has the same socket`, fix));
      }
      sockets.set(socket, name);
      if (!bridges.includes(port.bridge)) {
        const meant = suggest(port.bridge, bridges);
        const fix = meant === null
          ? `add it to bridges:, or use one of: ${bridges.join(", ")}`
          : `did you mean "${meant}"? Otherwise add it to bridges:`;
        found.push(
          this.value(["ports", name, "bridge"], `there is no bridge "${port.bridge}"`, fix),
        );
      }
    }
    if (sockets.size > MAX_PORTS) {
      found.push(this.key(["ports"], `there are more than ${MAX_PORTS} ports`, "use two switches"));
    }
    if (bridges.length > MAX_BRIDGES) {
      found.push(this.key(["bridges"], `there are more than ${MAX_BRIDGES} bridges`, "use fewer"));
    }
    return found;
  }

  /** A diagnostic at a value. */
  value(path: Path, reason: string, fix: string): Diagnostic {
    const node = this.#document.getIn(path, true);
    if (isNode(node) && node.range) return this.#at(node.range[0], node.range[1], reason, fix);
    return this.key(path, reason, fix);
  }

  /** A diagnostic at a key. */
  key(path: Path, reason: string, fix: string): Diagnostic {
    const parent = path.length === 0
      ? null
      : this.#document.getIn(path.slice(0, -1), true) ?? this.#document.contents;
    const key = isMap(parent) ? parent.items.map(keyOf).find((k) => k.value === path.at(-1)) : null;
    if (key?.node?.range) return this.#at(key.node.range[0], key.node.range[1], reason, fix);
    return this.#at(0, 0, reason, fix);
  }

  #unknownKey(path: Path, key: string): Diagnostic {
    const known = keysOf(path);
    const meant = suggest(key, known);
    const fix = meant === null
      ? known.length === 0 ? "remove it" : `use one of: ${known.join(", ")}`
      : `did you mean "${meant}"?`;
    return this.key([...path, key], `the key "${key}" is not known here`, fix);
  }

  #at(start: number, end: number, reason: string, fix: string): Diagnostic {
    const { line, col } = this.#lines.linePos(start);
    return { line: Math.max(1, line), column: Math.max(1, col), length: end - start, reason, fix };
  }
}

function keyOf(pair: Pair): { value: unknown; node: Node | null } {
  const key = pair.key;
  return isScalar(key) ? { value: key.value, node: key } : { value: null, node: null };
}

/** The keys that the schema knows at a place. */
function keysOf(path: Path): string[] {
  const { shape } = topologyFile;
  if (path.length === 0) return Object.keys(shape);
  if (path[0] === "threads") return Object.keys(shape.threads.unwrap().shape);
  if (path[0] === "bridges") {
    return Object.keys(shape.bridges.unwrap().valueType.unwrap().shape);
  }
  return Object.keys(shape.ports.valueType.shape);
}

// Our own messages have two lines; the library's are for what we did not foresee.
function explanation(issue: z.core.$ZodIssue, value: unknown): [string, string | undefined] {
  if (issue.code === "invalid_value" && !issue.message.includes("\n")) {
    const known = issue.values.map(String);
    const meant = suggest(String(value), known);
    const fix = meant === null ? `use one of: ${known.join(", ")}` : `did you mean "${meant}"?`;
    return [`"${String(value)}" is not known here`, fix];
  }
  if (issue.code === "invalid_key") {
    return explanation(issue.issues[0] as z.core.$ZodIssue, value);
  }
  const [reason, fix] = issue.message.split("\n");
  if (fix === undefined && issue.code === "invalid_type") {
    const want = issue.expected === "object" || issue.expected === "record"
      ? "keys and values"
      : `a ${issue.expected}`;
    return [`this is not ${want}`, `write ${want}`];
  }
  return [reason!, fix];
}

function resolveTopology(file: TopologyFile, fileName: string): Topology {
  const ports = Object.entries(file.ports).map(([name, port], i): PortConfig => ({
    name,
    type: port.type,
    role: port.role,
    socket: resolveSocket(port.socket, fileName),
    queues: port.queues,
    bridge: port.bridge,
    mac: (port.mac ?? defaultMac(i)).toLowerCase(),
  }));
  return {
    name: file.name ?? basename(fileName).replace(/\.ya?ml$/, ""),
    fileName,
    ports,
    bridges: resolveBridges(file.bridges),
    threads: file.threads,
  };
}

function resolveBridges(bridges: TopologyFile["bridges"]): BridgeConfig[] {
  const all = { [DEFAULT_BRIDGE]: null, ...bridges };
  return Object.entries(all).map(([name, options]) => ({
    name,
    ageingSeconds: parseSeconds(options?.["ageing-time"] ?? DEFAULT_AGEING)!,
    maxAddresses: options?.["max-macs"] ?? DEFAULT_MAX_ADDRESSES,
  }));
}

function resolveSocket(socket: string, fileName: string): string {
  return resolve(dirname(fileName), socket);
}

// 52:54:00 is what QEMU's users know; the rest counts the ports.
function defaultMac(index: number): string {
  const number = index + 1;
  const bytes = [0x52, 0x54, 0, number >> 16, number >> 8 & 0xff, number & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
