/**
 * Files that are no YAML: what is said of each, in place of the parser's own words.
 *
 * @module
 */
import { deepStrictEqual, match } from "node:assert/strict";
import { mistake } from "./mistakes.ts";

/** A file with these lines about ports. */
function ports(...lines: string[]): string {
  return ["version: 1", "ports:", ...lines, ""].join("\n");
}

/** A file with a port that has these lines, and is followed by another port. */
function port(...lines: string[]): string {
  return ports("  vm1:", ...lines.map((line) => `    ${line}`), "  vm2: { type: vhost-user }");
}

const SPACE = "a space is missing behind the colon";
const NO_COLON = "there is no colon in this line";
const ADD_COLON = "write a key, a colon, a space and a value; or remove the line";
const COMMA = "write a comma between them, like { type: vhost-user, socket: vm1.sock }";
const COLUMN = "this line is indented unlike the ones that it belongs to";
const SAME_COLUMN = "indent it by as many spaces as they are";
const QUOTE = "put the whole value into quotes";

for (
  const [what, text, expected] of [
    [
      "lacks the space behind a colon",
      port("type:vhost-user", "socket: a"),
      ["4:5", "type:vhost-user", SPACE, "write type: vhost-user"],
    ],
    [
      "lacks the space behind a colon in the last line of a port",
      port("socket: a", "type:vhost-user"),
      ["5:5", "type:vhost-user", SPACE, "write type: vhost-user"],
    ],
    [
      "lacks the space behind a colon in braces",
      ports("  vm1: { type:vhost-user, socket: a }"),
      ["3:10", "type:vhost-user", SPACE, "write type: vhost-user"],
    ],
    [
      "lacks the space before a brace",
      ports("  vm1:{ type: vhost-user, socket: a }"),
      ["3:3", "vm1:{", SPACE, "write vm1: {"],
    ],
    [
      "lacks the space behind its first colon",
      "version:1\nports:\n  vm1: { type: vhost-user }\n",
      ["1:1", "version:1", SPACE, "write version: 1"],
    ],
    [
      "has a line that is indented too little",
      port("type: vhost-user", "   socket: a").replace("       socket", "   socket"),
      ["5:4", "socket", COLUMN, SAME_COLUMN],
    ],
    [
      "has ports in different columns",
      ports("    vm1: { type: vhost-user }", "  vm2: { type: vhost-user }"),
      ["4:3", "vm2", COLUMN, SAME_COLUMN],
    ],
    [
      "has a line that is indented too much",
      port("type: vhost-user", "  socket: a"),
      [
        "5:7",
        "socket: a",
        "the line before has a value already, so nothing can be inside of it",
        "indent this line like the one before",
      ],
    ],
    [
      "lacks a closing brace",
      ports("  vm1: { type: vhost-user, socket: a", "  vm2: { type: vhost-user }"),
      ["3:8", "{", "this { is not closed", "add the }"],
    ],
    [
      "lacks the last brace",
      ports("  vm1: { type: vhost-user, socket: a"),
      ["3:8", "{", "this { is not closed", "add the }"],
    ],
    [
      "lacks a closing bracket",
      "version: 1\nthreads: { pin: [1, 2 }\n",
      ["2:17", "[", "this [ is not closed", "add the ]"],
    ],
    [
      "has a brace too many",
      ports("  vm1: { type: vhost-user } }"),
      ["3:29", "}", "there is a } too many", "remove it"],
    ],
    [
      "has a comma too many",
      ports("  vm1: { type: vhost-user,, socket: a }"),
      ["3:27", ",", "there is a , too many", "remove it"],
    ],
    [
      "lacks a comma in a line",
      ports("  vm1: { type: vhost-user socket: a }"),
      ["3:16", "vhost-user socket: a ", "a comma is missing in this", COMMA],
    ],
    [
      "lacks a comma behind quotes",
      ports('  vm1: { socket: "a" type: vhost-user }'),
      ["3:22", "type", "a comma is missing before this", COMMA],
    ],
    [
      "lacks a comma in a list",
      "version: 1\nthreads: { pin: [1 [2]] }\n",
      ["2:20", "[", "a comma is missing before this", COMMA],
    ],
    [
      "lacks a comma at the end of a line",
      ports("  vm1: {", "    type: vhost-user", "    socket: a", "  }"),
      ["4:11", "vhost-user", "a comma is missing behind this", COMMA],
    ],
    [
      "has a stray word behind a value",
      ports("  vm1: { type: vhost-user } hello"),
      [
        "3:29",
        "hello",
        "the value has ended before this",
        "remove it, or put the whole value into quotes",
      ],
    ],
    [
      "has a stray word between its lines",
      "version: 1\nstray\nports: {}\n",
      ["2:1", "stray", NO_COLON, ADD_COLON],
    ],
    [
      "has a stray word at its end",
      `${ports("  vm1: { type: vhost-user }")}stray\n`,
      ["4:1", "stray", NO_COLON, ADD_COLON],
    ],
    [
      "has a tab in front of a port",
      ports("\tvm1: {}"),
      ["3:1", " ", "tabs are not allowed as indentation", "indent with spaces"],
    ],
    [
      "has a tab behind spaces",
      ports("  vm1:", "  \ttype: vhost-user"),
      ["4:3", " ", "tabs are not allowed as indentation", "indent with spaces"],
    ],
    [
      "has a value that begins with a special character",
      port("socket: @a"),
      ["4:13", "@", "a value cannot begin with this character", QUOTE],
    ],
    [
      "has a second colon in a value",
      "version: 1: 2\n",
      ["1:10", "1", "there is a second colon in this value", QUOTE],
    ],
    [
      "lacks a closing quote",
      'version: 1\nname: "lab\nports: {}\n',
      ["2:7", '"', 'this " is not closed', 'add the other "'],
    ],
    [
      "lacks a closing single quote",
      "version: 1\nname: 'lab\nports: {}\n",
      ["2:7", "'", "this ' is not closed", "add the other '"],
    ],
    [
      "has a backslash in quotes",
      String.raw`name: "C:\quux"`,
      ["1:10", "\\", "this is no escape sequence", String.raw`write \\ for a backslash`],
    ],
    [
      "has a comment that touches a value",
      'name: "lab"#mine\n',
      [
        "1:12",
        "#mine",
        "a comment cannot touch what is before it",
        "write a space before it, or put the whole value into quotes",
      ],
    ],
  ] as const
) {
  Deno.test(`parseTopology explains a file that ${what}`, () => {
    deepStrictEqual(mistake(text), expected);
  });
}

Deno.test("parseTopology counts columns of broken lines with Windows line ends", () => {
  const text = port("type:vhost-user", "socket: a").replaceAll("\n", "\r\n");
  deepStrictEqual(mistake(text).slice(0, 2), ["4:5", "type:vhost-user"]);
});

Deno.test("parseTopology shows the parser's own words for what is rare", () => {
  const [place, , reason] = mistake("version: 1\nname: |x\n  a\n");
  deepStrictEqual(place, "2:8");
  match(reason, /^Block scalar header/);
});
