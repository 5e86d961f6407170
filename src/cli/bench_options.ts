/**
 * The options of `labswitch bench`.
 *
 * @module
 */
import { InvalidArgumentError } from "commander";
import { resolve } from "node:path";
import { MAX_FLOWS, MAX_FRAME_BYTES, MAX_RING_SIZE } from "../bench/memory_layout.ts";
import { parseRate } from "../bench/rate.ts";
import { MIN_FRAME_BYTES } from "../ethernet/frame.ts";

/** What is measured, and how it is shown. */
export interface BenchOptions {
  /** Sockets of the back-end: two, or none for a switch of the command's own. */
  readonly socket: readonly string[];
  /** Bytes of the frames. */
  readonly sizes: readonly number[];
  /** Flows of each direction. */
  readonly flows: number;
  /** Frames per second, or null for as many as come through. */
  readonly rate: number | null;
  /** How long each run is measured. */
  readonly seconds: number;
  /** How often everything is measured. */
  readonly rounds: number;
  /** Closed loop: frames of each direction on the way at a time. */
  readonly window: number;
  /** Whether the rings are packed. */
  readonly packed: boolean;
  /** Whether the result is a JSON object. */
  readonly json: boolean;
}

/** The frame sizes that are measured unless the user says otherwise. */
export const DEFAULT_SIZES: readonly number[] = [64, 512, 1514];
/**
 * What is on the way in testpmd's loop with rings of 256: it fills both rings, and drops what finds no
 * place in a transmit ring until half of it is left.
 */
export const DEFAULT_WINDOW = 128;

/**
 * Makes a parser of integers.
 *
 * @param max The largest; the smallest is 1.
 * @returns A function that throws {@linkcode InvalidArgumentError}.
 */
export function integerUpTo(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
    throw new InvalidArgumentError(`Write an integer from 1 to ${max}.`);
  };
}

/** Reads a number of flows. */
export const flows: (text: string) => number = integerUpTo(MAX_FLOWS);
/** Reads a window. */
export const window: (text: string) => number = integerUpTo(MAX_RING_SIZE);
/** Reads a number of rounds. */
export const rounds: (text: string) => number = integerUpTo(1000);

/**
 * Reads frame sizes.
 *
 * @throws {InvalidArgumentError} When one is out of bounds.
 */
export function sizes(text: string): number[] {
  return text.split(",").map((size) => {
    const value = Number(size);
    if (/^\d+$/.test(size) && value >= MIN_FRAME_BYTES && value <= MAX_FRAME_BYTES) return value;
    throw new InvalidArgumentError(
      `Write sizes from ${MIN_FRAME_BYTES} to ${MAX_FRAME_BYTES} bytes like 64,512,1514.`,
    );
  });
}

/**
 * Reads a rate.
 *
 * @returns Frames per second, or null for `max`.
 * @throws {InvalidArgumentError} When it is something else.
 */
export function rate(text: string): number | null {
  if (text === "max") return null;
  const value = parseRate(text);
  if (value !== null) return value;
  throw new InvalidArgumentError(
    "Write frames per second like 100k or 1.5M, at most 100M, or max.",
  );
}

/** Adds a socket to those before it. */
export function socket(path: string, before: readonly string[]): string[] {
  return [...before, path];
}

// Without links and dots; of what does not exist yet, only without dots.
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return resolve(path);
  }
}

/** What is wrong with options that are good one by one: what, why and the fix; null if nothing is. */
export function conflict({ socket, rate }: BenchOptions, hasWindow: boolean): string | null {
  if (socket.length !== 0 && socket.length !== 2) {
    return `${socket.length} ${socket.length === 1 ? "socket" : "sockets"} given: frames go from ` +
      "one port to another; give two sockets, or none for a switch of its own";
  }
  const [first, second] = socket;
  if (first !== undefined && second !== undefined && realPath(first) === realPath(second)) {
    const both = first === second ? first : `${first}, which is also ${second}`;
    return `both sockets are ${both}: a port takes one front-end; give two different sockets`;
  }
  if (rate !== null && hasWindow) {
    return "--window and --rate exclude each other: with a rate, frames leave whether or not others " +
      "came back; leave --window out, or say --rate max";
  }
  return null;
}
