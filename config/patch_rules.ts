/**
 * What patch ports of a topology must keep to together: they come in pairs, and join bridges without a
 * loop.
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
  readonly bridge: string;
}

/**
 * Finds what is wrong with the patch ports.
 *
 * @param ports All ports of the file.
 * @returns The mistakes in the order of the file.
 */
export function patchContradictions(ports: TopologyFile["ports"]): Contradiction[] {
  const patches = Object.entries(ports).flatMap(([name, port]): Patch[] =>
    port.type === "patch" ? [{ name, peer: port.peer, bridge: port.bridge }] : []
  );
  const unpaired = patches.flatMap((patch) => pairMistake(patch, patches, Object.keys(ports)));
  return unpaired.length > 0 ? unpaired : loops(patches);
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

// Each pair joins two bridges that nothing has joined so far, or a flooded frame would go round for ever.
function loops(patches: readonly Patch[]): Contradiction[] {
  const joined = new Map<string, Set<string>>();
  const groupOf = (bridge: string) => joined.get(bridge) ?? new Set([bridge]);
  return patches.flatMap((patch, i) => {
    const other = patches.findIndex(({ name }) => name === patch.peer);
    if (other > i) return [];
    const [here, there] = [groupOf(patch.bridge), groupOf(patches[other]!.bridge)];
    if (!here.has(patches[other]!.bridge)) {
      const group = new Set([...here, ...there]);
      for (const bridge of group) joined.set(bridge, group);
      return [];
    }
    const isSame = patch.bridge === patches[other]!.bridge;
    return [{
      path: ["ports", patch.name, "peer"],
      reason: isSame
        ? `both ends are in bridge "${patch.bridge}": its frames would go round for ever`
        : `the bridges of both ends are joined already: frames would go round for ever`,
      fix: isSame ? "give one of them another bridge" : "remove this pair",
    }];
  });
}
