/**
 * The command line with which this program can be started once more.
 *
 * @module
 */
import { readProcFile } from "../../ffi/proc.ts";

/** A program and its arguments. */
export interface OwnCommand {
  /** The executable: Deno, or this program when it was compiled. */
  readonly program: string;
  /** Everything behind it: Deno's flags and our module, if there are any, and our arguments. */
  readonly args: readonly string[];
}

/** Where the kernel keeps the arguments of this process, each closed by a zero byte. */
const COMMAND_LINE = "/proc/self/cmdline";

/**
 * Finds out how this program was started.
 *
 * @param ours Our own arguments, as Deno shows them.
 * @param without An option of ours that the next start shall not have.
 */
export function ownCommand(ours: readonly string[], without: string): OwnCommand {
  const line = readProcFile(COMMAND_LINE).split("\0").slice(0, -1);
  return { program: Deno.execPath(), args: withoutOption(line.slice(1), ours, without) };
}

/**
 * Leaves an option of ours out of a whole command line.
 *
 * @param line All arguments, those of Deno in front.
 * @param ours Our own arguments: the last ones, or more than those when some are compiled in.
 * @param option The option; it takes no value.
 */
export function withoutOption(
  line: readonly string[],
  ours: readonly string[],
  option: string,
): string[] {
  const first = Math.max(0, line.length - ours.length);
  const at = line.indexOf(option, first);
  return at < 0 ? [...line] : line.toSpliced(at, 1);
}
