/**
 * The hosts of a switch as control sees them: one thread for all of them, connected to their ports by
 * socket pairs.
 *
 * A thread that dies, of a fault of ours, hangs up for all its hosts. They get a new one, as poll
 * Workers do (ADR 7), and have forgotten their leases.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { HostConfig } from "../../config/topology.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import { unixSocketPair } from "../../ffi/unix_socket.ts";
import type { DhcpEvent } from "../dhcp/server.ts";
import type { HostSetup, HostWorkerReport, HostWorkerSetup } from "../host/worker.ts";
import type { PairEndpoint } from "./endpoint.ts";

/** What a pool tells its owner. */
export interface HostPoolEvents {
  /** Something happened to a host. */
  readonly onHostEvent: (host: string, event: DhcpEvent) => void;
  /** Another thread took the place of one that died of an error. */
  readonly onReplaced: (error: Error) => void;
  /** The thread died too often, or cannot be replaced. */
  readonly onFailure: (error: Error) => void;
}

/** So many deaths in so long are survived; what goes on like that is no accident. */
const MAX_DEATHS = 5;
const DEATHS_MS = 10_000;

/** What a test has its way with. */
export interface HostPoolOptions {
  /** What the thread runs; that of the hosts unless given. */
  readonly program?: URL;
  /** Milliseconds of a clock that does not go back; the system's unless given. */
  readonly now?: () => number;
}

const PROGRAM = new URL("../host/worker.ts", import.meta.url);

/** Starts, replaces and stops the thread of the hosts. */
export class HostPool {
  readonly #events: HostPoolEvents;
  readonly #program: URL;
  readonly #now: () => number;
  readonly #hosts: { readonly config: HostConfig; readonly endpoint: PairEndpoint }[] = [];
  #thread: HostThread | null = null;
  #deaths: number[] = [];
  #isStopping = false;

  /**
   * @param events Who is told what happens.
   * @param options For tests.
   */
  constructor(events: HostPoolEvents, options: HostPoolOptions = {}) {
    const { program = PROGRAM, now = () => performance.now() } = options;
    this.#events = events;
    this.#program = program;
    this.#now = now;
  }

  /**
   * Adds a host, before the start.
   *
   * @param config What it is.
   * @param endpoint Gets its connections.
   */
  add(config: HostConfig, endpoint: PairEndpoint): void {
    this.#hosts.push({ config, endpoint });
  }

  /**
   * Starts the thread, if there are hosts, and waits until all of them are attached. Their ports are
   * open and the reactor runs.
   *
   * @throws When a host cannot attach, a fault of ours.
   */
  async start(): Promise<void> {
    if (this.#hosts.length === 0) return;
    const hosts = this.#hosts.map(({ config, endpoint }): HostSetup => {
      const [ours, theirs] = unixSocketPair();
      endpoint.connect(ours);
      return { config, socket: theirs.release() };
    });
    this.#thread = new HostThread(this.#program, hosts, this.#events.onHostEvent);
    void this.#watch(this.#thread);
    await this.#thread.started;
  }

  /** Ends the thread; the ports are closed. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#thread?.stop();
    this.#thread = null;
  }

  async #watch(thread: HostThread): Promise<void> {
    const error = await thread.ended;
    if (error === null || this.#isStopping) return;
    // A start that fails is reported by whoever waits for it.
    const isStarted = await thread.started.then(() => true, () => false);
    if (!isStarted) return;
    thread.close();
    this.#thread = null;
    const now = this.#now();
    this.#deaths = this.#deaths.filter((time) => now - time < DEATHS_MS);
    if (this.#deaths.push(now) > MAX_DEATHS) return this.#events.onFailure(error);
    try {
      await this.start();
    } catch (cause) {
      if (!this.#isStopping) this.#events.onFailure(cause as Error);
      return;
    }
    if (!this.#isStopping) this.#events.onReplaced(error);
  }
}

/** A thread with hosts on it. */
class HostThread {
  /** Resolves when every host is attached; rejects when one cannot be. */
  readonly started: Promise<void>;
  /** Resolves when the thread has ended, with the error that ended it or null; never rejects. */
  readonly ended: Promise<Error | null>;
  readonly #worker: Worker;
  readonly #doorbell = EventFd.create();
  readonly #stop = new SharedArrayBuffer(4);

  constructor(
    program: URL,
    hosts: readonly HostSetup[],
    onHostEvent: HostPoolEvents["onHostEvent"],
  ) {
    const start = Promise.withResolvers<void>();
    const end = Promise.withResolvers<Error | null>();
    this.started = start.promise;
    this.ended = end.promise;
    // Whoever waits for the start hears of it; nobody waits any more when the switch is closed.
    this.started.catch(() => {});
    this.#worker = new Worker(program, { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<HostWorkerReport>) => {
      if (data.kind === "running") start.resolve();
      else if (data.kind === "stopped") end.resolve(null);
      else onHostEvent(data.host, data.event);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(`The thread of the host ports failed: ${event.message}`);
      start.reject(error);
      end.resolve(error);
    };
    const setup: HostWorkerSetup = {
      ...{ hosts, doorbellFd: this.#doorbell.fd.number, stop: this.#stop },
    };
    this.#worker.postMessage(setup);
  }

  /** Tells the thread to end, and waits for it. */
  async stop(): Promise<void> {
    Atomics.store(new Int32Array(this.#stop), 0, 1);
    this.#doorbell.signal();
    await this.ended;
    this.close();
  }

  /** Releases the thread; to be called once it has ended. */
  close(): void {
    this.#worker.terminate();
    this.#doorbell.close();
  }
}
