/**
 * What happens to an error that nobody catches. It ends the process, so each test has one of its own.
 *
 * @module
 */
import { match, strictEqual } from "node:assert/strict";
import { crashText } from "../../../src/cli/crash.ts";
import { EXIT_CRASH } from "../../../src/cli/exit_codes.ts";

const [CRASH, IO] = ["crash", "io"].map((name) =>
  new URL(`../../../src/cli/${name}.ts`, import.meta.url).href
);
/** Long enough for every error to end the process first. */
const NEVER_MS = 60_000;

async function runScript(body: string): Promise<{ code: number; err: string }> {
  const script = `import { exitOnCrash } from "${CRASH}"; import { terminal } from "${IO}";
    const guard = exitOnCrash(terminal.live());
    setTimeout(() => {}, ${NEVER_MS});
    ${body}`;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, err: new TextDecoder().decode(stderr) };
}

for (
  const [what, body] of [
    ["a timer throws", "setTimeout(() => { throw new TypeError('oops'); });"],
    ["a promise is rejected", "setTimeout(() => void Promise.reject(new TypeError('oops')));"],
  ] as const
) {
  Deno.test(`exitOnCrash ends the process with a code of its own when ${what}`, async () => {
    const { code, err } = await runScript(body);
    strictEqual(code, EXIT_CRASH);
    match(err, /^error: this is a fault of labswitch, please report it:\nTypeError: oops\n +at /);
  });
}

Deno.test("exitOnCrash leaves errors alone after it was disposed", async () => {
  const { code } = await runScript(
    "guard[Symbol.dispose](); setTimeout(() => { throw 'oops'; });",
  );
  strictEqual(code, 1);
});

Deno.test("crashText shows what is no error as well", () => {
  match(crashText("a string"), /please report it:\na string\n$/);
});
