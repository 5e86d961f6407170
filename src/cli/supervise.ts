/**
 * `labswitch run --supervise`: a process that only starts the switch and starts it again when it dies.
 *
 * What can kill a switch is little: a fault of ours, the kernel when memory is short, and, where
 * SIGBUS is not handled (ADR 19), a front-end that shortens a memory file which cannot be sealed. Guests
 * whose QEMU reconnects get their network back from the next switch.
 *
 * | the switch ends | then |
 * | --- | --- |
 * | with exit code 0 | so does the supervisor |
 * | with another one at its first start, unless that is a crash | the same: the user has to act |
 * | of a signal, with the code of a crash, or with any but 0 later | it is started again |
 *
 * The switch writes where the supervisor would: it inherits its output, and prints its screen and
 * `ready` at every start. It never outlives the supervisor, see {@linkcode tieToSupervisor}.
 *
 * @module
 */
import { endWithParent } from "../../ffi/parent.ts";
import { BackOff } from "./back_off.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_REFUSED, EXIT_TOPOLOGY, EXIT_USAGE } from "./exit_codes.ts";
import type { LiveIo } from "./io.ts";
import type { OwnCommand } from "./own_command.ts";
import { timeStamp } from "./time_stamp.ts";

/** Tells a switch the process number of its supervisor. */
const SUPERVISOR = "LABSWITCH_SUPERVISOR";
/** How long a switch may take to end before it is killed. It needs less than a second. */
const STOP_TIMEOUT_MS = 5000;
/** Exit codes of what does not get better by trying again. */
const MISTAKES: readonly number[] = [EXIT_REFUSED, EXIT_USAGE, EXIT_TOPOLOGY];
/** Signals that end the supervisor; they are passed on to the switch. */
const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** How a process ended. */
export interface ProcessEnd {
  /** Its exit code; of no meaning when a signal ended it. */
  readonly code: number;
  /** The signal that ended it. */
  readonly signal: string | null;
}

/** The supervisor of this switch is gone: nobody would start or stop it. */
export class SupervisorGone extends Error {
  override readonly name = "SupervisorGone";
}

/**
 * Ties this process to the supervisor that started it: the kernel ends it when the supervisor ends.
 *
 * @returns Whether there is a supervisor.
 * @throws {SupervisorGone} When the supervisor has ended already.
 */
export function tieToSupervisor(): boolean {
  const supervisor = Deno.env.get(SUPERVISOR);
  if (supervisor === undefined) return false;
  if (endWithParent(Number(supervisor))) return true;
  throw new SupervisorGone(`Cannot run: the supervisor, process ${supervisor}, is gone`);
}

/**
 * Runs a switch in a process of its own until it ends as it should, or this process is told to stop.
 *
 * @param command How the switch is started.
 * @param io Where the lines about deaths go.
 * @returns The exit code.
 */
export async function supervise(command: OwnCommand, io: LiveIo): Promise<number> {
  using stop = new Stop();
  const backOff = new BackOff();
  for (let isFirst = true;; isFirst = false) {
    const started = performance.now();
    const end = await stop.run(start(command, isFirst, io));
    if (stop.isWanted) return codeAfterStop(end);
    if (isFinal(end, isFirst)) return end.code === EXIT_REFUSED ? EXIT_FAILURE : end.code;
    const ranMs = performance.now() - started;
    const waitMs = backOff.wait(ranMs);
    io.out(`${timeStamp(io)} ${deathLine(end, ranMs, waitMs)}\n`);
    await stop.within(waitMs);
    if (stop.isWanted) return EXIT_OK;
  }
}

/**
 * Whether a switch that ended like this is not started again.
 *
 * @param end How it ended.
 * @param isFirst Whether that was its first start.
 */
export function isFinal({ code, signal }: ProcessEnd, isFirst: boolean): boolean {
  if (signal !== null) return false;
  return code === EXIT_OK || (isFirst && MISTAKES.includes(code));
}

/**
 * Says how a switch died.
 *
 * @param end How it ended.
 * @param ranMs How long it had run.
 * @param waitMs How long the next start waits.
 * @returns One line without a time stamp.
 */
export function deathLine({ code, signal }: ProcessEnd, ranMs: number, waitMs: number): string {
  const cause = signal ?? `exit code ${code}`;
  const ran = (ranMs / 1000).toFixed(1);
  const when = waitMs === 0 ? "at once" : `in ${waitMs} ms`;
  const hint = signal === "SIGBUS" ? "; a front-end may have shortened its memory file" : "";
  return `supervisor  the switch died  ${cause} after ${ran} s${hint}; it starts again ${when}`;
}

// A signal that came before the switch could listen to it has ended it as well: nothing was there yet.
function codeAfterStop({ code, signal }: ProcessEnd): number {
  return STOP_SIGNALS.some((name) => name === signal) ? EXIT_OK : code;
}

// A program that is missing later, as while it is replaced by its next version, may be there again soon.
function start(
  { program, args }: OwnCommand,
  isFirst: boolean,
  io: LiveIo,
): Deno.ChildProcess | null {
  const env = { [SUPERVISOR]: `${Deno.pid}` };
  const streams = { stdin: "inherit", stdout: "inherit", stderr: "inherit" } as const;
  try {
    return new Deno.Command(program, { args: [...args], env, ...streams }).spawn();
  } catch (error) {
    if (isFirst) throw error;
    io.err(`error: cannot start ${program}: ${(error as Error).message}\n`);
    return null;
  }
}

/** The wish to stop: remembers it, passes it on to the running switch, and ends waits. */
class Stop implements Disposable {
  /** Whether a signal came. */
  isWanted = false;
  readonly #came = Promise.withResolvers<void>();
  readonly #listeners = STOP_SIGNALS.map((name) => [name, () => this.#receive(name)] as const);
  #child: Deno.ChildProcess | null = null;
  #deadline: ReturnType<typeof setTimeout> | null = null;

  constructor() {
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  /** Waits for the end of a switch, if it has begun; it is told to stop when this process is. */
  async run(child: Deno.ChildProcess | null): Promise<ProcessEnd> {
    if (child === null) return { code: EXIT_FAILURE, signal: null };
    this.#child = child;
    const end = await child.status;
    this.#child = null;
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    return end;
  }

  /** Waits for some time, or until this process is told to stop. */
  async within(ms: number): Promise<void> {
    const timer = Promise.withResolvers<void>();
    const handle = setTimeout(timer.resolve, ms);
    await Promise.race([timer.promise, this.#came.promise]);
    clearTimeout(handle);
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }

  #receive(signal: Deno.Signal): void {
    this.isWanted = true;
    this.#came.resolve();
    const child = this.#child;
    if (child === null) return;
    kill(child, signal);
    this.#deadline ??= setTimeout(() => kill(child, "SIGKILL"), STOP_TIMEOUT_MS);
  }
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has just ended.
  }
}
