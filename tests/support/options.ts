/**
 * What the command lines of the long-running tasks have in common.
 *
 * @module
 */
import { InvalidArgumentError } from "commander";

/** Reads a whole number from the command line. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError("not a whole number.");
  }
  return value;
}

/** Draws 32 bits. */
export function drawSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
