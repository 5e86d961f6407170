/**
 * The handler's machine code against an assembler.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HANDLER } from "../../ffi/page_guard.ts";
import { findProgram } from "../support/console_process.ts";
import { testWith } from "../support/test_with.ts";

const SOURCE = fileURLToPath(new URL("../../ffi/sigbus_handler.s", import.meta.url));

function noAssembler(): string | undefined {
  if (Deno.build.arch !== "x86_64") return "an assembler for x86-64";
  return ["as", "objcopy"].find((program) => findProgram(program) === undefined);
}

async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(stderr)}`);
}

testWith(noAssembler, "HANDLER is what the assembler makes of sigbus_handler.s", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  try {
    const [object, binary] = [join(folder, "handler.o"), join(folder, "handler.bin")];
    await run("as", "--64", "-o", object, SOURCE);
    await run("objcopy", "--output-target=binary", "--only-section=.text", object, binary);
    deepStrictEqual(HANDLER.toHex(), (await Deno.readFile(binary)).toHex());
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
