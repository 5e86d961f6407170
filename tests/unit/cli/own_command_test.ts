import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { ownCommand, withoutOption } from "../../../src/cli/own_command.ts";

const OPTION = "--supervise";

Deno.test("withoutOption leaves one of our options out, wherever it stands", () => {
  const deno = ["run", "--allow-all", "mod.ts"];
  for (const ours of [["run", OPTION, "lab.yaml"], ["run", "lab.yaml", OPTION]]) {
    deepStrictEqual(withoutOption([...deno, ...ours], ours, OPTION), [...deno, "run", "lab.yaml"]);
  }
});

Deno.test("withoutOption keeps what Deno was given, and a file of the same name", () => {
  const ours = ["run", OPTION, "--", OPTION];
  deepStrictEqual(
    withoutOption(["run", OPTION, "mod.ts", ...ours], ours, OPTION),
    ["run", OPTION, "mod.ts", "run", "--", OPTION],
  );
});

Deno.test("withoutOption works for a compiled program, also when the option is compiled in", () => {
  const ours = ["run", OPTION, "lab.yaml"];
  deepStrictEqual(withoutOption(ours, ours, OPTION), ["run", "lab.yaml"]);
  deepStrictEqual(withoutOption(["lab.yaml"], ours, OPTION), ["lab.yaml"]);
});

Deno.test("ownCommand finds the command of this process", () => {
  const { program, args } = ownCommand(Deno.args, OPTION);
  strictEqual(program, Deno.execPath());
  ok(args.includes("test"), args.join(" "));
});
