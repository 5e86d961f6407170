/**
 * Bad topology files and what the user is told about them.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { TopologyError } from "../../../config/diagnostics.ts";
import { parseTopology } from "../../../config/load.ts";
import type { Machine } from "../../../config/machine.ts";

/** A mistake: `line:column`, what the mark is below, the reason, the fix. */
export type Mistake = [string, string, string, string];

/** The smallest file with two ports. */
export const SMALLEST = `version: 1
ports:
  vm1: { type: vhost-user, socket: /run/lab/vm1.sock }
  vm2: { type: vhost-user, socket: /run/lab/vm2.sock, role: client, queues: 2 }
`;

/** A file with one port, and with more keys for that port. */
export function withPort(more: string): string {
  return `version: 1\nports:\n  vm1: { type: vhost-user, socket: a.sock, ${more} }\n`;
}

/** A file with one port, and with more lines above it. */
export function withLines(more: string): string {
  return `version: 1\n${more}\nports:\n  vm1: { type: vhost-user, socket: a.sock }\n`;
}

/** The mistakes that the message for the user shows, on a machine; none for a good file. */
export function mistakes(text: string, machine?: Machine): Mistake[] {
  try {
    parseTopology(text, "lab.yaml", machine);
  } catch (error) {
    if (!(error instanceof TopologyError)) throw error;
    return error.message.split("\n\n").map((shown) => readMistake(shown.trimEnd()));
  }
  return [];
}

/** The only mistake that the message for the user shows. */
export function mistake(text: string): Mistake {
  const [only, ...others] = mistakes(text);
  ok(only !== undefined, `accepted: ${text}`);
  strictEqual(others.length, 0);
  return only;
}

/** Place and mark of each mistake. */
export function marks(text: string): [string, string][] {
  return mistakes(text).map(([place, marked]) => [place, marked]);
}

function readMistake(shown: string): Mistake {
  const [head = "", excerpt = "", mark = "", fix = "", ...more] = shown.split("\n");
  const [, place, reason] = /^lab\.yaml:(\d+:\d+): error: (.+)$/.exec(head) ?? [];
  ok(place !== undefined && reason !== undefined, `no place or reason in: ${head}`);
  match(excerpt, /^ {2}\d+ \| /);
  match(fix, /^ {2}fix: ./);
  deepStrictEqual(more, []);
  const marked = excerpt.slice(mark.indexOf("^"), mark.lastIndexOf("^") + 1);
  return [place, marked, reason, fix.slice("  fix: ".length)];
}
