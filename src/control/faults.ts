/**
 * Why a ring is quarantined, in words.
 *
 * @module
 */
import {
  FAULT_AVAIL_INDEX,
  FAULT_CHAIN,
  FAULT_LOST,
  FAULT_UNMAPPED,
} from "../dataplane/state_layout.ts";

const TEXTS: ReadonlyMap<number, string> = new Map([
  [FAULT_AVAIL_INDEX, "the available index is further ahead than the ring is long"],
  [FAULT_CHAIN, "the ring names a chain that it does not have"],
  [FAULT_UNMAPPED, "the memory that holds the ring is no longer mapped"],
]);

const NOT_THEIRS = "the back-end claims to have used a buffer that it does not have";
const BACKEND_TEXTS: ReadonlyMap<number, string> = new Map([
  [FAULT_AVAIL_INDEX, NOT_THEIRS],
  [FAULT_CHAIN, NOT_THEIRS],
  [FAULT_LOST, "a poll Worker died while it worked on the ring"],
]);

/**
 * Says why a ring whose driver we are cannot be used any more.
 *
 * @param fault A FAULT_* of the state layout.
 * @returns Half a sentence.
 */
export function backendFaultText(fault: number): string {
  return BACKEND_TEXTS.get(fault) ?? `fault ${fault}`;
}

/**
 * Says why a ring is quarantined.
 *
 * @param fault A FAULT_* of the state layout.
 * @returns Half a sentence.
 */
export function faultText(fault: number): string {
  return TEXTS.get(fault) ?? `fault ${fault}`;
}
