/**
 * Lines that the YAML parser cannot take for a key with its value.
 *
 * @module
 */
import type { YAMLError } from "yaml";
import type { YamlMistake } from "./yaml_mistakes.ts";

/** Text from an offset to another. */
type Place = Pick<YamlMistake, "start" | "end">;

/** A key whose value touches the colon. */
const TOUCHING = /^([A-Za-z][\w.-]*):(\S+)/;
const HAS_COLON = /:(\s|$)/;

/**
 * Says what is wrong with the line of an error.
 *
 * @param error An error of a key, of its value, or of the colon between them.
 * @param _ What the parser made of the file.
 * @param text The file.
 * @returns Null when the line looks like a key with its value.
 */
export function brokenLine(error: YAMLError, _: unknown, text: string): YamlMistake | null {
  const line = lineOf(text, error.pos[0]);
  const touching = touchingValue(text.slice(line.start, line.end));
  if (touching !== null) {
    const [reason, fix, length] = touching;
    return { start: line.start, end: line.start + length, reason, fix };
  }
  if (!HAS_COLON.test(text.slice(line.start, line.end))) {
    const fix = "write a key, a colon, a space and a value; or remove the line";
    return { ...line, reason: "there is no colon in this line", fix };
  }
  const next = lineOf(text, text.indexOf("\n", line.end) + 1);
  if (error.code !== "BLOCK_AS_IMPLICIT_KEY" || columnOf(text, next) <= columnOf(text, line)) {
    return null;
  }
  const reason = "the line before has a value already, so nothing can be inside of it";
  return { ...next, reason, fix: "indent this line like the one before" };
}

/**
 * Finds a key whose value touches the colon, which YAML takes for one word.
 *
 * @param text What begins with it.
 * @returns What is wrong, what to write, how many characters that concerns; null for other text.
 */
export function touchingValue(text: string): [reason: string, fix: string, length: number] | null {
  const [both, key, value] = TOUCHING.exec(text) ?? [];
  if (both === undefined) return null;
  return ["a space is missing behind the colon", `write ${key}: ${value}`, both.length];
}

/** The first word of the line of an offset. */
export function firstWord(text: string, offset: number): Place {
  const { start, end } = lineOf(text, offset);
  return { start, end: start + /^\S*?(?=:|\s|$)/.exec(text.slice(start, end))![0].length };
}

// Without what it is indented by, and without blanks at its end.
function lineOf(text: string, offset: number): Place {
  const from = text.lastIndexOf("\n", offset - 1) + 1;
  const to = text.indexOf("\n", offset);
  const line = text.slice(from, to < 0 ? text.length : to);
  const start = from + line.length - line.trimStart().length;
  return { start, end: start + line.trim().length };
}

function columnOf(text: string, { start }: Place): number {
  return start - text.lastIndexOf("\n", start - 1);
}
