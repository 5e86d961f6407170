/**
 * Paths of sockets as people write them, and what can be wrong with one on its own.
 *
 * @module
 */
import type { Problem } from "./addresses.ts";

/** What to write for a path of which nothing is to be kept. */
export const PATH_EXAMPLE = "write one like /run/lab/vm1.sock";
const WHOLE = "write the whole path, or one that starts at the folder of this file";

/**
 * Says what is wrong with the path of a socket; null when nothing is.
 *
 * @param path Not empty.
 */
export function pathProblem(path: string): Problem | null {
  if (/\p{Cc}/u.test(path)) return ["a path cannot hold control characters", PATH_EXAMPLE];
  const shorthand = /^~[^/]*(?=\/)|\$(\{\w+\}|[A-Za-z_]\w*)/.exec(path);
  if (shorthand !== null) return [`a shell replaces "${shorthand[0]}", labswitch does not`, WHOLE];
  if (!["", ".", ".."].includes(path.slice(path.lastIndexOf("/") + 1))) return null;
  const folder = path.endsWith("/") ? path : `${path}/`;
  return ["this is a folder, not a socket", `add a name, like ${folder}vm1.sock`];
}
