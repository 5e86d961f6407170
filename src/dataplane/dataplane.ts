/**
 * Instances of the data plane's modules, made when first needed.
 *
 * `ring` sees the state memory and one port's memory, and so does `driver`, which takes its place for a
 * port that leads to a back-end; `copy` sees the state memory and two ports'.
 * Instances belong to the thread that made them; the memories are shared by all. A port's memory is
 * made once and only ever grown, so an instance stays valid for the life of the switch.
 *
 * @module
 */

import { portAt } from "./state.ts";
import { PORT_ROLE, PORT_ROLE_FRONTEND } from "./state_layout.ts";

/** Exports of the ring module; see `assembly/receive.ts`, `transmit.ts` and `idle.ts`. */
export interface RingInstance {
  /** Takes up to 64 chains and decides where their frames go; returns how many were taken. */
  receive(worker: number, ring: number): number;
  /** Gives the chains of the last burst back; returns 1 when the guest must be called. */
  complete(worker: number, ring: number): number;
  /** Reserves receive buffers of a port; returns how many used elements wait for `publish`. */
  reserve(worker: number, port: number, pair: number): number;
  /** Publishes the reservation; returns 1 when the guest must be called. */
  publish(worker: number, port: number): number;
  /** Decides where the frame in the first frame record goes, which control put there. */
  announce(worker: number, port: number): void;
  /** Asks for kicks; returns 1 when there are chains already. */
  arm(ring: number): number;
  /** Refuses kicks. */
  disarm(ring: number): void;
}

/** Exports of the copy module; see `assembly/copy.ts`. */
export interface CopyInstance {
  /** Copies the frames placed for the current destination. */
  copyPlaced(worker: number): void;
}

/** Exports of the dispatch module: the same functions, of whichever instance; see `dispatch.wat`. */
export interface Dispatcher {
  /** {@linkcode RingInstance.receive} of a port. */
  receive(port: number, worker: number, ring: number): number;
  /** {@linkcode RingInstance.complete} of a port. */
  complete(port: number, worker: number, ring: number): number;
  /** {@linkcode RingInstance.reserve} of a port. */
  reserve(port: number, worker: number, pair: number): number;
  /** {@linkcode RingInstance.publish} of a port. */
  publish(port: number, worker: number): number;
  /** {@linkcode CopyInstance.copyPlaced} of a copier. */
  copyPlaced(copier: number, worker: number): void;
}

/** Where the dispatch module finds the functions. */
interface DispatchTables {
  readonly receivers: WebAssembly.Table;
  readonly completers: WebAssembly.Table;
  readonly reservers: WebAssembly.Table;
  readonly publishers: WebAssembly.Table;
  readonly copiers: WebAssembly.Table;
}

/** A function of an instance, as a table takes it. */
type TableEntry = Parameters<WebAssembly.Table["set"]>[1];

/** The compiled modules; they can be posted to Workers. */
export interface DataplaneModules {
  /** Ring code: one state memory, one guest memory. */
  readonly ring: WebAssembly.Module;
  /** The same for a port whose rings we drive. */
  readonly driver: WebAssembly.Module;
  /** Copying code: one state memory, two guest memories. */
  readonly copy: WebAssembly.Module;
  /** Calls of both. */
  readonly dispatch: WebAssembly.Module;
}

/**
 * Reads and compiles the committed modules.
 *
 * @returns All modules.
 * @throws When a file is missing or is not a module this engine accepts.
 */
export async function loadDataplane(): Promise<DataplaneModules> {
  const [ring, driver, copy, dispatch] = await Promise.all(
    ["ring.wasm", "driver.wasm", "copy.wasm", "dispatch.wasm"].map(async (name) =>
      await WebAssembly.compile(await Deno.readFile(new URL(name, import.meta.url)))
    ),
  );
  return { ring: ring!, driver: driver!, copy: copy!, dispatch: dispatch! };
}

/** The instances of one thread. */
export class Dataplane {
  readonly #modules: DataplaneModules;
  readonly #state: WebAssembly.Memory;
  readonly #ports: readonly WebAssembly.Memory[];
  readonly #rings: RingInstance[] = [];
  readonly #copiers: number[][] = [];
  readonly #tables: DispatchTables;

  /** Calls of any instance that was made. */
  readonly dispatcher: Dispatcher;

  /**
   * @param modules From {@linkcode loadDataplane}.
   * @param state The state memory.
   * @param ports The ports' memories, by port number.
   */
  constructor(
    modules: DataplaneModules,
    state: WebAssembly.Memory,
    ports: readonly WebAssembly.Memory[],
  ) {
    this.#modules = modules;
    this.#state = state;
    this.#ports = ports;
    const { exports } = new WebAssembly.Instance(modules.dispatch);
    this.#tables = exports as unknown as DispatchTables;
    this.dispatcher = exports as unknown as Dispatcher;
  }

  /** The ring code of a port. Allocates the first time. */
  ring(port: number): RingInstance {
    return this.#rings[port] ??= this.#makeRing(port);
  }

  /** The number of the copying code from one port to another. Allocates the first time. */
  copier(source: number, destination: number): number {
    const row = this.#copiers[source] ??= [];
    return row[destination] ??= this.#makeCopier(source, destination);
  }

  #makeRing(port: number): RingInstance {
    const { ring, driver } = this.#modules;
    const exports = this.#instantiate(this.#isDriven(port) ? driver : ring, {
      guest: { memory: this.#ports[port]! },
    });
    const { receivers, completers, reservers, publishers } = this.#tables;
    receivers.set(port, exports["receive"] as TableEntry);
    completers.set(port, exports["complete"] as TableEntry);
    reservers.set(port, exports["reserve"] as TableEntry);
    publishers.set(port, exports["publish"] as TableEntry);
    return exports as unknown as RingInstance;
  }

  #isDriven(port: number): boolean {
    const words = new Uint32Array(this.#state.buffer, portAt(port) + PORT_ROLE, 1);
    return Atomics.load(words, 0) === PORT_ROLE_FRONTEND;
  }

  #makeCopier(source: number, destination: number): number {
    const exports = this.#instantiate(this.#modules.copy, {
      source: { memory: this.#ports[source]! },
      destination: { memory: this.#ports[destination]! },
    });
    const copier = this.#tables.copiers.grow(1);
    this.#tables.copiers.set(copier, exports["copyPlaced"] as TableEntry);
    return copier;
  }

  #instantiate(module: WebAssembly.Module, guests: WebAssembly.Imports): WebAssembly.Exports {
    return new WebAssembly.Instance(module, { env: { memory: this.#state }, ...guests }).exports;
  }
}
