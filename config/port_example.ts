/**
 * The shortest port of each kind.
 *
 * @module
 */
import { PORT_KINDS } from "./schema.ts";
import { suggest } from "./suggest.ts";

type Kind = keyof typeof PORT_KINDS;

/**
 * Writes a port out for somebody who wrote a word in place of keys and values.
 *
 * @param name Its name.
 * @param written What was written.
 */
export function portExample(name: string, written: unknown): string {
  const kind = suggest(String(written), Object.keys(PORT_KINDS)) as Kind | null ?? "vhost-user";
  return `${name}: { type: ${kind}, ${restOf(kind, name)} }`;
}

function restOf(kind: Kind, name: string): string {
  switch (kind) {
    case "vhost-user":
    case "vhost-user-frontend":
      return `socket: ${name}.sock`;
    case "host":
      return "address: 10.0.0.1/24";
    case "patch":
      return "peer: other-end";
  }
}
