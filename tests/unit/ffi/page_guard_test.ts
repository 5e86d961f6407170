/**
 * Faults that are handled happen in this process; those that are not end a process of their own.
 *
 * @module
 */
import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { GuardedRange } from "../../../ffi/page_guard.ts";
import { CutOffMemory, FILE_AT, FILE_BYTES, noHandler } from "../../support/bus_fault.ts";
import { testWith } from "../../support/test_with.ts";

const url = (path: string) => new URL(`../../../${path}`, import.meta.url).href;
const IMPORTS = `
  import { GuardedRange } from "${url("ffi/page_guard.ts")}";
  import { GuardedRange as OtherRange } from "${url("ffi/page_guard.ts")}?another-thread";
  import { CutOffMemory, FILE_AT, FILE_BYTES } from "${url("tests/support/bus_fault.ts")}";
`;

function guard({ memory }: CutOffMemory): GuardedRange {
  const range = GuardedRange.guard(memory, BigInt(FILE_AT))!;
  range.end = BigInt(FILE_AT + FILE_BYTES);
  return range;
}

/** Runs a script that says what it reads; tells that, or the signal that ended it. */
async function outcomeOf(script: string): Promise<string | null> {
  const args = ["eval", IMPORTS + script];
  const command = new Deno.Command(Deno.execPath(), { args, stderr: "null" });
  const { signal, stdout } = await command.output();
  return signal ?? new TextDecoder().decode(stdout).trim();
}

testWith(noHandler, "GuardedRange becomes zeros when one of its pages is gone (F45)", async () => {
  using pages = new CutOffMemory();
  using range = guard(pages);
  deepStrictEqual([pages.read(), range.wasReplaced()], [[1, 1, 1], false]);
  pages.cutOff();
  strictEqual(range.wasReplaced(), false);
  // The page that was still there is gone with the other; what lies before the range is not.
  deepStrictEqual(pages.read().slice(2), [0]);
  deepStrictEqual(pages.read(), [1, 0, 0]);
  deepStrictEqual([range.wasReplaced(), range.wasReplaced()], [true, false]);
  new Uint8Array(pages.memory.buffer)[FILE_AT + FILE_BYTES - 1] = 7;
  strictEqual(range.wasReplaced(), false);
  await Promise.resolve();
});

testWith(noHandler, "GuardedRange of one memory leaves the others alone", async () => {
  using gone = new CutOffMemory();
  using kept = new CutOffMemory();
  using goneRange = guard(gone);
  using keptRange = guard(kept);
  gone.cutOff();
  gone.read();
  deepStrictEqual([goneRange.wasReplaced(), keptRange.wasReplaced()], [true, false]);
  deepStrictEqual(kept.read(), [1, 1, 1]);
  await Promise.resolve();
});

testWith(noHandler, "GuardedRange gives its place back when it is disposed of", async () => {
  using pages = new CutOffMemory();
  for (let i = 0; i < 2000; i++) guard(pages)[Symbol.dispose]();
  using ranges = new DisposableStack();
  throws(() => {
    for (;;) ranges.use(guard(ranges.use(new CutOffMemory())));
  }, /Cannot guard more than 1024 memories/);
  await Promise.resolve();
});

testWith(
  noHandler,
  "SIGBUS outside of every range ends the process as without a guard",
  async () => {
    const touch = "pages.cutOff(); console.log(pages.read().join());";
    const start = "const pages = new CutOffMemory();";
    strictEqual(await outcomeOf(`${start} ${touch}`), "SIGBUS");
    const range = "const range = GuardedRange.guard(pages.memory, BigInt(FILE_AT));";
    const end = (bytes: string) => `range.end = BigInt(${bytes});`;
    const whole = end("FILE_AT + FILE_BYTES");
    strictEqual(await outcomeOf(`${start} ${range} ${touch}`), "SIGBUS");
    strictEqual(await outcomeOf(`${start} ${range} ${end("FILE_AT + 4096")} ${touch}`), "SIGBUS");
    strictEqual(await outcomeOf(`${start} ${range} ${whole} ${touch}`), "1,1,0");
    const dispose = "range[Symbol.dispose]();";
    strictEqual(await outcomeOf(`${start} ${range} ${whole} ${dispose} ${touch}`), "SIGBUS");
  },
);

testWith(noHandler, "GuardedRange of one thread works beside those of another", async () => {
  const script = `
    const [one, two] = [new CutOffMemory(), new CutOffMemory()];
    GuardedRange.guard(one.memory, BigInt(FILE_AT)).end = BigInt(FILE_AT + FILE_BYTES);
    OtherRange.guard(two.memory, BigInt(FILE_AT)).end = BigInt(FILE_AT + FILE_BYTES);
    for (const pages of [one, two]) pages.cutOff();
    console.log([one, two].map((pages) => pages.read().join()).join(" "));`;
  strictEqual(await outcomeOf(script), "1,1,0 1,1,0");
});
