/**
 * A front-end of its own whose guest's vCPUs race with the switch, for a switch in another process:
 * rings, frames and tables of `racing_rings.ts` in a real memory file, with canaries around.
 *
 *     0        4 KiB
 *     | canary | main region | canary | a half | canary | the other half | canary |
 *
 * The halves follow each other in the guest's addresses. No region ends with a page, so the switch
 * maps canaries as well.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import {
  createGuestMemory,
  createMemfd,
  mapShared,
  memoryAddress,
  PAGE_SIZE_BYTES,
} from "../../ffi/memory.ts";
import { connectUnix } from "../../ffi/unix_socket.ts";
import { converse } from "../../src/host/converse.ts";
import { type FrontendSetup, VhostUserFrontend } from "../../src/vhost_user/frontend.ts";
import { placeRing, type RingPlaces } from "../../src/virtio/layouts.ts";
import { placePackedRing } from "../../src/virtio/packed_layouts.ts";
import { CANARY } from "./guest_memory.ts";
import {
  prepareRacing,
  RACING_BUFFERS_BYTES,
  RACING_DATA_BYTES,
  RACING_RING_SIZE,
  RACING_TABLES_BYTES,
  type RacingGuest,
  type RacingKind,
} from "./racing_rings.ts";

/** Guest address of the main region. */
const MAIN = 0x1_0000_0000n;
/** Guest address where the second half begins and the first one ends. */
const BORDER = 0x9_0000_0000n;
/** Bytes of a half: half of all tables, and half of the descriptor on the border. */
const HALF_BYTES = Math.ceil(RACING_TABLES_BYTES / 2 / 16) * 16 + 8;
const RINGS_BYTES = 4096;
/** Behind the last receive buffer there is room for the longest frame, should it go there. */
const MAIN_BYTES = 2 * RINGS_BYTES + 2 * RACING_DATA_BYTES + RACING_BUFFERS_BYTES;
const WASM_PAGE_BYTES = 65536;

/** A region: where it lies in the guest and in the file. */
interface Region {
  readonly guest: bigint;
  readonly bytes: number;
  readonly offset: number;
}

/** What a racing front-end is made of. */
export interface RacingFrontendOptions {
  /** The port's socket. */
  readonly path: string;
  /** Which of the racing memories it is. */
  readonly number: number;
  /** What its vCPUs flip. */
  readonly kind: RacingKind;
  /** Whether its rings are packed. */
  readonly isPacked: boolean;
  /** Features that its driver knows. */
  readonly features: bigint;
  /** What its guest sends when nothing is flipped: a header and a frame. */
  readonly message: Uint8Array;
  /** Guest addresses of others, which it tries. */
  readonly others: readonly bigint[];
}

/** A front-end that is attached to a port. */
export class RacingFrontend implements Disposable {
  /** Its memory. */
  readonly memory: WebAssembly.Memory;
  readonly #options: RacingFrontendOptions;
  readonly #regions: readonly Region[];
  readonly #guest: RacingGuest;
  readonly #bytes: Uint8Array;
  readonly #file: Fd;
  readonly #socket: Fd;
  readonly #frontend = new VhostUserFrontend();
  readonly #resources: DisposableStack;

  /** @param options What it is made of; it connects and attaches. */
  constructor(options: RacingFrontendOptions) {
    using stack = new DisposableStack();
    this.#options = options;
    let end = PAGE_SIZE_BYTES;
    const halves = [BORDER, BORDER - BigInt(HALF_BYTES)];
    const wanted = [[MAIN, MAIN_BYTES] as const, ...halves.map((at) => [at, HALF_BYTES] as const)];
    this.#regions = wanted.map(([guest, bytes]) => {
      const offset = end;
      end = Math.ceil((end + bytes) / PAGE_SIZE_BYTES + 1) * PAGE_SIZE_BYTES;
      return { guest, bytes, offset };
    });
    const pages = Math.ceil(end / WASM_PAGE_BYTES);
    this.#file = stack.use(createMemfd("labswitch-racing", pages * WASM_PAGE_BYTES));
    this.memory = createGuestMemory(pages, pages);
    const size = BigInt(pages * WASM_PAGE_BYTES);
    // SAFETY: the range is exactly the memory that was made in the line above.
    mapShared(memoryAddress(this.memory), size, this.#file, 0n);
    this.#bytes = new Uint8Array(this.memory.buffer).fill(CANARY);
    for (const { offset, bytes } of this.#regions) this.#bytes.fill(0, offset, offset + bytes);
    this.#guest = this.#layOut();
    this.prepare();
    this.#socket = stack.use(connectUnix(options.path));
    converse(this.#socket, this.#frontend.attach(this.#setup()));
    this.#resources = stack.move();
  }

  /** Writes what stands in its memory at first; returns what a vCPU is to do. */
  prepare(): ReturnType<typeof prepareRacing> {
    const { data, edge } = this.#guest;
    for (const at of [data, edge]) this.#bytes.set(this.#options.message, this.#localOf(at));
    return prepareRacing(this.#guest, this.#options.kind);
  }

  /** Stops both rings and sets everything up again, as when the guest's driver begins anew. */
  restart(): void {
    for (const index of [0, 1]) converse(this.#socket, this.#frontend.stopRing(index));
    this.prepare();
    converse(this.#socket, this.#frontend.attach(this.#setup()));
  }

  /** Whether nothing was written outside of its regions. */
  get isCanaryAlive(): boolean {
    let from = 0;
    for (const { offset, bytes } of this.#regions) {
      if (!this.#isCanary(from, offset)) return false;
      from = offset + bytes;
    }
    return this.#isCanary(from, this.#bytes.length);
  }

  /** Hangs up and closes every descriptor. */
  [Symbol.dispose](): void {
    this.#resources.dispose();
  }

  #isCanary(from: number, to: number): boolean {
    return this.#bytes.subarray(from, to).every((byte) => byte === CANARY);
  }

  #localOf(address: bigint): number {
    for (const { guest, bytes, offset } of this.#regions) {
      if (address >= guest && address < guest + BigInt(bytes)) {
        return offset + Number(address - guest);
      }
    }
    throw new RangeError(`Cannot translate guest address ${address}: no region holds it`);
  }

  #layOut(): RacingGuest {
    const { number, isPacked, message, others } = this.#options;
    const place = (start: number): RingPlaces =>
      (isPacked ? placePackedRing : placeRing)(PAGE_SIZE_BYTES + start, RACING_RING_SIZE);
    const data = MAIN + BigInt(2 * RINGS_BYTES);
    const end = MAIN + BigInt(MAIN_BYTES);
    return {
      ...{ memory: this.memory, number, isPacked },
      rings: [place(0), place(RINGS_BYTES)],
      ...{ data, dataBytes: message.length, edge: end - BigInt(message.length) },
      buffers: data + BigInt(RACING_DATA_BYTES),
      // In the middle of a descriptor of the middle table the other region begins.
      tables: BORDER - BigInt(RACING_TABLES_BYTES / 2 + 8),
      hostile: [
        ...[end, end - 1n, end - 30n, MAIN - 1n, BORDER - 30n, BORDER + BigInt(HALF_BYTES)],
        ...[0n, data | 1n << 40n, 1n << 63n, 2n ** 64n - 1n, ...others],
      ],
      localOf: (address) => this.#localOf(address),
    };
  }

  #setup(): FrontendSetup {
    const addressOf = (place: number) => MAIN + BigInt(place - PAGE_SIZE_BYTES);
    return {
      features: this.#options.features,
      regions: this.#regions.map(({ guest, bytes, offset }) => ({
        ...{ guestAddress: guest, frontendAddress: guest },
        ...{ sizeBytes: BigInt(bytes), offsetBytes: BigInt(offset), fd: this.#file },
      })),
      rings: this.#guest.rings.map(({ desc, avail, used }) => ({
        size: RACING_RING_SIZE,
        descAddress: addressOf(desc),
        availAddress: addressOf(avail),
        usedAddress: addressOf(used),
        ...{ kick: null, call: null },
      })),
    };
  }
}
