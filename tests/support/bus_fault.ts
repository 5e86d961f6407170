/**
 * Memory whose pages are gone: a file that was mapped and then cut off.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import {
  createGuestMemory,
  createMemfd,
  mapShared,
  memoryAddress,
  PAGE_SIZE_BYTES,
} from "../../ffi/memory.ts";

const WASM_PAGE_BYTES = 65536;
/** Where the file begins in the memory; the first page is the owner's. */
export const FILE_AT = 4096;
/** Bytes of the file, two pages. */
export const FILE_BYTES = 2 * PAGE_SIZE_BYTES;

/** Says what is missing where pages that are gone end the process; `undefined` when nothing is. */
export function noHandler(): string | undefined {
  return Deno.build.arch === "x86_64" ? undefined : "a handler of SIGBUS for this processor";
}

/** A memory with a file in it, all of whose bytes are 1. */
export class CutOffMemory implements Disposable {
  /** The memory. */
  readonly memory: WebAssembly.Memory = createGuestMemory(1, 1);
  readonly #file = createMemfd("labswitch-bus-fault", FILE_BYTES, { sealable: false });

  constructor() {
    const at = memoryAddress(this.memory) + BigInt(FILE_AT);
    mapShared(at, BigInt(FILE_BYTES), this.#file, 0n);
    new Uint8Array(this.memory.buffer).fill(1, 0, FILE_AT + FILE_BYTES);
  }

  /** Takes the file's second page away. */
  cutOff(): void {
    libc().ftruncate(this.#file.number, BigInt(PAGE_SIZE_BYTES));
  }

  /** Reads the first bytes of the memory's first three pages, of which two are the file's. */
  read(): number[] {
    const bytes = new Uint8Array(this.memory.buffer, 0, WASM_PAGE_BYTES);
    return [0, FILE_AT, FILE_AT + PAGE_SIZE_BYTES].map((at) => bytes[at]!);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
