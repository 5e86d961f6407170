import { strictEqual } from "node:assert/strict";
import { visible } from "../../../config/visible.ts";

Deno.test("visible writes what steers a terminal or ends a line as escapes", () => {
  strictEqual(visible("\u001b[2J\r\n\0\u007f\u009b"), String.raw`\x1b[2J\x0d\x0a\x00\x7f\x9b`);
  strictEqual(visible("a\u2028b\u202ec\u2066d"), String.raw`a\u2028b\u202ec\u2066d`);
});

Deno.test("visible leaves text of every language alone", () => {
  const text = "/run/lab/é 日本 🙂 שלום \\x1b.sock";
  strictEqual(visible(text), text);
});
