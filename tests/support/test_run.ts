/**
 * Runs tests and reads what came of each of them.
 *
 * @module
 */

/** What came of a test. */
export interface TestResult {
  /** Its name. */
  readonly name: string;
  /** Skipped are tests that were ignored or filtered out. */
  readonly outcome: "passed" | "failed" | "skipped";
}

/** What came of a run. */
export interface TestRun {
  /** Whether the run ended well; one that dies before its first test, or outside of one, did not. */
  readonly success: boolean;
  /** Every test that was found. */
  readonly results: readonly TestResult[];
}

/** A test in a file of results (JUnit's format): its attributes and what it holds. */
const TEST_CASE = /<testcase\b([^>]*?)(\/>|>([\s\S]*?)<\/testcase>)/g;

/**
 * Runs `deno test`.
 *
 * @param args Files, folders and options.
 * @param options `quiet`: nothing is printed.
 */
export async function runTests(
  args: readonly string[],
  options: { readonly quiet?: boolean } = {},
): Promise<TestRun> {
  const file = await Deno.makeTempFile({ prefix: "labswitch-test-", suffix: ".xml" });
  try {
    const line = ["test", "-A", "--quiet", `--junit-path=${file}`, ...args];
    const { success } = await runDeno(line, options);
    return { success, results: parseResults(await Deno.readTextFile(file)) };
  } finally {
    await Deno.remove(file);
  }
}

/** Runs Deno; what it prints is shown unless that is not wanted. */
export async function runDeno(
  args: readonly string[],
  { quiet = false }: { readonly quiet?: boolean } = {},
): Promise<Deno.CommandStatus> {
  return await new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: quiet ? "null" : "inherit",
    stderr: quiet ? "null" : "inherit",
  }).spawn().status;
}

/** Reads results in JUnit's format. */
export function parseResults(xml: string): TestResult[] {
  return [...xml.matchAll(TEST_CASE)].map(([, attributes, , body = ""]) => {
    const name = /\bname="([^"]*)"/.exec(attributes!)?.[1] ?? "?";
    return { name: unescapeXml(name), outcome: outcomeOf(body) };
  });
}

function outcomeOf(body: string): TestResult["outcome"] {
  if (body.includes("<skipped")) return "skipped";
  return body.includes("<failure") || body.includes("<error") ? "failed" : "passed";
}

function unescapeXml(text: string): string {
  return text.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">")
    .replaceAll("&apos;", "'").replaceAll("&amp;", "&");
}
