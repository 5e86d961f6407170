/**
 * A poll Worker: sets up its thread, says so, and enters the poll loop until control stops it.
 *
 * Everything it shares with the main thread comes in one message: memories, compiled modules and
 * the number of the epoll descriptor that control fills with kick eventfds.
 *
 * When its loop fails, which is a programmer's fault, the thread leaves its rings sound and dies;
 * control puts another one in its place (see control/worker_pool.ts).
 *
 * @module
 */
import { keepThreadOn } from "../../ffi/affinity.ts";
import { Epoll } from "../../ffi/epoll.ts";
import { OsError } from "../../ffi/errno.ts";
import { Signaller } from "../../ffi/eventfd.ts";
import { Dataplane, type DataplaneModules } from "../dataplane/dataplane.ts";
import { State } from "../dataplane/state.ts";
import { PollLoop, type PollMode } from "./poll_loop.ts";
import { recover } from "./recovery.ts";

/** What control posts to a new Worker, once. */
export interface WorkerSetup {
  /** The Worker's number. */
  readonly worker: number;
  /** The processor to stay on; null for any. */
  readonly processor: number | null;
  /** The state memory. */
  readonly state: WebAssembly.Memory;
  /** The ports' memories, by port number. */
  readonly ports: readonly WebAssembly.Memory[];
  /** The data plane's modules. */
  readonly modules: DataplaneModules;
  /** The epoll descriptor to sleep on; owned by control. */
  readonly epollFd: number;
  /** The kernel's queue to signal guests through, or null; owned by control. */
  readonly aioContext: bigint | null;
  /** What to do when idle. */
  readonly mode: PollMode;
}

/** What a Worker posts. */
export type WorkerReport =
  /** It is about to enter its loop. */
  | { readonly kind: "running" }
  /** It has left its loop as it was told. */
  | { readonly kind: "stopped" }
  /** It cannot begin, for a reason that the user can do something about. */
  | { readonly kind: "refused"; readonly reason: string };

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<WorkerSetup>) => void) | null;
  postMessage(report: WorkerReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }) => {
  try {
    if (data.processor !== null) keepThreadOn([data.processor]);
  } catch (error) {
    if (!(error instanceof OsError)) throw error;
    return scope.postMessage({ kind: "refused", reason: error.message });
  }
  poll(data);
};

function poll(setup: WorkerSetup): void {
  const state = new State(setup.state);
  const epoll = Epoll.borrow(setup.epollFd);
  const signaller = new Signaller(setup.aioContext);
  const loop = new PollLoop({
    worker: setup.worker,
    state,
    dataplane: new Dataplane(setup.modules, setup.state, setup.ports),
    signal: (fd) => signaller.signal(fd),
    kicks: epoll,
    mode: setup.mode,
  });
  scope.postMessage({ kind: "running" });
  try {
    loop.run();
  } catch (error) {
    // Control may be waiting for this Worker's turn to end, and cannot hear of its death meanwhile.
    recover(state, setup.worker);
    throw error;
  }
  scope.postMessage({ kind: "stopped" });
}
