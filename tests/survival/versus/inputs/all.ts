/**
 * All inputs.
 *
 * @module
 */
import type { Input } from "../input.ts";
import { CHAIN_INPUTS } from "./chains.ts";
import { DESCRIPTOR_INPUTS } from "./descriptors.ts";
import { GUEST_INPUTS } from "./guests.ts";
import { MEMORY_INPUTS } from "./memory.ts";
import { NEGOTIATION_INPUTS } from "./negotiation.ts";
import { PACKED_INPUTS } from "./packed.ts";
import { RACE_INPUTS } from "./races.ts";
import { RING_INPUTS } from "./rings.ts";
import { STREAM_INPUTS } from "./stream.ts";

/** All inputs, in the order of the catalogue. */
export const INPUTS: readonly Input[] = [
  ...byNumber([...GUEST_INPUTS, ...CHAIN_INPUTS, ...PACKED_INPUTS, ...RACE_INPUTS]),
  ...STREAM_INPUTS,
  ...DESCRIPTOR_INPUTS,
  ...MEMORY_INPUTS,
  ...RING_INPUTS,
  ...NEGOTIATION_INPUTS,
];

function byNumber(inputs: readonly Input[]): Input[] {
  return inputs.toSorted((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));
}
