/**
 * The generator's memory and module, seen from TypeScript.
 *
 * The memory is one of WebAssembly, 32 bits wide, that holds the rings and buffers of both ports. So
 * the module reaches them with its own loads and stores, and an address in it is the address that
 * back-ends are told.
 *
 * @module
 */
import { placePackedRing } from "../virtio/packed_layouts.ts";
import { placeRing, type RingPlaces } from "../virtio/layouts.ts";
import {
  BUFFER_OFFSET,
  BUFFER_STRIDE,
  DIRECTION_BYTES,
  DIRECTION_CORRUPTED,
  DIRECTION_DUPLICATED,
  DIRECTION_FOREIGN,
  DIRECTION_RECEIVED,
  DIRECTION_REORDERED,
  DIRECTION_SENT,
  DIRECTION_SETTLED,
  DIRECTION_START_NS,
  DIRECTIONS,
  HISTOGRAM,
  HISTOGRAM_BUCKETS,
  MAX_LATENCY_NS,
  MAX_RING_SIZE,
  MEMORY_BYTES,
  PORT_BUFFERS,
  PORT_BYTES,
  PORTS,
  RING_AVAIL,
  RING_BUFFERS,
  RING_BYTES,
  RING_DESC,
  RING_SPACE_BYTES,
  RING_USED,
  RINGS,
  RULES_BROKEN,
  SETUP_END_NS,
  SETUP_FLOWS,
  SETUP_FRAME_BYTES,
  SETUP_INTERVAL_NS,
  SETUP_PACKED,
  SETUP_RING_SIZE,
  SETUP_RUN,
  SETUP_WINDOW,
} from "./memory_layout.ts";

const WASM_PAGE_BYTES = 65536;
/** Pages of 64 KiB that the generator's memory has. */
export const GENERATOR_PAGES: number = MEMORY_BYTES / WASM_PAGE_BYTES;
/** Nothing is due any more from this instant on, unless a run says otherwise. */
const NEVER = 0;

/** Number of a port, and of the direction whose frames are sent from it. */
export type PortNumber = 0 | 1;

/** What the rings are like. */
export interface RingChoice {
  /** Entries of each ring: a power of two, at most 1024. */
  readonly size: number;
  /** Whether they are packed. */
  readonly isPacked: boolean;
}

/** What a run sends. */
export interface RunChoice {
  /** Bytes of a frame without its check sequence, 60 to 1514. */
  readonly frameBytes: number;
  /** Flows of each direction, 1 to 1024: pairs of addresses. */
  readonly flows: number;
}

/** What became of the frames of a direction. */
export interface Tally {
  /** Frames sent. */
  readonly sent: number;
  /** Frames that arrived whole for the first time. */
  readonly received: number;
  /** Of those, how many arrived after one that was sent later. */
  readonly reordered: number;
  /** Frames that arrived once more. */
  readonly duplicated: number;
  /** Frames that arrived with other bytes. */
  readonly corrupted: number;
  /** Frames of others. */
  readonly foreign: number;
}

/** The functions of the module; see `assembly/generator.ts`. */
interface GeneratorModule {
  layOut(port: number): void;
  begin(): void;
  closedLoop(turns: number): number;
  lookBoth(): number;
  openLoop(now: number): number;
  writeOff(): void;
  isIdle(): number;
  record(ns: number): void;
  arrive(direction: number, flow: number, number: number): number;
}

/** A back-end did with a ring what no back-end may do. */
export class BackendBroken extends Error {
  override readonly name = "BackendBroken";

  /** Says what is known about it. */
  constructor() {
    super("the back-end gave back a buffer that it did not have");
  }
}

/** The generator; one thread owns it. */
export class Generator {
  /** Its memory, all zero to begin with; back-ends are given the ports' parts. */
  readonly memory: WebAssembly.Memory;
  /** The module's functions, for tests of its parts. */
  readonly module: GeneratorModule;
  readonly #u32: Uint32Array;
  readonly #u64: BigUint64Array;
  readonly #f64: Float64Array;
  #run = 0;

  private constructor(module: WebAssembly.Module) {
    const pages = GENERATOR_PAGES;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.memory } });
    this.module = exports as unknown as GeneratorModule;
    this.#u32 = new Uint32Array(this.memory.buffer);
    this.#u64 = new BigUint64Array(this.memory.buffer);
    this.#f64 = new Float64Array(this.memory.buffer);
  }

  /**
   * Reads the committed module.
   *
   * @returns A generator without rings.
   * @throws When the file is missing or is not a module this engine accepts.
   */
  static async load(): Promise<Generator> {
    const bytes = await Deno.readFile(new URL("./generator.wasm", import.meta.url));
    return new Generator(await WebAssembly.compile(bytes));
  }

  /**
   * Lays out the rings of both ports; every receive buffer is offered.
   *
   * @param choice What they are like.
   * @returns Where the rings lie: receive and transmit ring of port 0, of port 1.
   */
  layOut({ size, isPacked }: RingChoice): RingPlaces[] {
    if (size > MAX_RING_SIZE || (size & (size - 1)) !== 0) {
      throw new RangeError(`Cannot lay out a ring of ${size} entries`);
    }
    this.#u32[SETUP_RING_SIZE >> 2] = size;
    this.#u32[SETUP_PACKED >> 2] = Number(isPacked);
    const places = [0, 1, 2, 3].map((ring) => {
      const start = portStart(ring >> 1) + (ring & 1) * RING_SPACE_BYTES;
      const place = isPacked ? placePackedRing(start, size) : placeRing(start, size);
      this.#writeRing(ring, place);
      return place;
    });
    for (const port of [0, 1]) this.module.layOut(port);
    return places;
  }

  /**
   * Begins a run; nothing of the run before is on the way any more.
   *
   * @param choice What it sends.
   */
  begin({ frameBytes, flows }: RunChoice): void {
    this.#run = (this.#run + 1) & 0xffff;
    this.#u32[SETUP_FRAME_BYTES >> 2] = frameBytes;
    this.#u32[SETUP_FLOWS >> 2] = flows;
    this.#u32[SETUP_RUN >> 2] = this.#run;
    this.#u32[SETUP_WINDOW >> 2] = 0;
    this.#f64[SETUP_INTERVAL_NS >> 3] = 0;
    this.#f64[SETUP_END_NS >> 3] = NEVER;
    this.#f64[MAX_LATENCY_NS >> 3] = 0;
    this.module.begin();
  }

  /**
   * Says how many frames of each direction shall be on the way in the closed loop.
   *
   * @param frames At most the size of the ring; 0 lets those on the way come home.
   */
  setWindow(frames: number): void {
    this.#u32[SETUP_WINDOW >> 2] = frames;
  }

  /**
   * Says when frames are due in the open loop; those of direction 1 half an interval later.
   *
   * @param intervalNs Nanoseconds between two frames of a direction.
   * @param startNs When the first one is due.
   * @param endNs The instant of the last one at most.
   */
  setSchedule(intervalNs: number, startNs: number, endNs: number): void {
    this.#f64[SETUP_INTERVAL_NS >> 3] = intervalNs;
    this.#f64[SETUP_END_NS >> 3] = endNs;
    for (const direction of [0, 1]) {
      const at = directionStart(direction) + DIRECTION_START_NS;
      this.#f64[at >> 3] = startNs + direction * intervalNs / 2;
    }
  }

  /**
   * Turns of the closed loop.
   *
   * @param turns How many at most.
   * @returns Rings to kick: a bit each.
   * @throws {BackendBroken} When a back-end broke the rules.
   */
  closedLoop(turns: number): number {
    const kicks = this.module.closedLoop(turns);
    this.#checkRules();
    return kicks;
  }

  /** Open loop: looks what has arrived; the clock is to be read after this. */
  look(): void {
    this.module.lookBoth();
  }

  /**
   * Open loop: takes what was seen and sends what is due.
   *
   * @param nowNs When {@linkcode look} had looked, after 0.
   * @returns Rings to kick: a bit each.
   * @throws {BackendBroken} When a back-end broke the rules.
   */
  openLoop(nowNs: number): number {
    const kicks = this.module.openLoop(nowNs);
    this.#checkRules();
    return kicks;
  }

  /**
   * Whether the back-end has given back every transmit buffer; each look takes back a burst at least.
   */
  get isIdle(): boolean {
    return this.module.isIdle() !== 0;
  }

  /** Frames of both directions that may still arrive. */
  get onTheWay(): number {
    return this.#sum(DIRECTION_SENT) - this.#sum(DIRECTION_SETTLED);
  }

  /** Frames of both directions that have arrived whole. */
  get received(): number {
    return this.#sum(DIRECTION_RECEIVED);
  }

  /** Frames of both directions that were sent. */
  get sent(): number {
    return this.#sum(DIRECTION_SENT);
  }

  /** Gives up what is on the way, so that the closed loop goes on after a loss that nothing shows. */
  writeOff(): void {
    this.module.writeOff();
  }

  /** What became of the frames of a direction so far. */
  tally(direction: PortNumber): Tally {
    const read = (offset: number) => Number(this.#u64[(directionStart(direction) + offset) >> 3]);
    return {
      sent: read(DIRECTION_SENT),
      received: read(DIRECTION_RECEIVED),
      reordered: read(DIRECTION_REORDERED),
      duplicated: read(DIRECTION_DUPLICATED),
      corrupted: read(DIRECTION_CORRUPTED),
      foreign: read(DIRECTION_FOREIGN),
    };
  }

  /** Latencies of the open loop by bucket; a copy. */
  get latencies(): Uint32Array {
    return this.#u32.slice(HISTOGRAM >> 2, (HISTOGRAM >> 2) + HISTOGRAM_BUCKETS);
  }

  /** The longest latency of the open loop, in nanoseconds. */
  get maxLatencyNs(): number {
    return this.#f64[MAX_LATENCY_NS >> 3]!;
  }

  #sum(offset: number): number {
    const read = (direction: number) => this.#u64[(directionStart(direction) + offset) >> 3]!;
    return Number(read(0) + read(1));
  }

  #checkRules(): void {
    if (this.#u32[RULES_BROKEN >> 2] !== 0) throw new BackendBroken();
  }

  #writeRing(ring: number, { desc, avail, used }: RingPlaces): void {
    const record = RINGS + ring * RING_BYTES;
    this.#u32[(record + RING_DESC) >> 2] = desc;
    this.#u32[(record + RING_AVAIL) >> 2] = avail;
    this.#u32[(record + RING_USED) >> 2] = used;
    this.#u32[(record + RING_BUFFERS) >> 2] = portStart(ring >> 1) + PORT_BUFFERS +
      (ring & 1) * MAX_RING_SIZE * BUFFER_STRIDE + BUFFER_OFFSET;
  }
}

/** Where a port's part of the memory begins. */
export function portStart(port: number): number {
  return PORTS + port * PORT_BYTES;
}

function directionStart(direction: number): number {
  return DIRECTIONS + direction * DIRECTION_BYTES;
}
