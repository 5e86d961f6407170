/**
 * Each test ties a process of its own; this one stays free.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";

const PARENT = new URL("../../../ffi/parent.ts", import.meta.url).href;

async function endWithParentOf(expression: string): Promise<string> {
  const script = `import { endWithParent } from "${PARENT}";
    console.log(endWithParent(${expression}));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("endWithParent knows the process that started this one", async () => {
  strictEqual(await endWithParentOf("Deno.ppid"), "true");
  strictEqual(await endWithParentOf(`${Deno.pid}`), "true");
});

Deno.test("endWithParent notices that the parent is another one by now", async () => {
  strictEqual(await endWithParentOf("Deno.pid"), "false");
});
