/**
 * Conversations as files. A conversation cannot be drawn again once the request table or the offer of
 * a port has changed, so what once found something is kept word by word.
 *
 * @module
 */
import type { NumberedConversation } from "./attacker.ts";
import { TEMPLATE } from "./layout.ts";
import type { Conversation } from "./plan.ts";

/** What a fixture file holds, besides bytes in hexadecimal. */
export interface Fixture {
  /** What was wrong, in half a sentence. */
  readonly showed: string;
  /** What was said, one conversation after the other. */
  readonly conversations: readonly NumberedConversation[];
}

/** Bytes as a file holds them. */
interface HexBytes {
  readonly hex: string;
}

/** What of the memory is not as in the template. */
interface MemoryPatch {
  readonly patches: readonly (readonly [at: number, hex: string])[];
}

/** Makes the text of a fixture file. */
export function formatFixture(fixture: Fixture): string {
  const text = JSON.stringify(fixture, (key, value) => {
    if (key === "memory" && value instanceof Uint8Array) return { patches: patches(value) };
    return value instanceof Uint8Array ? { hex: value.toHex() } : value;
  }, 1);
  return `${text}\n`;
}

/** Reads a fixture file's text. */
export function parseFixture(text: string): Fixture {
  return JSON.parse(text, (_, value) => {
    if (isHexBytes(value)) return Uint8Array.fromHex(value.hex);
    return isMemoryPatch(value) ? patched(value) : value;
  });
}

/** Reads all fixtures of a folder. */
export async function readFixtures(folder: URL): Promise<Fixture[]> {
  const fixtures: Fixture[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".json")) continue;
    fixtures.push(parseFixture(await Deno.readTextFile(new URL(name, folder))));
  }
  return fixtures;
}

function isHexBytes(value: unknown): value is HexBytes {
  return typeof value === "object" && value !== null && "hex" in value;
}

function isMemoryPatch(value: unknown): value is MemoryPatch {
  return typeof value === "object" && value !== null && "patches" in value;
}

function patches(memory: Conversation["memory"]): [number, string][] {
  const found: [number, string][] = [];
  for (let at = 0; at < memory.length; at++) {
    if (memory[at] === TEMPLATE[at]) continue;
    const from = at;
    while (at < memory.length && memory[at] !== TEMPLATE[at]) at++;
    found.push([from, memory.subarray(from, at).toHex()]);
  }
  return found;
}

function patched({ patches }: MemoryPatch): Conversation["memory"] {
  const memory = TEMPLATE.slice();
  for (const [at, hex] of patches) memory.set(Uint8Array.fromHex(hex), at);
  return memory;
}
