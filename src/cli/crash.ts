/**
 * The end of a program that failed itself: an exit code of its own, so that a supervisor can tell it
 * from what the user has to put right.
 *
 * @module
 */
import { EXIT_CRASH } from "./exit_codes.ts";
import type { LiveIo } from "./io.ts";

/**
 * Ends the process when an error reaches the event loop because nothing has caught it.
 *
 * @param io Where the error is shown.
 * @returns Disposing lets the errors go where they went before.
 */
export function exitOnCrash(io: LiveIo): Disposable {
  const exit = (event: Event, error: unknown) => {
    event.preventDefault();
    io.err(crashText(error));
    void io.flush().finally(() => Deno.exit(EXIT_CRASH));
  };
  const onError = (event: ErrorEvent) => exit(event, event.error);
  const onRejection = (event: PromiseRejectionEvent) => exit(event, event.reason);
  globalThis.addEventListener("error", onError);
  globalThis.addEventListener("unhandledrejection", onRejection);
  return {
    [Symbol.dispose]() {
      globalThis.removeEventListener("error", onError);
      globalThis.removeEventListener("unhandledrejection", onRejection);
    },
  };
}

/**
 * Shows an error that should not have happened, for a report.
 *
 * @param error What was thrown.
 * @returns Lines with the place in the code.
 */
export function crashText(error: unknown): string {
  const details = error instanceof Error ? error.stack ?? error.message : String(error);
  return `error: this is a fault of labswitch, please report it:\n${details}\n`;
}
