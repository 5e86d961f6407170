/**
 * From a YAML file to a topology, or to diagnostics that point into the file.
 *
 * @module
 */
import { basename } from "node:path";
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
} from "yaml";
import type { z } from "zod";
import { MAX_BRIDGES, MAX_PORTS, MAX_WORKERS } from "../src/dataplane/state_layout.ts";
import { type Diagnostic, TopologyError } from "./diagnostics.ts";
import { hostAddresses, hostContradictions, hostDhcp } from "./host_rules.ts";
import { loopContradictions } from "./loop_rules.ts";
import { type Machine, thisMachine } from "./machine.ts";
import {
  DEFAULT_AGEING,
  DEFAULT_BRIDGE,
  DEFAULT_MAX_ADDRESSES,
  PORT_KINDS,
  type TopologyFile,
  topologyFile,
} from "./schema.ts";
import { patchContradictions } from "./patch_rules.ts";
import { portExample } from "./port_example.ts";
import { resolveSocket, socketContradictions, socketPorts } from "./socket_rules.ts";
import { suggest } from "./suggest.ts";
import { decodeText } from "./text.ts";
import type { BridgeConfig, PortConfig, ThreadsConfig, Topology } from "./topology.ts";
import { parseSeconds } from "./units.ts";
import { plainValue, yamlMistakes } from "./yaml_mistakes.ts";

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
  return parseTopology(decodeText(await Deno.readFile(path), path), path);
}

/**
 * Reads a topology from text.
 *
 * @param text YAML 1.2.
 * @param fileName For messages; sockets are relative to its folder.
 * @param machine Where it will run; here unless told otherwise.
 * @returns The topology.
 * @throws {TopologyError} When it is no valid topology; its message is for the user.
 */
export function parseTopology(
  text: string,
  fileName: string,
  machine: Machine = thisMachine(),
): Topology {
  return parseUnmarked(text.replace(/^\ufeff/, ""), fileName, machine);
}

// A byte order mark would count as a column.
function parseUnmarked(text: string, fileName: string, machine: Machine): Topology {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const source = new Source(document, lines);
  const problems = yamlMistakes(document, text)
    .map(({ start, end, reason, fix }) => source.at(start, end, reason, fix));
  if (problems.length > 0) throw new TopologyError(fileName, text, problems);
  const checked = topologyFile.safeParse(plainValue(document));
  const found = checked.success
    ? source.contradictions(checked.data, fileName, machine)
    : checked.error.issues.flatMap((issue) => source.explain(issue));
  if (!checked.success || found.length > 0) {
    throw new TopologyError(fileName, text, firstOfEachPlace(found));
  }
  return resolveTopology(checked.data, fileName, machine);
}

// Two checks may see the same mistake, or one mistake through an alias and an anchor.
function firstOfEachPlace(found: readonly Diagnostic[]): Diagnostic[] {
  const sorted = found.toSorted((a, b) => a.line - b.line || a.column - b.column);
  return sorted.filter(({ line, column, reason }, i) => {
    const before = sorted[i - 1];
    return before?.line !== line || before.column !== column || isMissing(reason);
  });
}

function isMissing(reason: string): boolean {
  return reason.endsWith(" is missing");
}

/** A port as the file has it. */
type PortEntry = TopologyFile["ports"][string];

/** Finds the place of a value or key in the text. */
class Source {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;

  constructor(document: Document.Parsed, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** Explains what the schema has found. */
  explain(issue: z.core.$ZodIssue): Diagnostic[] {
    const path = issue.path as Path;
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => this.#unknownKey(path, key));
    }
    const { value } = this.#find(path);
    const plain = isScalar(value) ? value.value : value;
    const [reason, fix] = explanation(issue, plain);
    const isWord = path[0] === "ports" && path.length === 2 && issue.code === "invalid_type";
    if (isWord) return [this.value(path, reason, `write ${portExample(`${path[1]}`, plain)}`)];
    if (value === undefined) {
      const key = path.at(-1);
      const isOurs = issue.message.includes("\n") || issue.code === "invalid_value" ||
        issue.code === "invalid_union";
      const add = isOurs && fix !== undefined ? fix : `add ${key}:`;
      return [this.key(path.slice(0, -1), `"${key}" is missing`, add)];
    }
    return [
      issue.code === "invalid_key"
        ? this.key(path, reason, fix ?? "use another name")
        : this.value(path, reason, fix ?? "correct it"),
    ];
  }

  /** What each part alone allows, but not all together. */
  contradictions(file: TopologyFile, fileName: string, machine: Machine): Diagnostic[] {
    const found = this.#pinMistakes(resolveThreads(file.threads, machine), machine);
    const sockets = socketPorts(file.ports, fileName);
    const macs = new Map<string, string>();
    const bridges = [...new Set([DEFAULT_BRIDGE, ...Object.keys(file.bridges)])];
    const together = [
      ...hostContradictions(file.ports),
      ...patchContradictions(file.ports),
      ...socketContradictions(sockets),
      ...loopContradictions(file.ports, sockets),
    ];
    for (const { path, reason, fix } of together) {
      found.push(this.value(path, reason, fix));
    }
    for (const [name, port] of Object.entries(file.ports)) {
      const mac = macOf(port)?.toLowerCase();
      const twin = mac === undefined ? undefined : macs.get(mac);
      if (twin !== undefined) {
        const fix = "give each port an address of its own, or leave mac: out";
        found.push(this.value(["ports", name, "mac"], `port "${twin}" has the same address`, fix));
      }
      if (mac !== undefined) macs.set(mac, name);
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
    if (Object.keys(file.ports).length > MAX_PORTS) {
      found.push(this.key(["ports"], `there are more than ${MAX_PORTS} ports`, "use two switches"));
    }
    if (bridges.length > MAX_BRIDGES) {
      found.push(this.key(["bridges"], `there are more than ${MAX_BRIDGES} bridges`, "use fewer"));
    }
    return found;
  }

  #pinMistakes({ workers, pin }: ThreadsConfig, { processors }: Machine): Diagnostic[] {
    const found: Diagnostic[] = [];
    for (const [i, processor] of pin.entries()) {
      const at = ["threads", "pin", i];
      if (pin.indexOf(processor) < i) {
        const fix = "give each poll thread a processor of its own";
        found.push(this.value(at, `processor ${processor} is there twice`, fix));
      } else if (processors !== null && !processors.has(processor)) {
        const fix = `use some of: ${[...processors].join(", ")}`;
        found.push(this.value(at, `this machine has no processor ${processor}`, fix));
      }
    }
    if (pin.length > 0 && pin.length !== workers) {
      const reason = `${counted(pin.length, "processor")} for ${counted(workers, "poll thread")}`;
      const fix = "write one processor for each, or leave pin: out";
      found.push(this.value(["threads", "pin"], reason, fix));
    }
    return found;
  }

  /** A diagnostic at a value. */
  value(path: Path, reason: string, fix: string): Diagnostic {
    const { place } = this.#find(path);
    return place === null ? this.key(path, reason, fix) : this.#atNode(place, reason, fix);
  }

  /** A diagnostic at a key. */
  key(path: Path, reason: string, fix: string): Diagnostic {
    if (path.length === 0) return this.at(0, 0, reason, fix);
    const { value: parent, place } = this.#find(path.slice(0, -1));
    if (isAlias(place)) return this.#atNode(place, reason, fix);
    const key = isMap(parent) ? pairOf(parent.items, path.at(-1)!)?.key : null;
    return isNode(key) ? this.#atNode(key, reason, fix) : this.at(0, 0, reason, fix);
  }

  /** The value at a path, and the node to show for it: the first alias on the way, or itself. */
  #find(path: Path): { value: unknown; place: Node | null } {
    let value: unknown = this.#document.contents;
    let alias: Node | null = null;
    const follow = () => {
      if (!isAlias(value)) return;
      alias ??= value;
      value = value.resolve(this.#document);
    };
    for (const key of path) {
      follow();
      if (isMap(value)) value = pairOf(value.items, key)?.value;
      else value = isSeq(value) ? value.items[Number(key)] : undefined;
    }
    follow();
    return { value, place: alias ?? (isNode(value) ? value : null) };
  }

  #unknownKey(path: Path, key: string): Diagnostic {
    const known = keysOf(path, this.#find([...path.slice(0, 2), "type"]).value);
    const meant = suggest(key, known);
    const fix = meant === null
      ? known.length === 0 ? "remove it" : `use one of: ${known.join(", ")}`
      : `did you mean "${meant}"?`;
    return this.key([...path, key], `the key "${key}" is not known here`, fix);
  }

  #atNode(node: Node, reason: string, fix: string): Diagnostic {
    const [start, end] = node.range ?? [0, 0];
    return this.at(start, end, reason, fix);
  }

  /** A diagnostic at a part of the text. */
  at(start: number, end: number, reason: string, fix: string): Diagnostic {
    const { line, col } = this.#lines.linePos(start);
    return { line: Math.max(1, line), column: Math.max(1, col), length: end - start, reason, fix };
  }
}

function pairOf(pairs: readonly Pair[], key: string | number): Pair | undefined {
  return pairs.find((pair) => isScalar(pair.key) && pair.key.value === key);
}

/** The keys that the schema knows at a place; of a port, whose type is known by then. */
function keysOf(path: Path, type: unknown): string[] {
  const { shape } = topologyFile;
  if (path.length === 0) return Object.keys(shape);
  if (path[0] === "threads") return Object.keys(shape.threads.unwrap().shape);
  if (path[0] === "bridges") {
    return Object.keys(shape.bridges.unwrap().valueType.unwrap().shape);
  }
  const kind = isScalar(type) ? type.value as keyof typeof PORT_KINDS : "vhost-user";
  if (path[2] === "dhcp") return Object.keys(PORT_KINDS.host.shape.dhcp.unwrap().shape);
  return Object.keys(PORT_KINDS[kind].shape);
}

// Our own messages have two lines; the library's are for what we did not foresee.
function explanation(issue: z.core.$ZodIssue, value: unknown): [string, string | undefined] {
  if (issue.code === "invalid_union" && issue.discriminator !== undefined) {
    return unknownValue(value, Object.keys(PORT_KINDS));
  }
  if (issue.code === "invalid_value" && !issue.message.includes("\n")) {
    return unknownValue(value, issue.values.map(String));
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

function unknownValue(value: unknown, known: readonly string[]): [string, string] {
  const meant = suggest(String(value), known);
  const fix = meant === null ? `use one of: ${known.join(", ")}` : `did you mean "${meant}"?`;
  return [`"${String(value)}" is not known here`, fix];
}

function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function resolveTopology(file: TopologyFile, fileName: string, machine: Machine): Topology {
  const macs = macsOf(Object.values(file.ports).map(macOf));
  const ports = Object.entries(file.ports).map(([name, port], i): PortConfig => {
    if (port.type === "host") {
      const { type, bridge } = port;
      const addresses = hostAddresses(port);
      return { name, type, bridge, mac: macs[i]!, ...addresses, dhcp: hostDhcp(port) };
    }
    if (port.type === "patch") return { name, ...port };
    const { role, queues, bridge } = port;
    const common = { name, role, socket: resolveSocket(port.socket, fileName), queues, bridge };
    return port.type === "vhost-user"
      ? { ...common, type: port.type, mac: macs[i]! }
      : { ...common, type: port.type };
  });
  return {
    name: file.name ?? basename(fileName).replace(/\.ya?ml$/, ""),
    fileName,
    ports,
    bridges: resolveBridges(file.bridges),
    threads: resolveThreads(file.threads, machine),
  };
}

// One processor is left for the guests, or for whoever looks at the lab.
function resolveThreads(
  { workers, poll, pin }: TopologyFile["threads"],
  { parallelism }: Machine,
): ThreadsConfig {
  const spare = Math.min(MAX_WORKERS, Math.max(1, parallelism - 1));
  return { workers: workers === "auto" ? spare : workers, poll, pin };
}

function resolveBridges(bridges: TopologyFile["bridges"]): BridgeConfig[] {
  const all = { [DEFAULT_BRIDGE]: null, ...bridges };
  return Object.entries(all).map(([name, options]) => ({
    name,
    ageingSeconds: parseSeconds(options?.["ageing-time"] ?? DEFAULT_AGEING)!,
    maxAddresses: options?.["max-macs"] ?? DEFAULT_MAX_ADDRESSES,
  }));
}

function macOf(port: PortEntry): string | undefined {
  return "mac" in port ? port.mac : undefined;
}

// Adding an address to one port must not change those of the others, unless it takes theirs.
function macsOf(given: readonly (string | undefined)[]): string[] {
  const taken = new Set(given.map((mac) => mac?.toLowerCase()));
  let spare = given.length;
  return given.map((mac, i) => {
    if (mac !== undefined) return mac.toLowerCase();
    let own = defaultMac(i);
    while (taken.has(own)) own = defaultMac(spare++);
    taken.add(own);
    return own;
  });
}

// 52:54:00 is what QEMU's users know; the rest counts the ports.
function defaultMac(index: number): string {
  const number = index + 1;
  const bytes = [0x52, 0x54, 0, number >> 16, number >> 8 & 0xff, number & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
