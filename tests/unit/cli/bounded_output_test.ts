import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { BoundedOutput } from "../../../src/cli/bounded_output.ts";

const LIMIT = 20;
const LONG_MS = 10_000;

/** A reader that a test stops, lets go on, or breaks. */
class Reader {
  text = "";
  /** Bytes that one write takes at most. */
  atOnce = Infinity;
  /** What the next writes fail with, one each. */
  readonly errors: Error[] = [];
  #going = Promise.withResolvers<void>();

  constructor() {
    this.#going.resolve();
  }

  stop(): void {
    this.#going = Promise.withResolvers();
  }

  goOn(): void {
    this.#going.resolve();
  }

  readonly write = async (data: Uint8Array): Promise<number> => {
    await this.#going.promise;
    const error = this.errors.shift();
    if (error !== undefined) throw error;
    const taken = data.subarray(0, this.atOnce);
    this.text += new TextDecoder().decode(taken);
    return taken.length;
  };
}

function open(): { reader: Reader; output: BoundedOutput } {
  const reader = new Reader();
  return { reader, output: new BoundedOutput(reader.write, LIMIT) };
}

Deno.test("BoundedOutput writes lines in order, also in small parts", async () => {
  const { reader, output } = open();
  reader.atOnce = 3;
  for (const line of ["one\n", "two\n", "three\n"]) output.write(line);
  await output.flush(LONG_MS);
  strictEqual(reader.text, "one\ntwo\nthree\n");
  output.write("four\n");
  await output.flush(LONG_MS);
  strictEqual(reader.text, "one\ntwo\nthree\nfour\n");
});

Deno.test("BoundedOutput never waits, keeps what fits and tells where lines are missing (X23)", async () => {
  const { reader, output } = open();
  reader.stop();
  output.write("under way\n");
  for (let i = 0; i < 6; i++) output.write(`line ${i}\n`);
  reader.goOn();
  await output.flush(LONG_MS);
  output.write("later\n");
  await output.flush(LONG_MS);
  deepStrictEqual(reader.text.split("\n"), [
    ...["under way", "line 0", "line 1"],
    "(4 lines are missing here: writing was not possible)",
    ...["later", ""],
  ]);
});

Deno.test("BoundedOutput lets nothing overtake what is missing (X23)", async () => {
  const { reader, output } = open();
  reader.stop();
  output.write("under way\n");
  output.write("waits\n");
  output.write("much too long for the rest\n");
  output.write("short\n");
  reader.goOn();
  await output.flush(LONG_MS);
  strictEqual(
    reader.text,
    "under way\nwaits\n(2 lines are missing here: writing was not possible)\n",
  );
});

Deno.test("BoundedOutput survives a full disk and counts what did not fit on it (X23)", async () => {
  const { reader, output } = open();
  reader.errors.push(new Error("no space left"), new Error("no space left"));
  for (const line of ["lost 1\n", "lost 2\n", "back\n"]) {
    output.write(line);
    await output.flush(LONG_MS);
  }
  strictEqual(reader.text, "(2 lines are missing here: writing was not possible)\nback\n");
});

Deno.test("BoundedOutput counts as lost what came while a write failed", async () => {
  const { reader, output } = open();
  reader.stop();
  reader.errors.push(new Error("no space left"));
  for (const line of ["lost 1\n", "lost 2\n", "lost 3, too long to wait\n"]) output.write(line);
  reader.goOn();
  await output.flush(LONG_MS);
  strictEqual(reader.text, "");
  output.write("back\n");
  await output.flush(LONG_MS);
  strictEqual(reader.text, "(3 lines are missing here: writing was not possible)\nback\n");
});

Deno.test("BoundedOutput tries again where a write would block", async () => {
  const { reader, output } = open();
  reader.errors.push(new Deno.errors.WouldBlock());
  output.write("patience\n");
  await output.flush(LONG_MS);
  strictEqual(reader.text, "patience\n");
});

Deno.test("BoundedOutput.flush gives up when its time is over", async () => {
  const { reader, output } = open();
  await output.flush(LONG_MS);
  reader.stop();
  output.write("nobody reads this\n");
  await output.flush(1);
  strictEqual(reader.text, "");
  reader.goOn();
  await output.flush(LONG_MS);
  strictEqual(reader.text, "nobody reads this\n");
});
