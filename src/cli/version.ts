/**
 * The version, from the one place that has it.
 *
 * @module
 */
import project from "../../deno.json" with { type: "json" };

/** Program and version, like `labswitch 1.2.3`. */
export function versionText(): string {
  return `labswitch ${project.version}`;
}
