/**
 * What the product asks the time of day for: nothing but time stamps. Everything that waits or ages
 * goes by `performance.now()` and timers, which no clock step moves.
 *
 * @module
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { join, relative } from "node:path";

const ROOT = join(import.meta.dirname!, "../..");
const FOLDERS = ["src", "ffi", "config"];
const TIME_OF_DAY = /\bDate\b|\bTemporal\b/;

function* sources(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = join(folder, name);
    if (isDirectory) yield* sources(path);
    else if (name.endsWith(".ts")) yield path;
  }
}

Deno.test("The product asks for the time of day only to print it (X26)", () => {
  const all = FOLDERS.flatMap((folder) => [...sources(join(ROOT, folder))]);
  ok(all.length > 0);
  const found = all.filter((path) => TIME_OF_DAY.test(Deno.readTextFileSync(path)))
    .map((path) => relative(ROOT, path));
  deepStrictEqual(found, ["src/cli/time_stamp.ts"]);
});
