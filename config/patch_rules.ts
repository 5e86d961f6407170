/**
 * What patch ports of a topology must keep to together: they come in pairs.
 *
 * @module
 */
import type { Contradiction } from "./host_rules.ts";
import type { TopologyFile } from "./schema.ts";
import { suggest } from "./suggest.ts";

/** A patch port with its name. */
interface Patch {
  readonly name: string;
  readonly peer: string;
}

/**
 * Finds what is wrong with the patch ports.
 *
 * @param ports All ports of the file.
 * @returns The mistakes in the order of the file.
 */
export function patchContradictions(ports: TopologyFile["ports"]): Contradiction[] {
  const patches = Object.entries(ports).flatMap(([name, port]): Patch[] =>
    port.type === "patch" ? [{ name, peer: port.peer }] : []
  );
  return patches.flatMap((patch) => pairMistake(patch, patches, Object.keys(ports)));
}

function pairMistake(
  { name, peer }: Patch,
  patches: readonly Patch[],
  names: readonly string[],
): Contradiction[] {
  const path = ["ports", name, "peer"];
  const other = patches.find((candidate) => candidate.name === peer);
  if (peer === name) {
    return [{ path, reason: "a patch port cannot lead to itself", fix: "name the other end" }];
  }
  if (other === undefined) {
    const isPort = names.includes(peer);
    const reason = isPort ? `port "${peer}" is no patch port` : `there is no port "${peer}"`;
    const meant = suggest(peer, patches.map((patch) => patch.name).filter((one) => one !== name));
    const fix = meant === null
      ? `add a port of type patch with peer: ${name}`
      : `did you mean "${meant}"?`;
    return [{ path, reason, fix }];
  }
  // An end that leads nowhere is a mistake of its own.
  if (other.peer === name || !names.includes(other.peer)) return [];
  const reason = `port "${peer}" leads to "${other.peer}"`;
  return [{ path, reason, fix: `write peer: ${name} there, or name the right port here` }];
}
