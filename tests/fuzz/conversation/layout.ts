/**
 * Where a conversation's guest memory lies in its file.
 *
 *     0       4 KiB     20 KiB  24 KiB    40 KiB  44 KiB … 64 KiB
 *     | guard | region 0 | guard | region 1 | guard          |
 *
 * No honest memory table names a guard, so the switch never writes one.
 *
 * @module
 */
import { Random } from "../random.ts";
import { REGION_BYTES } from "../situation.ts";

/** Bytes of the memory file: one page of WebAssembly, in which an attacker sees it. */
export const FILE_BYTES = 65536;

const PAGE_BYTES = 4096;

/** Where each of the two regions begins in the file. */
export const REGION_OFFSETS: readonly [number, number] = [
  PAGE_BYTES,
  PAGE_BYTES + REGION_BYTES + PAGE_BYTES,
];

/** The pages around the regions, from and to. */
export const GUARDS: readonly (readonly [number, number])[] = [
  [0, REGION_OFFSETS[0]],
  [REGION_OFFSETS[0] + REGION_BYTES, REGION_OFFSETS[1]],
  [REGION_OFFSETS[1] + REGION_BYTES, FILE_BYTES],
];

/** What guards hold. */
export const GUARD_BYTE = 0xc7;

/** What both regions hold before anything is written, one behind the other: bytes that look random. */
export const TEMPLATE: Uint8Array = drawTemplate();

function drawTemplate(): Uint8Array {
  const random = new Random(0, 0);
  return Uint8Array.from({ length: REGION_OFFSETS.length * REGION_BYTES }, () => random.next());
}
