import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type Diagnostic, TopologyError } from "../../../config/diagnostics.ts";

const TEXT = "version: 1\nports:\n  vm1: { type: tap }\n";
const mistake: Diagnostic = {
  line: 3,
  column: 16,
  length: 3,
  reason: "this is wrong",
  fix: "write another",
};

function message(text: string, ...mistakes: Diagnostic[]): string {
  return new TopologyError("lab.yaml", text, mistakes).message;
}

Deno.test("TopologyError shows place, reason, excerpt with a mark, and fix", () => {
  strictEqual(
    message(TEXT, mistake),
    [
      "lab.yaml:3:16: error: this is wrong",
      "  3 |   vm1: { type: tap }",
      "    |                ^^^",
      "  fix: write another",
      "",
    ].join("\n"),
  );
});

Deno.test("TopologyError shows every mistake, an empty line between them", () => {
  const first = { ...mistake, line: 1, column: 10, length: 1 };
  const shown = message(TEXT, first, mistake);
  strictEqual(shown, `${message(TEXT, first)}\n${message(TEXT, mistake)}`);
  deepStrictEqual(new TopologyError("lab.yaml", TEXT, [first, mistake]).diagnostics, [
    first,
    mistake,
  ]);
});

Deno.test("TopologyError keeps the mark below the excerpt when line numbers are long", () => {
  const text = `${"\n".repeat(99)}ports: 1\n`;
  const lines = message(text, { ...mistake, line: 100, column: 8, length: 1 }).split("\n");
  deepStrictEqual(lines.slice(1, 3), ["  100 | ports: 1", "      |        ^"]);
});

Deno.test("TopologyError marks at least one character and none behind the line", () => {
  const marks = (more: Partial<Diagnostic>) =>
    message(TEXT, { ...mistake, ...more }).split("\n")[2]!.replaceAll(/[^^]/g, "").length;
  strictEqual(marks({ length: 0 }), 1);
  strictEqual(marks({ length: 1000 }), "tap }".length);
  strictEqual(marks({ column: 1000 }), 1);
});

Deno.test("TopologyError keeps the mark in its place behind a tab", () => {
  const lines = message("\tports:", { ...mistake, line: 1, column: 2, length: 5 }).split("\n");
  deepStrictEqual(lines.slice(1, 3), ["  1 |  ports:", "    |  ^^^^^"]);
});

Deno.test("TopologyError shows lines without their carriage return", () => {
  ok(!message(TEXT.replaceAll("\n", "\r\n"), mistake).includes("\r"));
});

Deno.test("TopologyError shows an empty excerpt for a line that does not exist", () => {
  strictEqual(message(TEXT, { ...mistake, line: 99 }).split("\n")[1], "  99 | ");
});

Deno.test("TopologyError writes control characters of file, name and messages as escapes", () => {
  const text = "\u001b[2J: 1\n";
  const found = { ...mistake, line: 1, column: 1, length: 4, reason: "a\nb", fix: "c\u009bd" };
  strictEqual(
    new TopologyError("lab\r.yaml", text, [found]).message,
    [
      String.raw`lab\x0d.yaml:1:1: error: a\x0ab`,
      String.raw`  1 | \x1b[2J: 1`,
      "    | ^^^^^^^",
      String.raw`  fix: c\x9bd`,
      "",
    ].join("\n"),
  );
});

Deno.test("TopologyError cuts what it quotes when that is very long", () => {
  const reason = `the key "${"k".repeat(5000)}" is not known here`;
  const shown = message(TEXT, { ...mistake, reason }).split("\n")[0]!;
  strictEqual(shown, `lab.yaml:3:16: error: the key "${"k".repeat(60)}…" is not known here`);
});
