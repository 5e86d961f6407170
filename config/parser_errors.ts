/**
 * What the YAML parser says, in words for whoever wrote the file.
 *
 * @module
 */
import {
  type Document,
  isCollection,
  isScalar,
  isSeq,
  type Node,
  Scalar,
  visit,
  type YAMLError,
} from "yaml";
import { brokenLine, firstWord } from "./broken_lines.ts";
import type { YamlMistake } from "./yaml_mistakes.ts";

/** Explains an error; null when it is of another kind. */
type Explanation = (error: YAMLError, document: Document.Parsed, text: string) =>
  | YamlMistake
  | null;

const COMMA = "write a comma between them, like { type: vhost-user, socket: vm1.sock }";

/** What an error with a code may mean; the first that fits is shown. */
const EXPLANATIONS: { readonly [Code in YAMLError["code"]]?: readonly Explanation[] } = {
  BAD_DQ_ESCAPE: [saying("this is no escape sequence", "write \\\\ for a backslash")],
  BAD_INDENT: [unclosedBracket, otherColumn],
  BAD_SCALAR_START: [
    saying("a value cannot begin with this character", "put the whole value into quotes"),
  ],
  BLOCK_AS_IMPLICIT_KEY: [
    brokenLine,
    saying("there is a second colon in this value", "put the whole value into quotes"),
  ],
  BLOCK_IN_FLOW: [saying("a comma is missing in this", COMMA)],
  DUPLICATE_KEY: [twice],
  MISSING_CHAR: [unclosedBracket, unclosedQuote, touchingComment, missingComma, brokenLine],
  MULTILINE_IMPLICIT_KEY: [brokenLine, saying("a comma is missing behind this", COMMA)],
  MULTIPLE_DOCS: [saying("a second document begins here", "put it into a file of its own")],
  TAB_AS_INDENT: [saying("tabs are not allowed as indentation", "indent with spaces")],
  UNEXPECTED_TOKEN: [unexpectedMark, missingComma, behindValue],
};

/**
 * Says what an error of the parser means.
 *
 * @param error The error.
 * @param document What the parser made of the file.
 * @param text The file.
 */
export function explainError(
  error: YAMLError,
  document: Document.Parsed,
  text: string,
): YamlMistake {
  for (const explanation of EXPLANATIONS[error.code] ?? []) {
    const found = explanation(error, document, text);
    if (found !== null) return found;
  }
  const reason = error.message.split("\n")[0]!.replace(/[.:]$/, "");
  return { ...placeOf(error), reason, fix: "correct the YAML at this place" };
}

function saying(reason: string, fix: string): Explanation {
  return (error) => ({ ...placeOf(error), reason, fix });
}

function placeOf({ pos: [start, end] }: YAMLError): Pick<YamlMistake, "start" | "end"> {
  return { start, end };
}

function twice(error: YAMLError, document: Document.Parsed): YamlMistake {
  const { start, end } = placeOf(error);
  const fix = "remove one of the two";
  const key = lastNode(document, (node) => isScalar(node) && node.range?.[0] === start);
  if (key === null) return { start, end, reason: "this key is there twice", fix };
  return { start, end: key.range![1], reason: `the key "${key}" is there twice`, fix };
}

// The parser notices it where it gives up, which may be at the end of the file.
function unclosedBracket(
  { message, pos }: YAMLError,
  document: Document.Parsed,
  text: string,
): YamlMistake | null {
  const close = /end with a ([}\]])/.exec(message)?.[1];
  if (close === undefined) return null;
  const node = lastNode(document, (one) => {
    const isOurs = isCollection(one) && one.flow === true && isSeq(one) === (close === "]");
    return isOurs && one.range![0] < pos[0] && text[one.range![1] - 1] !== close;
  });
  const start = node?.range?.[0] ?? pos[0];
  const open = close === "]" ? "[" : "{";
  return { start, end: start + 1, reason: `this ${open} is not closed`, fix: `add the ${close}` };
}

function unclosedQuote({ message, pos }: YAMLError, document: Document.Parsed): YamlMistake | null {
  const quote = /^Missing closing (["'])/.exec(message)?.[1];
  if (quote === undefined) return null;
  const type = quote === '"' ? Scalar.QUOTE_DOUBLE : Scalar.QUOTE_SINGLE;
  const start = lastNode(document, (node) => isScalar(node) && node.type === type)?.range?.[0] ??
    pos[0];
  return {
    start,
    end: start + 1,
    reason: `this ${quote} is not closed`,
    fix: `add the other ${quote}`,
  };
}

function touchingComment(error: YAMLError): YamlMistake | null {
  if (!error.message.startsWith("Comments must be separated")) return null;
  const fix = "write a space before it, or put the whole value into quotes";
  return { ...placeOf(error), reason: "a comment cannot touch what is before it", fix };
}

function otherColumn({ message, pos }: YAMLError, _: Document, text: string): YamlMistake | null {
  if (!message.includes("same column")) return null;
  const reason = "this line is indented unlike the ones that it belongs to";
  return { ...firstWord(text, pos[0]), reason, fix: "indent it by as many spaces as they are" };
}

// A bracket or comma that nothing needs.
function unexpectedMark(error: YAMLError, _: Document, text: string): YamlMistake | null {
  const { start, end } = placeOf(error);
  const mark = text.slice(start, end);
  if (!/^[{}[\],]$/.test(mark)) return null;
  return { start, end, reason: `there is a ${mark} too many`, fix: "remove it" };
}

function missingComma(error: YAMLError): YamlMistake | null {
  if (!/^(Unexpected \S+ token$|Missing ,)/.test(error.message)) return null;
  return { ...placeOf(error), reason: "a comma is missing before this", fix: COMMA };
}

function behindValue(error: YAMLError): YamlMistake | null {
  if (!error.message.endsWith("at node end")) return null;
  const fix = "remove it, or put the whole value into quotes";
  return { ...placeOf(error), reason: "the value has ended before this", fix };
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
