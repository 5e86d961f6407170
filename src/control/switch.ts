/**
 * The switch: state memory, poll Workers, bridges and ports, opened and closed as one.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { PatchConfig, PortConfig, Topology } from "../../config/topology.ts";
import { loadDataplane } from "../dataplane/dataplane.ts";
import { State } from "../dataplane/state.ts";
import {
  CLOCK_SECONDS,
  FDB_MASK,
  FDB_SEED,
  FDB_WAYS,
  MAX_FDB_SETS,
} from "../dataplane/state_layout.ts";
import { Announcer } from "./announcer.ts";
import { BridgeMembers } from "./bridge_members.ts";
import { type PortCounters, readCounters } from "./counters.ts";
import {
  ClientEndpoint,
  type Endpoint,
  type EndpointEvents,
  PairEndpoint,
  ServerEndpoint,
} from "./endpoint.ts";
import { isInnerNews, type PortEvent, type WorkerEvent } from "./events.ts";
import { HostPool } from "./host_pool.ts";
import { backendOffer } from "./offer.ts";
import { FrontendPort } from "./frontend_port.ts";
import { PatchCable } from "./patch_cable.ts";
import { Port } from "./port.ts";
import { PortMemory } from "./port_memory.ts";
import { Reactor } from "./reactor.ts";
import type { PortState, SwitchPort } from "./switch_port.ts";
import { WorkerPool, type WorkerStatistics } from "./worker_pool.ts";

/** How often the switch's clock advances and quarantined rings are looked for. */
const CLOCK_MS = 250;
/** How long the end waits for what peers gave to be closed. */
const SETTLE_MS = 500;

/** Who is told what happens. */
export interface SwitchEvents {
  /** A port changed. */
  readonly onPortEvent: (event: PortEvent) => void;
  /** A poll Worker, or the thread of the host ports, was replaced. */
  readonly onWorkerEvent: (event: WorkerEvent) => void;
  /** A thread died of a programmer's fault again and again: it no longer works. */
  readonly onFailure: (error: Error) => void;
}

/** One port in a report. */
export interface PortReport {
  /** The port's name. */
  readonly name: string;
  /** What it is doing. */
  readonly state: PortState;
  /** Its counters. */
  readonly counters: PortCounters;
}

/** A running switch. */
export class Switch {
  readonly #topology: Topology;
  readonly #events: SwitchEvents;
  readonly #state: State;
  readonly #offer: typeof backendOffer;
  readonly #reactor = new Reactor();
  readonly #workers: WorkerPool;
  readonly #hosts: HostPool;
  readonly #members: BridgeMembers;
  readonly #memories: PortMemory[] = [];
  readonly #ports: SwitchPort[] = [];
  /** Cables by the names of the ports that are plugged in. */
  readonly #cables = new Map<string, PatchCable>();
  readonly #started = performance.now();
  #clock: ReturnType<typeof setInterval> | null = null;

  /**
   * Plans a switch; {@linkcode open} builds it.
   *
   * @param topology What to build.
   * @param events Who is told what happens.
   * @param state The state memory; a test may want to look into it.
   * @param offer What the back-ends offer to front-ends; a test may want less.
   */
  constructor(
    topology: Topology,
    events: SwitchEvents,
    state: State = new State(),
    offer: typeof backendOffer = backendOffer,
  ) {
    this.#topology = topology;
    this.#offer = offer;
    this.#events = events;
    this.#state = state;
    this.#members = new BridgeMembers(state);
    this.#workers = new WorkerPool(state, {
      onStuck: () => this.#relieveWorkers(),
      onDeath: () => this.#restoreRings(),
      onReplaced: (worker, { message }) =>
        events.onWorkerEvent({ kind: "worker-replaced", worker, reason: message }),
      onFailure: events.onFailure,
    });
    this.#hosts = new HostPool({
      onHostEvent: (port, event) => events.onPortEvent({ ...event, port }),
      onReplaced: ({ message }) =>
        events.onWorkerEvent({ kind: "hosts-replaced", reason: message }),
      onFailure: events.onFailure,
    });
  }

  /**
   * Starts the Workers and opens every port. After a failure everything is closed again.
   *
   * @throws {SocketPathError | OsError} When a port cannot be opened; the message names it.
   * @throws {WorkerRefused} When a Worker cannot run where it should.
   */
  async open(): Promise<void> {
    try {
      this.#prepareBridges();
      for (const port of this.#topology.ports) this.#memories.push(new PortMemory(queuesOf(port)));
      const guests = this.#memories.map(({ memory }) => memory);
      const modules = await loadDataplane();
      await this.#workers.start(this.#topology.threads, guests, modules);
      const announcer = new Announcer(this.#state, modules, guests);
      this.#topology.ports.forEach((config, i) => {
        this.#ports.push(this.#makePort(config, i, this.#memories[i]!, announcer));
      });
      this.#reactor.start();
      for (const port of this.#ports) port.open();
      await this.#hosts.start();
      this.#clock = setInterval(() => this.#tick(), CLOCK_MS);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** What every port is doing, in the topology's order. */
  report(): PortReport[] {
    return this.#ports.map((port) => ({
      name: port.name,
      state: port.state,
      counters: readCounters(this.#state, port.number, this.#workers.count),
    }));
  }

  /** What every Worker did. */
  workerStatistics(): WorkerStatistics[] {
    return this.#workers.statistics();
  }

  /** Closes every port, ends the Workers, and releases everything. */
  async close(): Promise<void> {
    if (this.#clock !== null) clearInterval(this.#clock);
    for (const port of this.#ports) port.close();
    await this.#reactor.stop();
    await this.#workers.stop();
    await this.#hosts.stop();
    for (const memory of this.#memories) memory[Symbol.dispose]();
    await this.#settle();
  }

  // A peer that holds up the closing of what it gave must not hold up the end.
  async #settle(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, SETTLE_MS);
    await Promise.race([promise, Promise.all(this.#ports.map((port) => port.settled()))]);
    clearTimeout(timer);
  }

  #prepareBridges(): void {
    const bridges = this.#topology.bridges;
    bridges.forEach(({ ageingSeconds }, i) => this.#members.setAgeing(i, ageingSeconds));
    const addresses = bridges.reduce((sum, { maxAddresses }) => sum + maxAddresses, 0);
    this.#state.set32(FDB_MASK, fdbSets(addresses) - 1);
    // An odd multiplier that nobody outside knows: addresses cannot be aimed at one set.
    this.#state.set64(FDB_SEED, crypto.getRandomValues(new BigUint64Array(1))[0]! | 1n);
  }

  #makePort(
    config: PortConfig,
    number: number,
    memory: PortMemory,
    announcer: Announcer,
  ): SwitchPort {
    const { name } = config;
    const parts = {
      ...{ number, name, memory },
      makeEndpoint: (events: EndpointEvents) => this.#makeEndpoint(config, events),
      bridge: this.#topology.bridges.findIndex((bridge) => bridge.name === config.bridge),
      state: this.#state,
      workers: this.#workers,
      members: this.#members,
      reactor: this.#reactor,
      onEvent: (event: PortEvent) => {
        const isInner = config.type === "host" || config.type === "patch";
        if (!isInner || isInnerNews(event)) this.#events.onPortEvent(event);
      },
    };
    const queuePairs = queuesOf(config);
    return this.#isFrontend(config, number)
      ? new FrontendPort({ ...parts, queuePairs })
      : new Port({ ...parts, offer: this.#offer(queuePairs), announcer });
  }

  // Of a patch cable the second end is the front-end's.
  #isFrontend(config: PortConfig, number: number): boolean {
    if (config.type !== "patch") return config.type === "vhost-user-frontend";
    return this.#topology.ports.findIndex(({ name }) => name === config.peer) < number;
  }

  #cableOf({ name, peer }: PatchConfig): PatchCable {
    const cable = this.#cables.get(peer) ?? new PatchCable();
    this.#cables.set(name, cable);
    return cable;
  }

  #makeEndpoint(config: PortConfig, events: EndpointEvents): Endpoint {
    if (config.type === "host") {
      const endpoint = new PairEndpoint(events);
      this.#hosts.add(config, endpoint);
      return endpoint;
    }
    if (config.type === "patch") return this.#cableOf(config).plug(events);
    const { role, socket } = config;
    return role === "server"
      ? new ServerEndpoint(socket, this.#reactor, events)
      : new ClientEndpoint(socket, events);
  }

  #tick(): void {
    const seconds = Math.trunc((performance.now() - this.#started) / 1000);
    this.#state.store32(CLOCK_SECONDS, seconds);
    for (const port of this.#ports) port.check();
    this.#workers.check();
  }

  // Whatever killed a Worker must not kill the next one, if it stands in a ring's record.
  #restoreRings(): void {
    for (const port of this.#ports) port.restoreRings();
  }

  // A Worker may wait in a write to a guest's call eventfd, which the guest's side has filled.
  #relieveWorkers(): void {
    for (const port of this.#ports) port.relieveCalls();
  }
}

// A host has one queue pair, as its thread is one, and so has a patch cable.
function queuesOf(config: PortConfig): number {
  return "queues" in config ? config.queues : 1;
}

// Half full when it holds what was asked for, so that a set seldom overflows.
function fdbSets(addresses: number): number {
  const wanted = Math.max(1, Math.ceil(2 * addresses / FDB_WAYS));
  return Math.min(MAX_FDB_SETS, 2 ** Math.ceil(Math.log2(wanted)));
}
