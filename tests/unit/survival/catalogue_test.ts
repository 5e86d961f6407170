import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { CATALOGUE } from "../../survival/catalogue.ts";
import { GROUPS, idsIn } from "../../survival/row.ts";
import { idsInFolders, idsInSource, QUICK_FOLDERS, SLOW_FOLDERS } from "../../survival/scan.ts";

/** Rows whose tests put their names together, which reading the source does not show. */
const COMPUTED = new Set(["F91", "F93", "F95", "F96"]);
/** Longer texts would not fit beside the others. */
const MOST_CHARACTERS = 68;

Deno.test("CATALOGUE has every row of every group once, in order", () => {
  for (const { letter, rows } of GROUPS) {
    const ids = CATALOGUE.map(({ id }) => id).filter((id) => id.startsWith(letter));
    const want = Array.from({ length: rows }, (_, i) => letter + String(i + 1).padStart(2, "0"));
    deepStrictEqual(ids, want);
  }
  // 248 kinds of bad input and 32 faults.
  strictEqual(CATALOGUE.length, 280);
});

Deno.test("CATALOGUE says of every row in a few words what it is and what is expected", () => {
  for (const { id, what, answer, reason } of CATALOGUE) {
    for (const text of [what, answer, reason ?? "-"]) {
      ok(text.length > 0 && text.length <= MOST_CHARACTERS, id);
    }
  }
  strictEqual(new Set(CATALOGUE.map(({ what }) => what)).size, CATALOGUE.length);
});

Deno.test("CATALOGUE has a test or a reason for every row, and not both", () => {
  const tested = idsInFolders([...QUICK_FOLDERS, ...SLOW_FOLDERS]);
  const wrong = CATALOGUE.filter(({ id, reason }) =>
    tested.has(id) === (reason !== undefined) && !(COMPUTED.has(id) && reason === undefined)
  );
  deepStrictEqual(wrong.map(({ id }) => id), []);
  // An id of a row that does not exist is a slip.
  const known = new Set(CATALOGUE.map(({ id }) => id));
  deepStrictEqual([...tested].filter((id) => !known.has(id)), []);
});

Deno.test("idsIn finds ids in parentheses, alone, beside others, and spans of them", () => {
  const found = (name: string) => [...idsIn(name)];
  deepStrictEqual(found("Switch does this (F04)"), ["F04"]);
  deepStrictEqual(found("Switch does this (2.7.5, G99, G100)"), ["G99", "G100"]);
  deepStrictEqual(found("Switch does (F09–F11) that (L01 - L02, B25)"), [
    ...["F09", "F10", "F11", "L01", "L02", "B25"],
  ]);
});

Deno.test("idsIn takes nothing else for an id", () => {
  for (const name of ["F04", "(Y21)", "(F4)", "(F1234)", "(0xF04)", "(VIRTIO_F04)", "(F04", "()"]) {
    strictEqual(idsIn(name).size, 0, name);
  }
});

Deno.test("idsInSource leaves comments out", () => {
  const source = ['test("It works (G01)");', "  // (G02)", "/** (G03)", " * (G04)", " */"].join(
    "\n",
  );
  deepStrictEqual([...idsInSource(source)], ["G01"]);
});
