/**
 * What the YAML parser says, in words for whoever wrote the file.
 *
 * @module
 */
import { type Document, isScalar, type Node, visit, type YAMLError } from "yaml";
import type { YamlMistake } from "./yaml_mistakes.ts";

/**
 * Says what an error of the parser means.
 *
 * @param error The error.
 * @param document What the parser made of the file.
 */
export function explainError(error: YAMLError, document: Document.Parsed): YamlMistake {
  const { pos: [start, end], code, message } = error;
  if (code === "DUPLICATE_KEY") return twice([start, end], document);
  if (code === "MULTIPLE_DOCS") {
    const fix = "put it into a file of its own";
    return { start, end, reason: "a second document begins here", fix };
  }
  const fix = code === "TAB_AS_INDENT"
    ? "indent with spaces"
    : "correct the YAML; a value with special characters needs quotes";
  return { start, end, reason: message.split("\n")[0]!.replace(/[.:]$/, ""), fix };
}

function twice([start, end]: readonly [number, number], document: Document.Parsed): YamlMistake {
  const fix = "remove one of the two";
  const key = lastNode(document, (node) => isScalar(node) && node.range?.[0] === start);
  if (key === null) return { start, end, reason: "this key is there twice", fix };
  return { start, end: key.range![1], reason: `the key "${key}" is there twice`, fix };
}

/** The last node of a kind. */
function lastNode(document: Document.Parsed, isOne: (node: Node) => boolean): Node | null {
  let last: Node | null = null;
  visit(document, {
    Node: (_, node) => {
      if (isOne(node)) last = node;
    },
  });
  return last;
}
