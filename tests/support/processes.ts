/**
 * Processes as the kernel lists them.
 *
 * @module
 */

/** What the kernel says of a process, as far as it is needed here. */
interface ProcessState {
  /** One letter: `T` stopped, `Z` dead but not yet taken note of. */
  readonly state: string;
  readonly parent: number;
}

/**
 * Whether a process still holds anything; a dead one that its parent has not noticed does not.
 *
 * @param pid Its number.
 */
export function isAlive(pid: number): boolean {
  const process = look(pid);
  return process !== null && (process.state !== "Z" || hasOtherThreads(pid));
}

/**
 * Whether a process is stopped by a signal.
 *
 * @param pid Its number.
 */
export function isStopped(pid: number): boolean {
  return look(pid)?.state === "T";
}

/**
 * The living children of a process.
 *
 * @param parent Its number.
 * @returns Their numbers.
 */
export function childrenOf(parent: number): number[] {
  return [...Deno.readDirSync("/proc")]
    .map(({ name }) => Number(name))
    .filter((pid) => Number.isInteger(pid) && look(pid)?.parent === parent && isAlive(pid));
}

// The first thread may be dead before the others; files are open until the last one is.
function hasOtherThreads(pid: number): boolean {
  try {
    return [...Deno.readDirSync(`/proc/${pid}/task`)].length > 1;
  } catch {
    return false;
  }
}

function look(pid: number): ProcessState | null {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name in parentheses may hold blanks.
    const [state, parent] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: state!, parent: Number(parent) };
  } catch {
    return null; // it has ended meanwhile
  }
}
