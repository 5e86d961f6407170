import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { parseResults, runTests } from "../../support/test_run.ts";

Deno.test("parseResults reads names and what came of each test", () => {
  const xml = `<testsuites><testsuite name="a" errors="0">
    <testcase name="It &lt;works&gt; &amp; &quot;well&quot;" classname="a" time="0.1">
    </testcase>
    <testcase name="It fails"><failure message="x">no <b></failure></testcase>
    <testcase name="It cannot be read"><error/></testcase>
    <testcase name="It rests"><skipped/></testcase>
    <testcase name="It is short"/>
  </testsuite></testsuites>`;
  deepStrictEqual(parseResults(xml), [
    { name: 'It <works> & "well"', outcome: "passed" },
    { name: "It fails", outcome: "failed" },
    { name: "It cannot be read", outcome: "failed" },
    { name: "It rests", outcome: "skipped" },
    { name: "It is short", outcome: "passed" },
  ]);
});

Deno.test("runTests tells what came of each test, and whether the run ended well", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  const run = async (source: string) => {
    const file = join(folder, "some_test.ts");
    await Deno.writeTextFile(file, source);
    return await runTests(["--no-check", file], { quiet: true });
  };
  try {
    deepStrictEqual(
      await run('Deno.test("It works", () => {}); Deno.test.ignore("Not", () => {})'),
      {
        success: true,
        results: [{ name: "It works", outcome: "passed" }, { name: "Not", outcome: "skipped" }],
      },
    );
    const bad = await run('Deno.test("It fails", () => { throw new Error("no"); });');
    deepStrictEqual(bad, { success: false, results: [{ name: "It fails", outcome: "failed" }] });
    strictEqual((await run('Deno.test("It works", () => {}); Deno.exit(1);')).success, false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
