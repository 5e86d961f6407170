/**
 * Which rows the tests' sources name, without running a test.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { idsIn } from "./row.ts";

/** Folder of all tests. */
export const TESTS: string = fileURLToPath(new URL("..", import.meta.url));
/** Where tests with ids in their names are, those without privilege or guests first. */
export const QUICK_FOLDERS: readonly string[] = ["unit", "conformance"];
/** The same, those with guests. */
export const SLOW_FOLDERS: readonly string[] = ["e2e"];
/** The tests of this table speak of ids, they do not act them out. */
const OWN_TESTS = "survival";

const COMMENT_LINE = /^\s*(?:\/\/|\/?\*)/;

/** Finds the ids that a test file's names carry; comments do not count. */
export function idsInSource(source: string): Set<string> {
  const lines = source.split("\n").filter((line) => !COMMENT_LINE.test(line));
  return new Set(lines.flatMap((line) => [...idsIn(line)]));
}

/** Finds the ids in all test files below some folders of the tests. */
export function idsInFolders(folders: readonly string[]): Set<string> {
  const files = folders.flatMap((folder) => testFiles(join(TESTS, folder)));
  return new Set(files.flatMap((file) => [...idsInSource(Deno.readTextFileSync(file))]));
}

function testFiles(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    if (isDirectory) return name === OWN_TESTS ? [] : testFiles(join(folder, name));
    return name.endsWith("_test.ts") ? [join(folder, name)] : [];
  });
}
