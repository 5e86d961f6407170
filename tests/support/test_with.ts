/**
 * Tests that need programs of other packages.
 *
 * @module
 */
import process from "node:process";

/**
 * Declares a test that needs something. Where that is missing the test is ignored and its name says
 * why; with CI=true it runs, and fails, because there a missing program is a fault of the set-up.
 *
 * @param missing Says what is missing, `undefined` when nothing is.
 * @param name A sentence that starts with what is tested.
 * @param fn The test.
 */
export function testWith(
  missing: () => string | undefined,
  name: string,
  fn: (t: Deno.TestContext) => Promise<void>,
): void {
  const what = missing();
  const ignore = what !== undefined && process.env.CI !== "true";
  Deno.test({
    name: ignore ? `${name} (ignored: ${what} is not installed)` : name,
    ignore,
    fn: async (t) => {
      if (what !== undefined) throw new Error(`Cannot run: ${what} is not installed`);
      await fn(t);
    },
  });
}
