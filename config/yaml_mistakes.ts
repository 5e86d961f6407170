/**
 * What is wrong with a file as YAML, before anybody looks for ports in it.
 *
 * @module
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  Scalar,
  visit,
} from "yaml";
import { touchingValue } from "./broken_lines.ts";
import { explainError } from "./parser_errors.ts";

/** A mistake and the text that is meant. */
export interface YamlMistake {
  /** Offset of its first character. */
  readonly start: number;
  /** Offset behind its last one. */
  readonly end: number;
  /** What is wrong. */
  readonly reason: string;
  /** What to write instead. */
  readonly fix: string;
}

/** The only version of YAML whose rules are ours; in others `no` and `1:20` are not text. */
const RIGHT_DIRECTIVE = /^%YAML[ \t]+1\.2[ \t]*(#.*)?$/;

/**
 * Finds the mistakes.
 *
 * @param document The file, parsed.
 * @param text The file.
 */
export function yamlMistakes(document: Document.Parsed, text: string): YamlMistake[] {
  const directive = directiveMistake(text);
  // Everything behind it was read by other rules.
  if (directive !== null) return [directive];
  const { errors } = document;
  if (errors.length > 0) {
    // After other mistakes than these the parser guesses.
    const isGuess = errors.some(({ code }) => code !== "DUPLICATE_KEY");
    return (isGuess ? errors.slice(0, 1) : errors)
      .map((error) => explainError(error, document, text));
  }
  const found = nodeMistakes(document);
  if (found.length > 0 || plainValue(document) !== undefined) return found;
  const reason = "there are too many aliases";
  return [{ start: 0, end: 0, reason, fix: "write the values themselves" }];
}

/** The file as plain values; undefined when its aliases multiply without end. */
export function plainValue(document: Document.Parsed): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    if (error instanceof ReferenceError) return undefined;
    throw error;
  }
}

function directiveMistake(text: string): YamlMistake | null {
  for (const { 0: line, index } of text.matchAll(/^%YAML\b.*$/gm)) {
    if (RIGHT_DIRECTIVE.test(line.trimEnd())) continue;
    const reason = "this file is YAML 1.2, and nothing else";
    return { start: index, end: index + line.trimEnd().length, reason, fix: "remove this line" };
  }
  return null;
}

function nodeMistakes(document: Document.Parsed): YamlMistake[] {
  const found: YamlMistake[] = [];
  const add = (node: Node, [reason, fix]: readonly [string, string]) => {
    const [start, end] = node.range ?? [0, 0];
    found.push({ start, end, reason, fix });
  };
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document) !== undefined) return;
      add(alias, [`there is no anchor "&${alias.source}" before this`, "write the value itself"]);
    },
    Pair: (_, { key }) => {
      const mistake = keyMistake(key);
      if (mistake !== null && isNode(key)) add(key, mistake);
    },
  });
  return found;
}

// An object takes what is no text as a key all the same, and two ports become one without a word.
function keyMistake(key: unknown): readonly [reason: string, fix: string] | null {
  if (isAlias(key)) return ["an alias cannot be a key", "write the key itself"];
  if (isSeq(key) || isMap(key)) {
    const what = isSeq(key) ? "a list" : "keys and values";
    return [`${what} cannot be a key`, "write a name, like vm1"];
  }
  if (!isScalar(key)) return null;
  // An object takes this one for something else, and the port would be lost.
  if (key.value === "__proto__") return ["this name is not possible", "use another name"];
  if (key.value === "<<") {
    return ["merge keys are YAML 1.1; this file is YAML 1.2", "write the keys out"];
  }
  if (typeof key.value === "string") {
    const touching = key.type === Scalar.PLAIN ? touchingValue(key.value) : null;
    return touching && [touching[0], touching[1]];
  }
  const { source = "" } = key;
  return [
    `YAML reads this key as ${kindOf(key.value)}, not as text`,
    /^[A-Za-z]/.test(source)
      ? `write it in quotes: "${source}"`
      : "write a name that begins with a letter",
  ];
}

function kindOf(value: unknown): string {
  if (value === null) return "nothing";
  return typeof value === "boolean" ? "true or false" : "a number";
}
