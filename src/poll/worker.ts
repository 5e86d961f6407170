/**
 * A poll Worker: sets up its thread, says so, and enters the poll loop until control stops it.
 *
 * Everything it shares with the main thread comes in one message: memories, compiled modules and
 * the number of the epoll descriptor that control fills with kick eventfds.
 *
 * @module
 */
import { Epoll } from "../../ffi/epoll.ts";
import { createSignaller } from "../../ffi/eventfd.ts";
import { Dataplane, type DataplaneModules } from "../dataplane/dataplane.ts";
import { State } from "../dataplane/state.ts";
import { PollLoop, type PollMode } from "./poll_loop.ts";

/** What control posts to a new Worker, once. */
export interface WorkerSetup {
  /** The Worker's number. */
  readonly worker: number;
  /** The state memory. */
  readonly state: WebAssembly.Memory;
  /** The ports' memories, by port number. */
  readonly ports: readonly WebAssembly.Memory[];
  /** The data plane's modules. */
  readonly modules: DataplaneModules;
  /** The epoll descriptor to sleep on; owned by control. */
  readonly epollFd: number;
  /** What to do when idle. */
  readonly mode: PollMode;
}

/** What a Worker posts: it is about to enter its loop, or it has left it. */
export type WorkerReport = "running" | "stopped";

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<WorkerSetup>) => void) | null;
  postMessage(report: WorkerReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }) => {
  const epoll = Epoll.borrow(data.epollFd);
  const loop = new PollLoop({
    worker: data.worker,
    state: new State(data.state),
    dataplane: new Dataplane(data.modules, data.state, data.ports),
    signal: createSignaller(),
    sleep: (timeoutMs) => void epoll.wait(timeoutMs),
    mode: data.mode,
  });
  scope.postMessage("running");
  loop.run();
  scope.postMessage("stopped");
};
