/**
 * The poll Workers as control sees them: threads, their ring lists, their epoll sets and doorbells.
 *
 * A kick eventfd is put into the epoll set of the Worker that polls its ring. All sets are edge
 * triggered: every write to an eventfd wakes its Worker once and nobody ever has to read it back.
 *
 * A Worker whose thread dies, of a fault of ours, gets a new thread and goes on (ADR 7).
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { ThreadsConfig } from "../../config/topology.ts";
import { acquireContext, releaseContext } from "../../ffi/aio.ts";
import { Epoll, EPOLLET, EPOLLIN } from "../../ffi/epoll.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import type { DataplaneModules } from "../dataplane/dataplane.ts";
import { type State, workerAt } from "../dataplane/state.ts";
import {
  W_BUSY_POLLS,
  W_COMMAND,
  W_COMMAND_STOP,
  W_EPOCH,
  W_FRAMES_TAKEN,
  W_LIST,
  W_LIST_COUNT,
  W_LIST_GENERATION,
  W_POLLS,
  W_SLEEPING,
  W_SLEEPS,
  W_TIMED_FRAMES,
  W_TIMED_NS,
} from "../dataplane/state_layout.ts";
import { recover } from "../poll/recovery.ts";
import type { WorkerSetup } from "../poll/worker.ts";
import { PollThread } from "./poll_thread.ts";
import { quiesce } from "./quiescence.ts";

/** What one Worker did since its start. */
export interface WorkerStatistics {
  /** Looks at a ring. */
  readonly polls: number;
  /** Looks that found chains. */
  readonly busyPolls: number;
  /** Chains taken. */
  readonly frames: number;
  /** Times it slept. */
  readonly sleeps: number;
  /** Nanoseconds of the busy polls that were timed (one in sixteen). */
  readonly timedNs: number;
  /** Chains taken in those. */
  readonly timedFrames: number;
}

/** What a pool tells its owner. */
export interface WorkerPoolEvents {
  /** A Worker does not finish its turn: a call eventfd may hold it up. */
  readonly onStuck: () => void;
  /** A Worker's thread died and its rings stand still: their records are to be written anew. */
  readonly onDeath: () => void;
  /** Another thread took the place of one that died of an error. */
  readonly onReplaced: (worker: number, error: Error) => void;
  /** A Worker died too often, or cannot be replaced. */
  readonly onFailure: (error: Error) => void;
}

/** So many deaths of one Worker in so long are survived; what goes on like that is no accident. */
const MAX_DEATHS = 5;
const DEATHS_MS = 10_000;

/** One poll Worker: what stays when its thread is replaced. */
class PollWorker {
  readonly epoll = Epoll.create();
  readonly doorbell = EventFd.create();
  readonly rings = new Set<number>();
  readonly setup: WorkerSetup;
  thread: PollThread;
  /** Its epoch at the last look. */
  lastEpoch = -1;
  #deaths: number[] = [];

  constructor(setup: Omit<WorkerSetup, "epollFd" | "aioContext">) {
    this.epoll.add(this.doorbell.fd.number, EPOLLIN | EPOLLET, 0);
    this.setup = { ...setup, epollFd: this.epoll.fd.number, aioContext: acquireContext() };
    this.thread = new PollThread(this.setup);
  }

  get number(): number {
    return this.setup.worker;
  }

  /** Counts a death; returns whether there are too many. */
  countDeath(now: number): boolean {
    this.#deaths = this.#deaths.filter((time) => now - time < DEATHS_MS);
    return this.#deaths.push(now) > MAX_DEATHS;
  }

  close(): void {
    this.thread.close();
    this.epoll[Symbol.dispose]();
    this.doorbell.close();
    releaseContext(this.setup.aioContext);
  }
}

/** Starts, feeds, replaces and stops the poll Workers. */
export class WorkerPool {
  readonly #state: State;
  readonly #events: WorkerPoolEvents;
  readonly #workers: PollWorker[] = [];
  #isStopping = false;

  /**
   * @param state The state memory.
   * @param events Who is told what happens.
   */
  constructor(state: State, events: WorkerPoolEvents) {
    this.#state = state;
    this.#events = events;
  }

  /** How many Workers there are. */
  get count(): number {
    return this.#workers.length;
  }

  /**
   * Starts the Workers.
   *
   * @param threads How many, where they run, and what they do when idle.
   * @param ports The ports' memories, by port number.
   * @param modules The compiled data plane.
   * @throws {WorkerRefused} When a thread cannot run where it should.
   */
  async start(
    threads: ThreadsConfig,
    ports: readonly WebAssembly.Memory[],
    modules: DataplaneModules,
  ): Promise<void> {
    const shared = { state: this.#state.memory, ports, modules, mode: threads.poll };
    for (let worker = 0; worker < threads.workers; worker++) {
      // A Worker counts as asleep until its loop runs.
      this.#state.store32(workerAt(worker) + W_SLEEPING, 1);
      const processor = threads.pin[worker] ?? null;
      this.#workers.push(new PollWorker({ ...shared, worker, processor }));
    }
    await Promise.all(this.#workers.map(({ thread }) => thread.started));
    for (const worker of this.#workers) this.#watch(worker);
  }

  /**
   * Puts a new thread in the place of a Worker's dead one. Its number, rings, kicks and doorbell
   * stay; the other Workers notice nothing.
   *
   * @param number The Worker's number; its thread has ended.
   * @throws When no new thread can start.
   */
  async replace(number: number): Promise<void> {
    const worker = this.#workers[number]!;
    worker.thread.close();
    recover(this.#state, number);
    this.#events.onDeath();
    worker.thread = new PollThread(worker.setup);
    await worker.thread.started;
    this.#watch(worker);
  }

  /**
   * Gives a ring to the Worker with the fewest rings.
   *
   * @param ring The ring's number; its record is complete.
   * @param kickFd The eventfd that the guest kicks, or null when it does not; stays the caller's.
   * @returns The Worker's number.
   */
  add(ring: number, kickFd: number | null): number {
    const worker = this.#workers.reduce((a, b) => (b.rings.size < a.rings.size ? b : a));
    if (kickFd !== null) worker.epoll.add(kickFd, EPOLLIN | EPOLLET, ring);
    worker.rings.add(ring);
    this.#publishList(worker);
    return worker.number;
  }

  /**
   * Takes a ring away; when this returns no Worker uses it.
   *
   * @param ring The ring's number; its record says already that it is stopped.
   * @param workerNumber The Worker that polls it.
   * @param kickFd As given to {@linkcode add}.
   */
  remove(ring: number, workerNumber: number, kickFd: number | null): void {
    const worker = this.#workers[workerNumber]!;
    if (kickFd !== null) worker.epoll.remove(kickFd);
    worker.rings.delete(ring);
    this.#publishList(worker);
    this.quiesce();
  }

  /** Wakes every Worker that sleeps, so that it looks at its rings. */
  wake(): void {
    for (const { doorbell } of this.#workers) doorbell.signal();
  }

  /** Waits until no Worker uses what was changed in state memory before. */
  quiesce(): void {
    quiesce(this.#state, this.#workers.length, this.#events.onStuck);
  }

  /** Looks for Workers that have not finished a turn since the last look, and does not sleep. */
  check(): void {
    for (const worker of this.#workers) {
      const at = workerAt(worker.number);
      const epoch = this.#state.load32(at + W_EPOCH);
      if (epoch === worker.lastEpoch && this.#state.load32(at + W_SLEEPING) === 0) {
        this.#events.onStuck();
      }
      worker.lastEpoch = epoch;
    }
  }

  /** What each Worker did. */
  statistics(): WorkerStatistics[] {
    return this.#workers.map(({ number }) => {
      const at = workerAt(number);
      return {
        polls: this.#state.getFloat(at + W_POLLS),
        busyPolls: this.#state.getFloat(at + W_BUSY_POLLS),
        frames: this.#state.getFloat(at + W_FRAMES_TAKEN),
        sleeps: this.#state.getFloat(at + W_SLEEPS),
        timedNs: this.#state.getFloat(at + W_TIMED_NS),
        timedFrames: this.#state.getFloat(at + W_TIMED_FRAMES),
      };
    });
  }

  /** Ends every loop and thread and closes their descriptors. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const worker of this.#workers) {
      this.#state.store32(workerAt(worker.number) + W_COMMAND, W_COMMAND_STOP);
      worker.doorbell.signal();
    }
    await Promise.all(this.#workers.map(({ thread }) => thread.ended));
    for (const worker of this.#workers) worker.close();
    this.#workers.length = 0;
  }

  async #watch(worker: PollWorker): Promise<void> {
    const error = await worker.thread.ended;
    if (error === null || this.#isStopping) return;
    if (worker.countDeath(performance.now())) return this.#events.onFailure(error);
    try {
      await this.replace(worker.number);
    } catch (cause) {
      if (!this.#isStopping) this.#events.onFailure(cause as Error);
      return;
    }
    this.#events.onReplaced(worker.number, error);
  }

  // The list is rewritten in place: a Worker reads it only after it saw the generation move, and
  // copes with reading it half-way, because a ring that is not started is skipped and the next
  // generation makes it read again.
  #publishList(worker: PollWorker): void {
    const at = workerAt(worker.number);
    let length = 0;
    for (const ring of worker.rings) this.#state.set16(at + W_LIST + 2 * length++, ring);
    this.#state.set32(at + W_LIST_COUNT, length);
    this.#state.add32(at + W_LIST_GENERATION, 1);
    worker.doorbell.signal();
  }
}
