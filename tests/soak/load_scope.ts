/**
 * The inner side of a load's thread; `load_thread.ts` is the outer one.
 *
 * @module
 */
import { Board, type Group } from "./board.ts";

/** What a thread is told. */
export interface LoadSetup {
  /** The shared board. */
  readonly board: SharedArrayBuffer;
  /** When it ends. */
  readonly group: Group;
  /** Sockets of its ports; which ones is the load's affair. */
  readonly sockets: readonly string[];
  /** What its random numbers follow from. */
  readonly seed: number;
}

/** What a thread tells. */
export type LoadReport =
  /** Its guests are attached. */
  | { readonly kind: "ready" }
  /** Something happened that must not. */
  | { readonly kind: "fault"; readonly text: string }
  /** It has ended, with its own counts. */
  | { readonly kind: "ended"; readonly counts: Readonly<Record<string, number>> };

/** What a load works with. */
export interface LoadContext {
  /** The shared board. */
  readonly board: Board;
  /** Sockets of its ports. */
  readonly sockets: readonly string[];
  /** What its random numbers follow from. */
  readonly seed: number;
  /** Says that its guests are attached. */
  readonly ready: () => void;
  /** Says that something happened that must not. */
  readonly fault: (text: string) => void;
}

/** The part of the thread's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<LoadSetup>) => void) | null;
  postMessage(report: LoadReport): void;
}

/**
 * Runs a load in this thread as soon as it is told where.
 *
 * @param run Works until the board says stop; returns counts of its own.
 */
export function serveLoad(
  run: (context: LoadContext) => Promise<Record<string, number>> | Record<string, number>,
): void {
  const scope = globalThis as unknown as Scope;
  scope.onmessage = async ({ data }) => {
    const fault = (text: string) => scope.postMessage({ kind: "fault", text });
    let counts: Record<string, number> = {};
    try {
      counts = await run({
        board: new Board(data.group, data.board),
        sockets: data.sockets,
        seed: data.seed,
        ready: () => scope.postMessage({ kind: "ready" }),
        fault,
      });
    } catch (error) {
      fault(error instanceof Error ? error.stack ?? error.message : String(error));
    }
    scope.postMessage({ kind: "ended", counts });
  };
}
