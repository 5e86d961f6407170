/**
 * Instances of the two data plane modules, made when first needed.
 *
 * `ring` sees the state memory and one port's memory; `copy` sees the state memory and two ports'.
 * Instances belong to the thread that made them; the memories are shared by all. A port's memory is
 * made once and only ever grown, so an instance stays valid for the life of the switch.
 *
 * @module
 */

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

/** The compiled modules; they can be posted to Workers. */
export interface DataplaneModules {
  /** Ring code: one state memory, one guest memory. */
  readonly ring: WebAssembly.Module;
  /** Copying code: one state memory, two guest memories. */
  readonly copy: WebAssembly.Module;
}

/**
 * Reads and compiles the committed modules.
 *
 * @returns Both modules.
 * @throws When a file is missing or is not a module this engine accepts.
 */
export async function loadDataplane(): Promise<DataplaneModules> {
  const [ring, copy] = await Promise.all(
    ["ring.wasm", "copy.wasm"].map(async (name) =>
      await WebAssembly.compile(await Deno.readFile(new URL(name, import.meta.url)))
    ),
  );
  return { ring: ring!, copy: copy! };
}

/** The instances of one thread. */
export class Dataplane {
  readonly #modules: DataplaneModules;
  readonly #state: WebAssembly.Memory;
  readonly #ports: readonly WebAssembly.Memory[];
  readonly #rings: RingInstance[] = [];
  readonly #copies: CopyInstance[][] = [];

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
  }

  /** The ring code of a port. Allocates the first time. */
  ring(port: number): RingInstance {
    return this.#rings[port] ??= this.#instantiate(this.#modules.ring, {
      guest: { memory: this.#ports[port]! },
    }) as unknown as RingInstance;
  }

  /** The copying code from one port to another. Allocates the first time. */
  copy(source: number, destination: number): CopyInstance {
    const row = this.#copies[source] ??= [];
    return row[destination] ??= this.#instantiate(this.#modules.copy, {
      source: { memory: this.#ports[source]! },
      destination: { memory: this.#ports[destination]! },
    }) as unknown as CopyInstance;
  }

  #instantiate(module: WebAssembly.Module, guests: WebAssembly.Imports): WebAssembly.Exports {
    return new WebAssembly.Instance(module, { env: { memory: this.#state }, ...guests }).exports;
  }
}
