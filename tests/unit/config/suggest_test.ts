import { ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { editDistance, suggest } from "../../../config/suggest.ts";

const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 6 });

Deno.test("editDistance counts insertions, deletions, replacements and swaps as one each", () => {
  strictEqual(editDistance("socket", "socket"), 0);
  strictEqual(editDistance("soket", "socket"), 1);
  strictEqual(editDistance("sockett", "socket"), 1);
  strictEqual(editDistance("sacket", "socket"), 1);
  strictEqual(editDistance("sokcet", "socket"), 1);
  strictEqual(editDistance("kitten", "sitting"), 3);
  strictEqual(editDistance("", "abc"), 3);
  strictEqual(editDistance("abc", ""), 3);
});

Deno.test("editDistance is the same both ways, and 0 for equal words only", () => {
  fc.assert(fc.property(word, word, (a, b) => {
    const distance = editDistance(a, b);
    strictEqual(distance, editDistance(b, a));
    strictEqual(distance === 0, a === b);
    ok(distance <= Math.max(a.length, b.length));
    ok(distance >= Math.abs(a.length - b.length));
  }));
});

Deno.test("suggest finds the closest word", () => {
  strictEqual(suggest("sever", ["client", "server"]), "server");
  strictEqual(suggest("vm9", ["router", "vm1"]), "vm1");
  strictEqual(suggest("bridges", ["bridge", "bridges"]), "bridges");
});

Deno.test("suggest does not care about case", () => {
  strictEqual(suggest("SERVER", ["server"]), "server");
  strictEqual(suggest("vm1", ["VM1"]), "VM1");
});

Deno.test("suggest takes one slip in three letters, no more", () => {
  strictEqual(suggest("quues", ["queues"]), "queues");
  strictEqual(suggest("vma", ["vm"]), "vm");
  strictEqual(suggest("abcdef", ["xycdef"]), "xycdef");
  strictEqual(suggest("abcde", ["xycde"]), null);
  strictEqual(suggest("abc", ["xyc"]), null);
  strictEqual(suggest("colour", ["socket", "role", "queues"]), null);
});

Deno.test("suggest returns the first of several that are equally close", () => {
  strictEqual(suggest("vm3", ["vm1", "vm2"]), "vm1");
});

Deno.test("suggest returns null when no word is known", () => {
  strictEqual(suggest("socket", []), null);
});
